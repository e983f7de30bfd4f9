/// Text that is characters alone, with every byte where it was.
#pragma once
#include <stddef.h>

/// A copy of text[0, length), ended by a zero, in which '?' stands for each zero and each byte that
/// belongs to no UTF-8 character. The caller frees it.
char *clean_text(const char *text, size_t length);
