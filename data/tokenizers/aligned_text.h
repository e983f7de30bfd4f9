/// Text that was rewritten before it is tokenized, and where each of its bytes comes from.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct AlignedText {
    /// valid UTF-8, owned
    char *bytes;
    size_t length;
    size_t capacity;
    /// [length] Byte i stands for bytes [begin[i], end[i]) of the original; an empty span: it was
    /// added.
    int32_t *begin;
    int32_t *end;
} AlignedText;

void aligned_text_free(AlignedText *text);
/// Appends bytes that all stand for original bytes [begin, end).
void aligned_text_append(AlignedText *text, const char *bytes, size_t count, int32_t begin,
                         int32_t end);
/// Appends from[begin, end) with where they come from.
void aligned_text_append_slice(AlignedText *text, const AlignedText *from, size_t begin,
                               size_t end);

/// The original itself, each byte standing for itself, bytes that are not UTF-8 replaced by U+FFFD:
/// one for each longest start of a character, as Python's errors="replace" does.
AlignedText aligned_text_of(const char *text, size_t length);
/// from[begin, end) with every `pattern` (not empty) replaced by `content`.
AlignedText aligned_text_replaced(const AlignedText *from, size_t begin, size_t end,
                                  const char *pattern, const char *content);
/// from[begin, end) in Unicode's normalization form C, of the Unicode that utf8proc knows: marks
/// newer than another library's tables may be put in another order there. Runs without ASCII that
/// change as a whole stand for the run as a whole.
AlignedText aligned_text_nfc(const AlignedText *from, size_t begin, size_t end);
