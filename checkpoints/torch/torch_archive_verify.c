// Apart from the rest because of zlib: reading weights does without.
#include "checkpoints/torch/torch_archive_internal.h"

#include <zlib.h>

bool torch_archive_verify(const TorchArchive *archive, Error *error) {
    for (int64_t i = 0; i < archive->zip.count; i++) {
        const ZipRecord *record = &archive->zip.records[i];
        uint32_t found = (uint32_t)crc32_z(0, record->data, record->bytes);
        if (found != record->crc32)
            return error_set(error,
                             "%s: record '%s' is damaged: its CRC-32 is %08x, stored is %08x. "
                             "Fetch the file again",
                             archive->file.path, record->name, found, record->crc32);
    }
    return true;
}
