#include "tests/fuzz/pack_layout.h"

#include "autograd/crc32c.h"
#include "autograd/fnv.h"
#include "data/pack/pack_internal.h"

#include <stdlib.h>
#include <string.h>

bool pack_layout_read(const char *path, const ByteBuffer *bytes, PackLayout *layout, Error *error) {
    static const char *const names[ARRAY_COUNT] = {
        "samples", "texts", "tokens", "supervised", "images/index", "images/names", "images/bytes"};
    int64_t numbers;
    StateFile *state = state_open(path, error);
    if (!state) return false;
    *layout = (PackLayout){0};
    const bool ok = hdf5_layout_read(state, bytes, names, ARRAY_COUNT, &layout->file, error) &&
                    state_read_attribute_int(state, "numbers", &numbers, error) &&
                    state_read_attribute_string(state, "tokens_of", &layout->tokens_of, error);
    if (ok) {
        layout->numbers_attribute =
            hdf5_layout_add_number(&layout->file, bytes, "numbers", numbers);
        hdf5_layout_add_number(&layout->file, bytes, "pack_version", PACK_VERSION);
    }
    state_close(state);
    return ok;
}

void pack_layout_free(PackLayout *layout) {
    if (!layout) return;
    free(layout->tokens_of);
    free(layout);
}

// ---- mending

/// Elements [begin, begin + count) of an array; NULL: it has none such.
static void *part_of(const Hdf5Array *array, const ByteBuffer *bytes, int64_t begin, int64_t count,
                     size_t width) {
    const int64_t elements = (int64_t)(array->size / width);
    if (begin < 0 || count < 0 || begin > elements || count > elements - begin) return NULL;
    return bytes->data + array->offset + (size_t)begin * width;
}

static void mend_sample(const PackLayout *layout, const ByteBuffer *bytes, int64_t *row) {
    const char *text =
        part_of(&layout->file.arrays[ARRAY_TEXTS], bytes, row[PACK_TEXT], row[PACK_TEXT_BYTES], 1);
    if (text) row[PACK_CHECKSUM] = (int64_t)fnv1a_words(text, (size_t)row[PACK_TEXT_BYTES]);
    const PackSample sample = {.tokens = part_of(&layout->file.arrays[ARRAY_TOKENS], bytes,
                                                 row[PACK_TOKENS], row[PACK_NUM_TOKENS], 4),
                               .num_tokens = (int32_t)row[PACK_NUM_TOKENS],
                               .spans = part_of(&layout->file.arrays[ARRAY_SPANS], bytes,
                                                row[PACK_SPANS], row[PACK_NUM_SPANS], 8),
                               .num_spans = (int32_t)row[PACK_NUM_SPANS]};
    if (sample.tokens && sample.spans) row[PACK_TOKENS_CHECKSUM] = pack_tokens_checksum(&sample);
}

static void mend_image(const PackLayout *layout, const ByteBuffer *bytes, int64_t *row) {
    const void *content = part_of(&layout->file.arrays[ARRAY_IMAGE_BYTES], bytes,
                                  row[PACK_IMAGE_BYTES], row[PACK_IMAGE_SIZE], 1);
    if (content) row[PACK_IMAGE_CHECKSUM] = crc32c(0, content, (size_t)row[PACK_IMAGE_SIZE]);
}

typedef void MendRow(const PackLayout *layout, const ByteBuffer *bytes, int64_t *row);

static void mend_rows(const PackLayout *layout, ByteBuffer *bytes, PackArrayName name,
                      size_t columns, MendRow *mend) {
    const Hdf5Array *array = &layout->file.arrays[name];
    int64_t row[PACK_COLUMNS];
    const size_t width = columns * sizeof *row;
    for (size_t at = 0; at + width <= array->size; at += width) {
        memcpy(row, bytes->data + array->offset + at, width);
        mend(layout, bytes, row);
        memcpy(bytes->data + array->offset + at, row, width);
    }
}

void pack_layout_mend(const PackLayout *layout, ByteBuffer *bytes) {
    mend_rows(layout, bytes, ARRAY_SAMPLES, PACK_COLUMNS, mend_sample);
    mend_rows(layout, bytes, ARRAY_IMAGES, PACK_IMAGE_COLUMNS, mend_image);
    hdf5_layout_mend(&layout->file, bytes);
}
