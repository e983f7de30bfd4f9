/// Where an HDF5 file of ours (checkpoints/training_state.h) keeps what, so that it can be damaged
/// and its checksums mended: what lies behind them is reached then.
#pragma once
#include "checkpoints/training_state.h"
#include "tests/fuzz/bytes.h"

enum { MOST_BLOCKS = 64, MOST_NUMBERS = 512, MOST_ARRAYS = 32, MOST_TEXTS = 4 };

/// An array's elements, and the place of its CRC-32C; 0: the array is empty, or has none.
typedef struct Hdf5Array {
    size_t offset, size, checksum;
} Hdf5Array;

/// A block of HDF5's own, whose last four bytes are its checksum.
typedef struct Hdf5Block {
    size_t offset, size;
} Hdf5Block;

typedef struct Hdf5Layout {
    Hdf5Array arrays[MOST_ARRAYS];
    int num_arrays;
    Hdf5Block blocks[MOST_BLOCKS];
    int num_blocks;
    /// Places of numbers of eight bytes that HDF5 passes on to us: arrays' places, sizes and
    /// shapes, attributes.
    size_t numbers[MOST_NUMBERS];
    int num_numbers;
    /// Attributes that are text.
    Hdf5Array texts[MOST_TEXTS];
    int num_texts;
} Hdf5Layout;

/// Of an undamaged file, and its content: its arrays of these names, in this order; NULL: all.
bool hdf5_layout_read(const StateFile *state, const ByteBuffer *bytes, const char *const *names,
                      int count, Hdf5Layout *layout, Error *error);
/// An attribute that is to be damaged as well, which must be there. Returns the number's place.
size_t hdf5_layout_add_number(Hdf5Layout *layout, const ByteBuffer *bytes, const char *name,
                              int64_t value);
void hdf5_layout_add_text(Hdf5Layout *layout, const ByteBuffer *bytes, const char *text);
/// Recomputes the checksums of arrays and of HDF5's blocks.
void hdf5_layout_mend(const Hdf5Layout *layout, ByteBuffer *bytes);
