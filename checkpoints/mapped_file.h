/// A file mapped read-only: opening one of many gigabytes costs nothing until its bytes are
/// touched.
///
/// The price: bytes of a file that somebody makes shorter while it is mapped are gone, and touching
/// them is a bus error. The program then ends with exit code 1 and names the file; other bus errors
/// are what they were.
#pragma once
#include "autograd/error.h"

#include <stddef.h>

typedef struct MappedFile {
    char *path;
    /// page-aligned; NULL for an empty file
    const unsigned char *bytes;
    size_t size;
} MappedFile;

/// Maps a regular file. On failure nothing is left to release.
bool mapped_file_open(MappedFile *file, const char *path, Error *error);
/// Unmaps. A MappedFile of zeros is allowed.
void mapped_file_close(MappedFile *file);
