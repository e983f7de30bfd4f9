/// What a file holds by its first bytes, for the message that it is not what was expected.
#pragma once
#include "autograd/error.h"

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/// "a GIF image", "text in UTF-16": with its article; NULL for what is not known.
const char *file_content(const void *bytes, size_t size);

/// False for the few lines that git-lfs leaves in place of a file until it is fetched: the message
/// says how to fetch it.
bool file_is_fetched(const char *path, const void *bytes, size_t size, Error *error);

/// The same for a file that another library will open; true for one that cannot be read, which is
/// that library's complaint.
bool file_at_is_fetched(const char *path, Error *error);

/// A whole file of text in UTF-8, of which a byte-order mark is left out. Refuses what is another
/// encoding or no text at all by its first bytes, and more than `limit` bytes. *text ends with a
/// zero that *length does not count; the caller frees it.
bool file_read_text(const char *path, size_t limit, char **text, size_t *length, Error *error);

/// The same test of bytes that are read already: moves *text and *length past a byte-order mark.
/// False for another encoding, a pointer of git-lfs or an HTML page.
bool file_begin_text(const char *path, const char **text, size_t *length, Error *error);

#ifdef __cplusplus
}
#endif
