#include "data/pack/pack_internal.h"
#include "tests/fuzz/mutate.h"

#include <string.h>

/// A cell becomes another number, or a row another row.
static void change_rows(const PackLayout *layout, ByteBuffer *bytes, PackArrayName name,
                        size_t columns, Random *random) {
    static const PackArrayName of[] = {ARRAY_TEXTS, ARRAY_TOKENS, ARRAY_SPANS, ARRAY_NAMES,
                                       ARRAY_IMAGE_BYTES};
    const Hdf5Array *array = &layout->file.arrays[name];
    const size_t width = columns * sizeof(int64_t), rows = array->size / width;
    if (!rows) return;
    char *first = bytes->data + array->offset, *row = first + random_below(random, rows) * width;
    if (random_chance(random, 20))
        memmove(row, first + random_below(random, rows) * width, width);
    else
        mutate_number(bytes,
                      (size_t)(row - bytes->data) + random_below(random, columns) * sizeof(int64_t),
                      &layout->file.arrays[RANDOM_PICK(random, of)], random);
}

/// A sample's text becomes other JSON; a longer one runs into the texts behind it, whose bytes
/// it has then.
static void change_text(const PackLayout *layout, ByteBuffer *bytes, Random *random) {
    const Hdf5Array *samples = &layout->file.arrays[ARRAY_SAMPLES],
                    *texts = &layout->file.arrays[ARRAY_TEXTS];
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
        mutate_array(&layout->file.arrays[RANDOM_PICK(random, contents)], bytes, random);
    else
        mutate_hdf5_number(&layout->file, bytes, random);
}

void mutate_pack(const PackLayout *layout, bool through_hdf5, ByteBuffer *bytes, Random *random) {
    const bool numbers_first = through_hdf5 && random_chance(random, 60);
    if (numbers_first) mutate_hdf5_number(&layout->file, bytes, random);
    for (size_t changes = !numbers_first + random_size(random, 7); changes; changes--)
        change_once(layout, bytes, random);
    if (random_chance(random, 95)) pack_layout_mend(layout, bytes);
}
