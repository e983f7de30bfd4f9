/// Words that are cut in a way of their own: "can't" into "ca" and "n't".
#pragma once
#include <stddef.h>
#include <stdint.h>

enum { MOST_SPECIAL_TOKENS = 4 };

typedef struct SpecialCase {
    /// within the text that was read; not ended by a zero
    const char *word;
    uint8_t size;
    uint8_t num_tokens;
    /// their bytes, together `size`
    uint8_t token_size[MOST_SPECIAL_TOKENS];
} SpecialCase;

/// A hash table with open addressing; its size is a power of two.
typedef struct SpecialCases {
    SpecialCase *slots;
    size_t num_slots;
} SpecialCases;

/// Reads one case a line: the word, a tab, the bytes of each of its tokens with blanks between them
/// ("can't", "2 3"). The text is kept by the caller for as long as the cases are used; it is the
/// program's own: a fault in it stops it.
void special_cases_read(SpecialCases *cases, const char *text, size_t size);
void special_cases_free(SpecialCases *cases);
/// The case of the word, or NULL.
const SpecialCase *special_cases_find(const SpecialCases *cases, const char *word, size_t length);
