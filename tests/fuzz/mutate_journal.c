#include "autograd/crc32c.h"
#include "tests/fuzz/mutate.h"

#include <string.h>

/// A journal's mark, and size and checksum in front of every record (autograd/output/journal.c).
enum { MARK = 8, SIZE = 8, HEAD = 12, MOST_RECORDS = 64 };

static uint64_t number_at(const ByteBuffer *bytes, size_t at, size_t width) {
    uint64_t value = 0;
    for (size_t i = width; i-- > 0;) value = value << 8 | (unsigned char)bytes->data[at + i];
    return value;
}

static void set_number(ByteBuffer *bytes, size_t at, uint64_t value, size_t width) {
    for (size_t i = 0; i < width; i++) bytes->data[at + i] = (char)(value >> 8 * i);
}

static size_t find_records(const ByteBuffer *bytes, size_t begins[MOST_RECORDS]) {
    size_t count = 0;
    for (size_t at = MARK; count < MOST_RECORDS && at + HEAD <= bytes->size;) {
        const uint64_t size = number_at(bytes, at, SIZE);
        if (size > bytes->size - at - HEAD) break;
        begins[count++] = at;
        at += HEAD + (size_t)size;
    }
    return count;
}

/// JSON behind its length, as records of answers begin, or JSON alone; false: neither.
static bool mutate_json_of(ByteBuffer *record, Random *random) {
    const size_t begin = record->size > 4 && record->data[4] == '{' ? 4 : 0;
    if (record->size <= begin || record->data[begin] != '{') return false;
    size_t length = begin ? (size_t)number_at(record, 0, 4) : record->size;
    if (length > record->size - begin) return false;
    ByteBuffer text = bytes_copy(record->data + begin, length);
    mutate_json(&text, random);
    bytes_replace(record, begin, length, text.data, text.size);
    if (begin) set_number(record, 0, text.size, 4);
    byte_buffer_free(&text);
    return true;
}

/// A number of four or eight bytes, where such stand, becomes one at the edge of something.
static void change_number(ByteBuffer *record, Random *random) {
    static const int64_t edges[] = {0,  -1, 1,         2,         63,        64,       65,
                                    -2, -8, INT32_MAX, INT32_MIN, INT64_MAX, INT64_MIN};
    const size_t width = random_chance(random, 50) ? 4 : 8;
    if (record->size < width) return;
    const size_t near = random_chance(random, 70) ? random_size(random, record->size - width)
                                                  : random_below(random, record->size - width + 1);
    set_number(record, near & ~(size_t)3, (uint64_t)RANDOM_PICK(random, edges), width);
}

void mutate_journal(ByteBuffer *bytes, const ByteBuffer *donor, Random *random) {
    size_t begins[MOST_RECORDS];
    for (size_t changes = 1 + random_size(random, 3); changes; changes--) {
        const size_t count = find_records(bytes, begins);
        if (!count) return;
        const size_t at = begins[random_below(random, count)],
                     size = (size_t)number_at(bytes, at, SIZE);
        ByteBuffer record = bytes_copy(bytes->data + at + HEAD, size);
        const size_t kind = random_below(random, 10);
        if (kind < 4)
            change_number(&record, random);
        else if (kind > 6 || !mutate_json_of(&record, random))
            mutate_bytes(&record, donor, random);
        bytes_replace(bytes, at + HEAD, size, record.data, record.size);
        set_number(bytes, at, record.size, SIZE);
        if (random_chance(random, 97))
            set_number(bytes, at + SIZE, crc32c(0, record.data, record.size), 4);
        byte_buffer_free(&record);
    }
}
