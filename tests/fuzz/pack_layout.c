#include "tests/fuzz/pack_layout.h"

#include "autograd/crc32c.h"
#include "autograd/fnv.h"
#include "data/pack/pack_internal.h"

#include <stdlib.h>
#include <string.h>

static uint64_t number_at(const ByteBuffer *bytes, size_t at, size_t width) {
    uint64_t value = 0;
    memcpy(&value, bytes->data + at, width);
    return value;
}

static void set_number(ByteBuffer *bytes, size_t at, uint64_t value, size_t width) {
    memcpy(bytes->data + at, &value, width);
}

// ---- HDF5's checksum

static uint32_t rotate(uint32_t x, int bits) { return x << bits | x >> (32 - bits); }

static void mix(uint32_t word[3]) {
    static const int turns[] = {4, 6, 8, 16, 19, 4};
    for (int i = 0; i < 6; i++) {
        uint32_t *x = &word[i % 3], *y = &word[(i + 1) % 3], *z = &word[(i + 2) % 3];
        *x -= *z;
        *x ^= rotate(*z, turns[i]);
        *z += *y;
    }
}

static void finish(uint32_t word[3]) {
    static const int turns[] = {14, 11, 25, 16, 4, 14, 24};
    for (int i = 0; i < 7; i++) {
        uint32_t *x = &word[(i + 2) % 3], *before = &word[(i + 1) % 3];
        *x ^= *before;
        *x -= rotate(*before, turns[i]);
    }
}

/// lookup3's hashlittle [Jenkins 2006], with which HDF5 checks its blocks.
static uint32_t lookup3(const char *bytes, size_t size) {
    uint32_t word[3], part[3];
    for (int i = 0; i < 3; i++) word[i] = 0xdeadbeefu + (uint32_t)size;
    for (; size > 12; bytes += 12, size -= 12) {
        memcpy(part, bytes, sizeof part);
        for (int i = 0; i < 3; i++) word[i] += part[i];
        mix(word);
    }
    memset(part, 0, sizeof part);
    memcpy(part, bytes, size);
    for (int i = 0; i < 3; i++) word[i] += part[i];
    if (size) finish(word);
    return word[2];
}

// ---- finding

/// The block that begins here ends where its checksum is right.
static void find_block(PackLayout *layout, const ByteBuffer *bytes, size_t at) {
    static const size_t LONGEST = 8192;
    for (size_t size = 12; size < LONGEST && at + size <= bytes->size; size++)
        if (number_at(bytes, at + size - 4, 4) == lookup3(bytes->data + at, size - 4)) {
            CHECK(layout->num_blocks < MOST_BLOCKS, "a pack of more than %d blocks", MOST_BLOCKS);
            layout->blocks[layout->num_blocks++] = (PackBlock){at, size};
            return;
        }
}

/// Object headers and their continuations [HDF5 file format specification 3.0, IV.A.1.b].
static void find_blocks(PackLayout *layout, const ByteBuffer *bytes) {
    for (size_t at = 0; at + 12 <= bytes->size; at++)
        if (!memcmp(bytes->data + at, "OHDR", 4) || !memcmp(bytes->data + at, "OCHK", 4))
            find_block(layout, bytes, at);
}

/// Behind a text in the blocks: the place of a number; 0: nowhere.
static size_t find_behind(const PackLayout *layout, const ByteBuffer *bytes, const char *text,
                          uint64_t value, size_t width) {
    static const size_t FURTHEST = 64;
    const size_t length = strlen(text) + 1;
    for (int b = 0; b < layout->num_blocks; b++) {
        const size_t end = layout->blocks[b].offset + layout->blocks[b].size;
        for (size_t at = layout->blocks[b].offset; at + length <= end; at++) {
            if (memcmp(bytes->data + at, text, length) != 0) continue;
            for (size_t i = at + length; i < at + FURTHEST && i + width <= end; i++)
                if (number_at(bytes, i, width) == value) return i;
        }
    }
    return 0;
}

static void keep_number(PackLayout *layout, size_t at) {
    CHECK(layout->num_numbers < MOST_NUMBERS, "a pack of more than %d numbers", MOST_NUMBERS);
    if (at) layout->numbers[layout->num_numbers++] = at;
}

/// All places in the blocks that have this number.
static void keep_numbers(PackLayout *layout, const ByteBuffer *bytes, uint64_t value) {
    for (int b = 0; b < layout->num_blocks; b++) {
        const PackBlock *block = &layout->blocks[b];
        for (size_t at = block->offset; at + 8 <= block->offset + block->size; at++)
            if (number_at(bytes, at, 8) == value) keep_number(layout, at);
    }
}

