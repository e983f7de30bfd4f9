#include "tests/fuzz/mutate.h"

#include <string.h>

/// A number that is at the edge of something, or near another of the same row or array.
static int64_t number_for(const Hdf5Array *array, int64_t is, Random *random) {
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

void mutate_number(ByteBuffer *bytes, size_t at, const Hdf5Array *array, Random *random) {
    uint64_t value;
    memcpy(&value, bytes->data + at, sizeof value);
    value = (uint64_t)number_for(array, (int64_t)(value & INT32_MAX), random);
    memcpy(bytes->data + at, &value, sizeof value);
}

void mutate_array(const Hdf5Array *array, ByteBuffer *bytes, Random *random) {
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

void mutate_hdf5_number(const Hdf5Layout *layout, ByteBuffer *bytes, Random *random) {
    mutate_number(bytes, layout->numbers[random_below(random, (size_t)layout->num_numbers)],
                  &layout->arrays[random_below(random, (size_t)layout->num_arrays)], random);
}

/// JSON becomes other JSON of the same length: blanks fill it up, and what is too long is cut.
static void change_json(const Hdf5Array *place, ByteBuffer *bytes, Random *random) {
    ByteBuffer text = bytes_copy(bytes->data + place->offset, place->size);
    mutate_json(&text, random);
    const size_t kept = text.size < place->size ? text.size : place->size;
    memset(bytes->data + place->offset, ' ', place->size);
    if (kept) memcpy(bytes->data + place->offset, text.data, kept);
    byte_buffer_free(&text);
}

static void change_one(const Hdf5Array *place, ByteBuffer *bytes, Random *random) {
    if (place->size && bytes->data[place->offset] == '{' && random_chance(random, 75))
        change_json(place, bytes, random);
    else
        mutate_array(place, bytes, random);
}

static void change_once(const Hdf5Layout *layout, ByteBuffer *bytes, Random *random) {
    const size_t kind = random_below(random, 10);
    if (kind < 4 && layout->num_numbers)
        mutate_hdf5_number(layout, bytes, random);
    else if (kind < 5 && layout->num_texts)
        change_one(&layout->texts[random_below(random, (size_t)layout->num_texts)], bytes, random);
    else
        change_one(&layout->arrays[random_below(random, (size_t)layout->num_arrays)], bytes,
                   random);
}

void mutate_hdf5(const Hdf5Layout *layout, ByteBuffer *bytes, Random *random) {
    for (size_t changes = 1 + random_size(random, 7); changes; changes--)
        change_once(layout, bytes, random);
    if (random_chance(random, 95)) hdf5_layout_mend(layout, bytes);
}
