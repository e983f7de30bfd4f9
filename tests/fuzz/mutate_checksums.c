#include "tests/fuzz/mutate.h"

#include <string.h>
#include <zlib.h>

static uint64_t number_at(const ByteBuffer *bytes, size_t at, size_t width, bool big_endian) {
    uint64_t value = 0;
    for (size_t i = 0; i < width; i++)
        value |= (uint64_t)(unsigned char)bytes->data[at + i]
                 << (8 * (big_endian ? width - 1 - i : i));
    return value;
}

static void set_number(ByteBuffer *bytes, size_t at, uint32_t value, bool big_endian) {
    for (size_t i = 0; i < 4; i++)
        bytes->data[at + i] = (char)(value >> (8 * (big_endian ? 3 - i : i)));
}

static uint32_t crc_of(const ByteBuffer *bytes, size_t at, size_t size) {
    return (uint32_t)crc32(0, (const Bytef *)bytes->data + at, (uInt)size);
}

/// Length, name, data, CRC-32 of name and data [PNG specification, 5.3].
static void mend_png(ByteBuffer *bytes) {
    for (size_t at = 8; at + 12 <= bytes->size;) {
        size_t length = (size_t)number_at(bytes, at, 4, true);
        if (length > bytes->size - at - 12) return;
        set_number(bytes, at + 8 + length, crc_of(bytes, at + 4, length + 4), true);
        at += length + 12;
    }
}

/// Central directory entries and the local headers that they point to [APPNOTE.TXT, 4.3.7 and
/// 4.3.12].
static void mend_zip(ByteBuffer *bytes) {
    static const char central[] = "PK\1\2";
    for (size_t at = 0; at + 46 <= bytes->size; at++) {
        if (memcmp(bytes->data + at, central, 4) != 0) continue;
        size_t size = (size_t)number_at(bytes, at + 20, 4, false),
               local = (size_t)number_at(bytes, at + 42, 4, false);
        if (local > bytes->size || bytes->size - local < 30) continue;
        size_t data = local + 30 + (size_t)number_at(bytes, local + 26, 2, false) +
                      (size_t)number_at(bytes, local + 28, 2, false);
        if (data > bytes->size || bytes->size - data < size) continue;
        uint32_t crc = crc_of(bytes, data, size);
        set_number(bytes, at + 16, crc, false);
        if (number_at(bytes, local + 14, 4, false)) set_number(bytes, local + 14, crc, false);
    }
}

void mend_checksums(ByteBuffer *bytes) {
    if (bytes->size >= 8 && !memcmp(bytes->data, "\x89PNG", 4)) mend_png(bytes);
    if (bytes->size >= 30 && !memcmp(bytes->data, "PK\3\4", 4)) mend_zip(bytes);
}
