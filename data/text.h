/// What Python's str methods do to the white space of UTF-8 text.
#pragma once
#include <stddef.h>

/// Bytes of the white-space character (str.isspace) at the start of `text`, or 0.
size_t space_length(const char *text);
/// str.strip(): moves *text past leading white space and returns the length without the trailing
/// one.
size_t strip_space(const char **text, size_t length);
/// len(str.split()).
int word_count(const char *text);