static bool find_array(PackLayout *layout, const ByteBuffer *bytes, const StateFile *state,
                       const char *name, PackArray *array, Error *error) {
    int64_t offset, size;
    uint32_t checksum;
    if (!state_array_place(state, name, &offset, &size, &checksum, error)) return false;
    *array = (PackArray){(size_t)offset, (size_t)size, 0};
    if (!size) return true;
    array->checksum = find_behind(layout, bytes, "crc32c", checksum, 4);
    CHECK(array->checksum, "the checksum of '%s' is nowhere", name);
    keep_numbers(layout, bytes, (uint64_t)offset);
    return true;
}

bool pack_layout_read(const char *path, const ByteBuffer *bytes, PackLayout *layout, Error *error) {
    static const char *const names[ARRAY_COUNT] = {
        "samples", "texts", "tokens", "supervised", "images/index", "images/names", "images/bytes"};
    int64_t numbers;
    StateFile *state = state_open(path, error);
    if (!state) return false;
    *layout = (PackLayout){0};
    find_blocks(layout, bytes);
    bool ok = state_read_attribute_int(state, "numbers", &numbers, error) &&
              state_read_attribute_string(state, "tokens_of", &layout->tokens_of, error);
    for (int i = 0; ok && i < ARRAY_COUNT; i++)
        ok = find_array(layout, bytes, state, names[i], &layout->arrays[i], error);
    if (ok) {
        layout->numbers_attribute = find_behind(layout, bytes, "numbers", (uint64_t)numbers, 8);
        CHECK(layout->numbers_attribute, "the attribute 'numbers' is nowhere");
        keep_number(layout, layout->numbers_attribute);
        keep_number(layout, find_behind(layout, bytes, "pack_version", PACK_VERSION, 8));
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
static void *part_of(const PackArray *array, const ByteBuffer *bytes, int64_t begin, int64_t count,
                     size_t width) {
    const int64_t elements = (int64_t)(array->size / width);
    if (begin < 0 || count < 0 || begin > elements || count > elements - begin) return NULL;
    return bytes->data + array->offset + (size_t)begin * width;
}

static void mend_sample(const PackLayout *layout, const ByteBuffer *bytes, int64_t *row) {
    const char *text =
        part_of(&layout->arrays[ARRAY_TEXTS], bytes, row[PACK_TEXT], row[PACK_TEXT_BYTES], 1);
    if (text) row[PACK_CHECKSUM] = (int64_t)fnv1a_words(text, (size_t)row[PACK_TEXT_BYTES]);
    const PackSample sample = {.tokens = part_of(&layout->arrays[ARRAY_TOKENS], bytes,
                                                 row[PACK_TOKENS], row[PACK_NUM_TOKENS], 4),
                               .num_tokens = (int32_t)row[PACK_NUM_TOKENS],
                               .spans = part_of(&layout->arrays[ARRAY_SPANS], bytes,
                                                row[PACK_SPANS], row[PACK_NUM_SPANS], 8),
                               .num_spans = (int32_t)row[PACK_NUM_SPANS]};
    if (sample.tokens && sample.spans) row[PACK_TOKENS_CHECKSUM] = pack_tokens_checksum(&sample);
}

static void mend_image(const PackLayout *layout, const ByteBuffer *bytes, int64_t *row) {
    const void *content = part_of(&layout->arrays[ARRAY_IMAGE_BYTES], bytes, row[PACK_IMAGE_BYTES],
                                  row[PACK_IMAGE_SIZE], 1);
    if (content) row[PACK_IMAGE_CHECKSUM] = crc32c(0, content, (size_t)row[PACK_IMAGE_SIZE]);
}

typedef void MendRow(const PackLayout *layout, const ByteBuffer *bytes, int64_t *row);

static void mend_rows(const PackLayout *layout, ByteBuffer *bytes, PackArrayName name,
                      size_t columns, MendRow *mend) {
    const PackArray *array = &layout->arrays[name];
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
    for (int i = 0; i < ARRAY_COUNT; i++) {
        const PackArray *array = &layout->arrays[i];
        if (array->checksum)
            set_number(bytes, array->checksum, crc32c(0, bytes->data + array->offset, array->size),
                       4);
    }
    for (int b = 0; b < layout->num_blocks; b++) {
        const size_t at = layout->blocks[b].offset, size = layout->blocks[b].size - 4;
        set_number(bytes, at + size, lookup3(bytes->data + at, size), 4);
    }
}
