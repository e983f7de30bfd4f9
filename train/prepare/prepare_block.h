/// A block of samples: what is looked at in one go by one thread, and what is known about it
/// afterwards.
#pragma once
#include "data/conversation.h"
#include "data/pack/pack.h"
#include "data/sample_file.h"
#include "train/prepare/prepare_problems.h"

enum { PREPARE_BLOCK = 64 };

/// What samples are looked at with; read by all threads.
typedef struct Preparing {
    const char *image_folder;
    const Tokenizer *tokenizer;
    /// of the configuration
    ConversationFormat format;
    /// data.missing_image is skip
    bool skips;
    bool with_images;
} Preparing;

/// Before: samples of the file, one behind the other.
typedef struct RawBlock {
    int64_t number;
    /// of the first sample in the file
    int64_t first;
    int count;
    SamplePlace places[PREPARE_BLOCK];
    int64_t lines[PREPARE_BLOCK];
    /// places[i].bytes each, or NULL and why the line is no JSON; owned
    char *texts[PREPARE_BLOCK], *reasons[PREPARE_BLOCK];
} RawBlock;

/// Frees texts and reasons.
void raw_block_free(RawBlock *block);

/// A picture of a block.
typedef struct BlockImage {
    char *name;
    /// the file's
    char *bytes;
    size_t size;
} BlockImage;

/// Looks at every sample of the block and puts what it is into the record: bytes for
/// prepared_block_read(). images (room for PREPARE_BLOCK) receives the pictures that are to be
/// kept, to be freed with block_images_free().
void block_prepare(const Preparing *preparing, const RawBlock *block, ByteBuffer *record,
                   BlockImage *images, int *num_images);
void block_images_free(BlockImage *images, int count);

/// After: what a record says. The samples' texts and tokens lie in the record.
typedef struct PreparedBlock {
    int64_t number;
    /// how many samples of the file it is of
    int looked_at;
    PackSample samples[PREPARE_BLOCK];
    int num_samples;
    ProblemList problems;
} PreparedBlock;

/// False for a damaged record. To be ended by prepared_block_free(), also on failure.
bool prepared_block_read(const void *record, size_t size, PreparedBlock *block);
void prepared_block_free(PreparedBlock *block);
