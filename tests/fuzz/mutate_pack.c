#include "data/pack/pack_internal.h"
#include "tests/fuzz/mutate.h"

#include <string.h>

/// A number that is at the edge of something, or near another of the same row or array.
static int64_t number_for(const PackArray *array, int64_t is, Random *random) {
    const int64_t edges[] = {0,
                             -1,
                             1,
                             INT32_MAX,
                             (int64_t)INT32_MAX + 1,
                             INT32_MIN,
                             -(int64_t)INT32_MAX,
                             UINT32_MAX,
                             INT64_MAX,
                             INT64_MIN,
                             INT64_MAX - 7,
                             (int64_t)array->size,
                             (int64_t)array->size / 4,
                             (int64_t)array->size / 8,
                             is + 1,
                             is - 1,
                             is * 2,
                             -is};
    if (random_chance(random, 20)) return (int64_t)random_size(random, array->size);
    if (random_chance(random, 10)) return (int64_t)random_bits(random);
    return RANDOM_PICK(random, edges);
}

static void change_number(ByteBuffer *bytes, size_t at, const PackArray *array, Random *random) {
    uint64_t value;
    memcpy(&value, bytes->data + at, sizeof value);
    value = (uint64_t)number_for(array, (int64_t)(value & INT32_MAX), random);
    memcpy(bytes->data + at, &value, sizeof value);
}

/// A cell becomes another number, or a row another row.
static void change_rows(const PackLayout *layout, ByteBuffer *bytes, PackArrayName name,
                        size_t columns, Random *random) {
    static const PackArrayName of[] = {ARRAY_TEXTS, ARRAY_TOKENS, ARRAY_SPANS, ARRAY_NAMES,
                                       ARRAY_IMAGE_BYTES};
    const PackArray *array = &layout->arrays[name];
    const size_t width = columns * sizeof(int64_t), rows = array->size / width;
    if (!rows) return;
    char *first = bytes->data + array->offset, *row = first + random_below(random, rows) * width;
    if (random_chance(random, 20))
        memmove(row, first + random_below(random, rows) * width, width);
    else
        change_number(bytes,
                      (size_t)(row - bytes->data) + random_below(random, columns) * sizeof(int64_t),
                      &layout->arrays[RANDOM_PICK(random, of)], random);
}

/// A sample's text becomes other JSON; a longer one runs into the texts behind it, whose bytes
/// it has then.
static void change_text(const PackLayout *layout, ByteBuffer *bytes, Random *random) {
    const PackArray *samples = &layout->arrays[ARRAY_SAMPLES],
                    *texts = &layout->arrays[ARRAY_TEXTS];
    const size_t rows = samples->size / (PACK_COLUMNS * sizeof(int64_t));
    int64_t row[PACK_COLUMNS];
    if (!rows) return;
    char *place = bytes->data + samples->offset + random_below(random, rows) * sizeof row;
    memcpy(row, place, sizeof row);
    const int64_t begin = row[PACK_TEXT], size = row[PACK_TEXT_BYTES];
    if (begin < 0 || size < 0 || begin > (int64_t)texts->size ||
        size > (int64_t)texts->size - begin)
        return;
    ByteBuffer text = bytes_copy(bytes->data + texts->offset + begin, (size_t)size);
    mutate_json(&text, random);
    const size_t room = texts->size - (size_t)begin, kept = text.size < room ? text.size : room;
    if (kept) memcpy(bytes->data + texts->offset + begin, text.data, kept);
    byte_buffer_free(&text);
    row[PACK_TEXT_BYTES] = (int64_t)kept;
    memcpy(place, row, sizeof row);
}

/// Bytes of an array, which keeps its size.
static void change_content(const PackArray *array, ByteBuffer *bytes, Random *random) {
    if (!array->size) return;
    char *content = bytes->data + array->offset;
    const size_t at = random_below(random, array->size), room = array->size - at,
                 span = 1 + random_size(random, (room < 64 ? room : 64) - 1);
    switch (random_below(random, 4)) {
    case 0:
        memmove(content + random_below(random, array->size - span + 1), content + at, span);
        break;
    case 1:
        for (size_t i = 0; i < span; i++) content[at + i] = (char)random_bits(random);
        break;
    case 2:
        if (room >= 4) {
            static const int32_t values[] = {0,         -1,  1,   -200,  INT32_MAX,
                                             INT32_MIN, 511, 512, 100000};
            memcpy(content + (room >= 8 ? at & ~(size_t)3 : at), &RANDOM_PICK(random, values), 4);
        }
        break;
    default:
        content[at] = (char)(content[at] ^ 1 << random_below(random, 8));
    }
}

static void change_number_of_hdf5(const PackLayout *layout, ByteBuffer *bytes, Random *random) {
    change_number(bytes, layout->numbers[random_below(random, (size_t)layout->num_numbers)],
                  &layout->arrays[random_below(random, ARRAY_COUNT)], random);
}

static void change_once(const PackLayout *layout, ByteBuffer *bytes, Random *random) {
    static const PackArrayName contents[] = {ARRAY_TEXTS, ARRAY_TOKENS, ARRAY_SPANS,
                                             ARRAY_SPANS, ARRAY_NAMES,  ARRAY_IMAGE_BYTES};
    const size_t kind = random_below(random, 20);
    if (kind < 8)
        change_rows(layout, bytes, ARRAY_SAMPLES, PACK_COLUMNS, random);
    else if (kind < 12)
        change_rows(layout, bytes, ARRAY_IMAGES, PACK_IMAGE_COLUMNS, random);
    else if (kind < 14)
        change_text(layout, bytes, random);
    else if (kind < 19)
        change_content(&layout->arrays[RANDOM_PICK(random, contents)], bytes, random);
    else
        change_number_of_hdf5(layout, bytes, random);
}

void mutate_pack(const PackLayout *layout, bool through_hdf5, ByteBuffer *bytes, Random *random) {
    const bool numbers_first = through_hdf5 && random_chance(random, 60);
    if (numbers_first) change_number_of_hdf5(layout, bytes, random);
    for (size_t changes = !numbers_first + random_size(random, 7); changes; changes--)
        change_once(layout, bytes, random);
    if (random_chance(random, 95)) pack_layout_mend(layout, bytes);
}
