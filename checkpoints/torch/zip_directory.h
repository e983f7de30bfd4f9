/// The records of a zip archive in memory. [PKWARE APPNOTE 6.3]
///
/// An archive is not trusted: offsets, sizes, names that come twice, records that overlap or lie
/// outside, local headers that say something else than the central directory. Zip64 is understood.
#pragma once
#include "autograd/error.h"

#include <stddef.h>
#include <stdint.h>

typedef struct ZipRecord {
    /// UTF-8, where zip_directory_read() has read it
    const char *name;
    /// NULL from zip_directory_list()
    const unsigned char *data;
    /// unpacked, and as it lies in the archive
    size_t bytes, packed;
    uint32_t crc32;
    /// 0: stored; 8: deflated
    int method;
    bool is_encrypted;
    /// where its local header begins
    size_t header;
} ZipRecord;

typedef struct ZipDirectory {
    /// by name
    ZipRecord *records;
    int64_t count;
    char *names;
} ZipDirectory;

/// Whether bytes[size] begin as a zip archive does.
bool zip_begins(const unsigned char *bytes, size_t size);
/// Lists the records as the central directory has them, in its order, without a look at the records
/// themselves: names of any bytes, any method, places that may not be true. On failure nothing is
/// left to free; the message has no file name.
bool zip_directory_list(ZipDirectory *directory, const unsigned char *bytes, size_t size,
                        Error *error);
/// The same for an archive whose records are stored, not compressed, what torch.save() writes: each
/// is looked at, points into `bytes`, and has a name of its own.
bool zip_directory_read(ZipDirectory *directory, const unsigned char *bytes, size_t size,
                        Error *error);
void zip_directory_free(ZipDirectory *directory);
/// The record of that name, or NULL.
const ZipRecord *zip_directory_find(const ZipDirectory *directory, const char *name);
