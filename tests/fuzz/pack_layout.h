/// Where a pack keeps what, so that it can be damaged and its checksums mended: what lies behind
/// them is reached then.
#pragma once
#include "tests/fuzz/bytes.h"

enum { MOST_BLOCKS = 64, MOST_NUMBERS = 64 };

typedef enum PackArrayName {
    ARRAY_SAMPLES,
    ARRAY_TEXTS,
    ARRAY_TOKENS,
    ARRAY_SPANS,
    ARRAY_IMAGES,
    ARRAY_NAMES,
    ARRAY_IMAGE_BYTES,
    ARRAY_COUNT
} PackArrayName;

/// An array's elements, and its CRC-32C; 0: the array is empty.
typedef struct PackArray {
    size_t offset, size, checksum;
} PackArray;

/// A block of HDF5's own, whose last four bytes are its checksum.
typedef struct PackBlock {
    size_t offset, size;
} PackBlock;

typedef struct PackLayout {
    PackArray arrays[ARRAY_COUNT];
    PackBlock blocks[MOST_BLOCKS];
    int num_blocks;
    /// Numbers of eight bytes that HDF5 passes on to us: arrays' places and sizes, shapes,
    /// attributes.
    size_t numbers[MOST_NUMBERS];
    int num_numbers;
    /// of the attribute `numbers`
    size_t numbers_attribute;
    /// the pack's; freed by pack_layout_free()
    char *tokens_of;
} PackLayout;

/// Of an undamaged pack; its content, for `bytes`.
bool pack_layout_read(const char *path, const ByteBuffer *bytes, PackLayout *layout, Error *error);
void pack_layout_free(PackLayout *layout);
/// Recomputes what the pack says of its samples, images and arrays, and HDF5 of its blocks, as far
/// as rows still name places in the arrays.
void pack_layout_mend(const PackLayout *layout, ByteBuffer *bytes);
