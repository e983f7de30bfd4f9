#pragma once
#include <stdbool.h>
#include <stddef.h>

/// Whether text[length] is UTF-8: shortest forms, no surrogates, nothing above U+10FFFF. [RFC 3629]
bool is_utf8(const char *text, size_t length);
