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
    char *pattern; ///< Replace
    char *content; ///< Prepend, Replace
} Normalizer;

typedef enum PreTokenizerKind {
    PRE_TOKENIZER_SPLIT, ///< at the matches of a pattern; also what Digits and ByteLevel's use_regex come to
    PRE_TOKENIZER_BYTES,     ///< ByteLevel: words are bytes
    PRE_TOKENIZER_METASPACE, ///< spaces become a visible character
} PreTokenizerKind;

typedef enum PrependScheme { PREPEND_ALWAYS, PREPEND_FIRST, PREPEND_NEVER } PrependScheme;

typedef struct PreTokenizer {
    PreTokenizerKind kind;
    SplitPattern *pattern; ///< Split
    bool drops_gaps;       ///< Split: what lies between matches
    bool drops_matches;    ///< Split
    bool adds_space;       ///< ByteLevel: in front, where there is none
    PrependScheme prepend; ///< Metaspace
    bool splits;           ///< Metaspace: before each visible space
    char *replacement;     ///< Metaspace
} PreTokenizer;

typedef struct AddedToken {
    int32_t id;
    char *content; ///< what is looked for in the text
    size_t length;
    bool single_word;
    bool strips_left;
    bool strips_right;
    bool normalized; ///< looked for after the text is normalized
} AddedToken;

/// Tokens to look for at once, by first byte, the longest first.
typedef struct AddedTokenSet {
    const AddedToken **tokens;
    int first[257]; ///< tokens[first[b], first[b + 1]) begin with byte b
} AddedTokenSet;

enum { MAX_STEPS = 16 };

/// What an id is; flags, 0 for an id without a token.
enum {
    TOKEN_PRESENT = 1,
    TOKEN_ADDED = 2,     ///< cut out of the text before words are
    TOKEN_SPECIAL = 4,   ///< left out when decoding
    TOKEN_REWRITTEN = 8, ///< normalizing has changed its text
};

struct TokenizerJson {
    BytePairEncoding *encoding; ///< of all tokens, added ones included
    int32_t count;
    uint8_t *kinds; ///< [count] of TOKEN_ flags
    AddedToken *added;
    int added_count;
    AddedTokenSet verbatim;
    AddedTokenSet normalized;
    Normalizer normalizers[MAX_STEPS];
    int normalizer_count;
    PreTokenizer pre_tokenizers[MAX_STEPS];
    int pre_tokenizer_count;
    bool over_bytes;     ///< one of the pre-tokenizers is ByteLevel
    char *visible_space; ///< decoder: what is written as a space; NULL: tokens are GPT-2's letters
    bool decodes_fallback;   ///< decoder: <0x0A> is a byte
    bool strips_first_space; ///< decoder
    int32_t bos, eos, pad;   ///< -1 if there is none
    bool adds_bos;
};
