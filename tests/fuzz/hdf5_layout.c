#include "tests/fuzz/hdf5_layout.h"

#include "autograd/crc32c.h"

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
static void find_block(Hdf5Layout *layout, const ByteBuffer *bytes, size_t at) {
    static const size_t LONGEST = 8192;
    for (size_t size = 12; size < LONGEST && at + size <= bytes->size; size++)
        if (number_at(bytes, at + size - 4, 4) == lookup3(bytes->data + at, size - 4)) {
            CHECK(layout->num_blocks < MOST_BLOCKS, "a file of more than %d blocks", MOST_BLOCKS);
            layout->blocks[layout->num_blocks++] = (Hdf5Block){at, size};
            return;
        }
}

/// Object headers and their continuations [HDF5 file format specification 3.0, IV.A.1.b].
static void find_blocks(Hdf5Layout *layout, const ByteBuffer *bytes) {
    for (size_t at = 0; at + 12 <= bytes->size; at++)
        if (!memcmp(bytes->data + at, "OHDR", 4) || !memcmp(bytes->data + at, "OCHK", 4))
            find_block(layout, bytes, at);
}

static bool is_taken(const Hdf5Layout *layout, size_t at) {
    for (int i = 0; i < layout->num_arrays; i++)
        if (layout->arrays[i].checksum == at) return true;
    return false;
}

/// Behind a name in the blocks: the place of a number that is no array's checksum; 0: nowhere.
static size_t find_behind(const Hdf5Layout *layout, const ByteBuffer *bytes, const char *name,
                          uint64_t value, size_t width) {
    static const size_t FURTHEST = 64;
    const size_t length = strlen(name) + 1;
    for (int b = 0; b < layout->num_blocks; b++) {
        const size_t end = layout->blocks[b].offset + layout->blocks[b].size;
        for (size_t at = layout->blocks[b].offset; at + length <= end; at++) {
            if (memcmp(bytes->data + at, name, length) != 0) continue;
            for (size_t i = at + length; i < at + FURTHEST && i + width <= end; i++)
                if (number_at(bytes, i, width) == value && !is_taken(layout, i)) return i;
        }
    }
    return 0;
}

static void keep_number(Hdf5Layout *layout, size_t at) {
    CHECK(layout->num_numbers < MOST_NUMBERS, "a file of more than %d numbers", MOST_NUMBERS);
    layout->numbers[layout->num_numbers++] = at;
}

/// What HDF5 says of an array stands in the block that names its place: that, its size, its shape.
static void keep_numbers_of(Hdf5Layout *layout, const ByteBuffer *bytes, const Hdf5Block *block,
                            const Hdf5Array *array, const int64_t *shape, int rank) {
    const size_t end = block->offset + block->size - 4;
    bool is_its = false;
    for (size_t at = block->offset; !is_its && at + 8 <= end; at++)
        is_its = number_at(bytes, at, 8) == array->offset;
    for (size_t at = block->offset; is_its && at + 8 <= end; at++) {
        const uint64_t value = number_at(bytes, at, 8);
        bool is_kept = value == array->offset || value == array->size;
        for (int i = 0; i < rank; i++) is_kept = is_kept || value == (uint64_t)shape[i];
        if (is_kept) keep_number(layout, at);
    }
}

static bool find_array(Hdf5Layout *layout, const ByteBuffer *bytes, const StateFile *state,
                       const char *name, Error *error) {
    StateType type;
    int rank;
    int64_t shape[STATE_MAX_RANK], offset, size;
    uint32_t checksum;
    if (!state_describe_array(state, name, &type, &rank, shape, error) ||
        !state_array_place(state, name, &offset, &size, &checksum, error))
        return false;
    CHECK(layout->num_arrays < MOST_ARRAYS, "a file of more than %d arrays", MOST_ARRAYS);
    Hdf5Array array = {(size_t)offset, (size_t)size, 0};
    if (size) {
        array.checksum = find_behind(layout, bytes, "crc32c", checksum, 4);
        CHECK(array.checksum, "the checksum of '%s' is nowhere", name);
        for (int b = 0; b < layout->num_blocks; b++)
            keep_numbers_of(layout, bytes, &layout->blocks[b], &array, shape, rank);
    }
    layout->arrays[layout->num_arrays++] = array;
    return true;
}

bool hdf5_layout_read(const StateFile *state, const ByteBuffer *bytes, const char *const *names,
                      int count, Hdf5Layout *layout, Error *error) {
    *layout = (Hdf5Layout){0};
    find_blocks(layout, bytes);
    bool ok = true;
    for (int i = 0; ok && names && i < count; i++)
        ok = find_array(layout, bytes, state, names[i], error);
    for (int64_t i = 0; ok && !names && i < state_array_count(state); i++)
        ok = find_array(layout, bytes, state, state_array_name(state, i), error);
    return ok;
}

size_t hdf5_layout_add_number(Hdf5Layout *layout, const ByteBuffer *bytes, const char *name,
                              int64_t value) {
    const size_t at = find_behind(layout, bytes, name, (uint64_t)value, 8);
    CHECK(at, "the attribute '%s' is nowhere", name);
    keep_number(layout, at);
    return at;
}

void hdf5_layout_add_text(Hdf5Layout *layout, const ByteBuffer *bytes, const char *text) {
    const size_t length = strlen(text);
    for (int b = 0; b < layout->num_blocks; b++) {
        const Hdf5Block *block = &layout->blocks[b];
        for (size_t at = block->offset; at + length + 4 <= block->offset + block->size; at++) {
            if (memcmp(bytes->data + at, text, length) != 0) continue;
            CHECK(layout->num_texts < MOST_TEXTS, "a file of more than %d texts", MOST_TEXTS);
            layout->texts[layout->num_texts++] = (Hdf5Array){at, length, 0};
            return;
        }
    }
    CHECK(false, "the text '%s' is nowhere", text);
}

void hdf5_layout_mend(const Hdf5Layout *layout, ByteBuffer *bytes) {
    for (int i = 0; i < layout->num_arrays; i++) {
        const Hdf5Array *array = &layout->arrays[i];
        if (array->checksum)
            set_number(bytes, array->checksum, crc32c(0, bytes->data + array->offset, array->size),
                       4);
    }
    for (int b = 0; b < layout->num_blocks; b++) {
        const size_t at = layout->blocks[b].offset, size = layout->blocks[b].size - 4;
        set_number(bytes, at + size, lookup3(bytes->data + at, size), 4);
    }
}
