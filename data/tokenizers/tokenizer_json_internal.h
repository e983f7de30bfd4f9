/// What a tokenizer.json says, read. Shared by the files that open it, encode and decode with it.
#pragma once
#include "data/tokenizers/byte_pair_encoding.h"
#include "data/tokenizers/split_pattern.h"
#include "data/tokenizers/tokenizer_json.h"

typedef enum NormalizerKind {
    NORMALIZER_NFC,
    NORMALIZER_PREPEND,
    NORMALIZER_REPLACE
} NormalizerKind;

typedef struct Normalizer {
    NormalizerKind kind;
    /// Replace
    char *pattern;
    /// Prepend, Replace
    char *content;
} Normalizer;

typedef enum PreTokenizerKind {
    /// at the matches of a pattern; also what Digits and ByteLevel's use_regex come to
    PRE_TOKENIZER_SPLIT,
    /// ByteLevel: words are bytes
    PRE_TOKENIZER_BYTES,
    /// spaces become a visible character
    PRE_TOKENIZER_METASPACE,
} PreTokenizerKind;

typedef enum PrependScheme { PREPEND_ALWAYS, PREPEND_FIRST, PREPEND_NEVER } PrependScheme;

typedef struct PreTokenizer {
    PreTokenizerKind kind;
    /// Split
    SplitPattern *pattern;
    /// Split: what lies between matches
    bool drops_gaps;
    /// Split
    bool drops_matches;
    /// ByteLevel: in front, where there is none
    bool adds_space;
    /// Metaspace
    PrependScheme prepend;
    /// Metaspace: before each visible space
    bool splits;
    /// Metaspace
    char *replacement;
} PreTokenizer;

typedef struct AddedToken {
    int32_t id;
    /// what is looked for in the text
    char *content;
    size_t length;
    bool single_word;
    bool strips_left;
    bool strips_right;
    /// looked for after the text is normalized
    bool normalized;
} AddedToken;

/// Tokens to look for at once, by first byte, the longest first.
typedef struct AddedTokenSet {
    const AddedToken **tokens;
    /// tokens[first[b], first[b + 1]) begin with byte b
    int first[257];
} AddedTokenSet;

enum { MAX_STEPS = 16 };

/// What an id is; flags, 0 for an id without a token.
enum {
    TOKEN_PRESENT = 1,
    /// cut out of the text before words are
    TOKEN_ADDED = 2,
    /// left out when decoding
    TOKEN_SPECIAL = 4,
    /// normalizing has changed its text
    TOKEN_REWRITTEN = 8,
};

struct TokenizerJson {
    /// of all tokens, added ones included
    BytePairEncoding *encoding;
    int32_t count;
    /// [count] of TOKEN_ flags
    uint8_t *kinds;
    AddedToken *added;
    int added_count;
    AddedTokenSet verbatim;
    AddedTokenSet normalized;
    Normalizer normalizers[MAX_STEPS];
    int normalizer_count;
    PreTokenizer pre_tokenizers[MAX_STEPS];
    int pre_tokenizer_count;
    /// one of the pre-tokenizers is ByteLevel
    bool over_bytes;
    /// decoder: what is written as a space; NULL: tokens are GPT-2's letters
    char *visible_space;
    /// decoder: <0x0A> is a byte
    bool decodes_fallback;
    /// decoder
    bool strips_first_space;
    /// -1 if there is none
    int32_t bos, eos, pad;
    bool adds_bos;
};
