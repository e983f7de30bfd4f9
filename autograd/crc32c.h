/// The checksum of files that we write: CRC-32C (Castagnoli).
#pragma once
#include <stddef.h>
#include <stdint.h>

/// Begin with crc = 0, continue with the last result.
uint32_t crc32c(uint32_t crc, const void *data, size_t bytes);
