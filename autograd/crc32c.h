/// The checksum of files that we write: CRC-32C (Castagnoli).
#pragma once
#include "autograd/error.h"

#include <stddef.h>
#include <stdint.h>

/// Begin with crc = 0, continue with the last result.
uint32_t crc32c(uint32_t crc, const void *data, size_t bytes);

/// Goes on from *crc with all that the file holds. False with the message if it cannot be read, or
/// the program is asked to stop (autograd/stop_request.h): *crc means nothing then.
bool crc32c_add_file(uint32_t *crc, const char *path, Error *error);
