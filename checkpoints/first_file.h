/// Published folders name the same thing in several ways, one of which is there.
#pragma once
#include <stddef.h>

/// "<folder>/<name>" of the first of the names that exists in the folder, otherwise NULL. The
/// caller frees it.
char *first_file_in(const char *folder, const char *const *names, size_t count);

/// The last two arguments of first_file_in() from an array.
#define FILE_NAMES(names) names, sizeof(names) / sizeof *(names)
