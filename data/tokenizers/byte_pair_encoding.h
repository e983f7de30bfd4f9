/// Byte-pair encoding [Sennrich et al. 2016, arXiv 1508.07909; over bytes: Radford et al. 2019]: a
/// word is cut into characters, or bytes, and the pair of neighbours that was learned first is
/// merged until none is left.
///
/// Over bytes, the vocabulary writes each byte as one printable character (GPT-2's alphabet: "Ġ" is
/// a space).
#pragma once
#include "autograd/error.h"

#include <stddef.h>
#include <stdint.h>

typedef struct BytePairEncoding BytePairEncoding;

typedef struct BytePairOptions {
    /// words are raw bytes, and the vocabulary is in GPT-2's alphabet
    bool over_bytes;
    /// a word that the vocabulary has as a whole is that token
    bool ignore_merges;
    /// a character that it lacks is its bytes, "<0xE2>"
    bool byte_fallback;
    /// neighbouring characters without a token are one unknown token
    bool fuse_unknown;
} BytePairOptions;

/// Room for `capacity` tokens, whose ids are less than `id_limit`.
BytePairEncoding *byte_pair_encoding_new(BytePairOptions options, size_t capacity,
                                         int32_t id_limit);
void byte_pair_encoding_free(BytePairEncoding *encoding);

/// Adds a token (copied); `in_words`: words may have it as a part. False if the text or the id is
/// there already, or the id is out of range.
bool byte_pair_encoding_add(BytePairEncoding *encoding, const char *text, int32_t id,
                            bool in_words);
/// -1 if the vocabulary has no such token.
int32_t byte_pair_encoding_id(const BytePairEncoding *encoding, const char *text, size_t length);
/// NULL for an id without a token.
const char *byte_pair_encoding_text(const BytePairEncoding *encoding, int32_t id);

/// Makes room for `count` merges, to be added once all tokens are there.
void byte_pair_encoding_reserve_merges(BytePairEncoding *encoding, size_t count);
/// Adds the next merge; the first have precedence. False with the reason if a part or the whole is
/// not a token.
bool byte_pair_encoding_merge(BytePairEncoding *encoding, const char *left, size_t left_length,
                              const char *right, size_t right_length, Error *error);
/// To be called after the last token and merge. `unknown` is the token for characters without one,
/// -1 for none: they are dropped then.
void byte_pair_encoding_finish(BytePairEncoding *encoding, int32_t unknown);

/// Told of every token of a word, with the bytes [begin, end) of the word that it stands for.
typedef void BytePairVisitor(int32_t id, size_t begin, size_t end, void *context);

/// Memory of one thread for the words it encodes. Begin with zeros.
typedef struct BytePairWorkspace {
    void *symbols;
    size_t symbol_capacity;
    void *queue;
    size_t queue_capacity;
    char *letters;
    size_t letter_capacity;
} BytePairWorkspace;

void byte_pair_workspace_free(BytePairWorkspace *workspace);

/// Visits the tokens of word[0, length), valid UTF-8 of at most INT32_MAX / 2 bytes. Takes O(n log
/// n) steps. Safe for several threads at once, each with its own workspace.
void byte_pair_encoding_encode(const BytePairEncoding *encoding, const char *word, size_t length,
                               BytePairWorkspace *workspace, BytePairVisitor *visit, void *context);

/// The character that stands for `byte` in GPT-2's alphabet, as UTF-8 in text[0, returned).
size_t byte_letter(uint8_t byte, char text[2]);
/// Its byte, or -1 if the character at the start of text[0, length) is not of the alphabet; *count
/// is how many bytes the character has.
int byte_of_letter(const char *text, size_t length, size_t *count);
