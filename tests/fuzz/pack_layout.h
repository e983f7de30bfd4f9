/// Where a pack keeps what (tests/fuzz/hdf5_layout.h), and the checksums of its rows.
#pragma once
#include "tests/fuzz/hdf5_layout.h"

/// Index of its arrays in the layout.
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

typedef struct PackLayout {
    Hdf5Layout file;
    /// of the attribute `numbers`
    size_t numbers_attribute;
    /// the pack's; freed by pack_layout_free()
    char *tokens_of;
} PackLayout;

/// Of an undamaged pack; its content, for `bytes`.
bool pack_layout_read(const char *path, const ByteBuffer *bytes, PackLayout *layout, Error *error);
/// NULL is allowed.
void pack_layout_free(PackLayout *layout);
/// Recomputes what the pack says of its samples, images and arrays, and HDF5 of its blocks, as far
/// as rows still name places in the arrays.
void pack_layout_mend(const PackLayout *layout, ByteBuffer *bytes);
