/// UTF-8 text: where characters end, and what Python's str methods do to the white space of annotations.
#pragma once
#include <stddef.h>

/// Bytes of the well-formed character (shortest form, no surrogate, at most U+10FFFF) at the start of text[0, count), count > 0;
/// 0 if there is none.
size_t utf8_character_length(const char *text, size_t count);

/// Bytes of the white-space character (str.isspace) at the start of `text`, or 0.
size_t space_length(const char *text);
/// str.strip(): moves *text past leading white space and returns the length without the trailing one.
size_t strip_space(const char **text, size_t length);
/// len(str.split()).
int word_count(const char *text);
