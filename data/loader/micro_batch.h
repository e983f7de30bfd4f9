/// A micro-batch, and the pool out of which its buffers come: those that were given back are used
/// again, so that the system need not find and clear new pages in every step. Images are in memory
/// that the device they are for copies from while the host goes on.
#pragma once
#include "autograd/transfer_buffer.h"
#include "data/conversation.h"
#include "data/images/preprocess.h"

typedef struct LoadedSample {
    /// in the data set
    int64_t index;
    /// dataset_position_in_file(): the number that randomness is keyed by
    int64_t position_in_file;
    TokenSequence tokens;
    /// [S, S, 3], normalised, within MicroBatch.images; NULL for text only
    const float *image;
    /// of the image
    ImageGeometry geometry;
} LoadedSample;

typedef struct BatchPool BatchPool;

typedef struct MicroBatch {
    int64_t step;
    /// 0 to accumulation - 1
    int accumulation;
    /// fewer than usual, even none, at an epoch's end or when samples were left out
    int count;
    LoadedSample *samples;
    /// [image_count, S, S, 3], in the samples' order; in `pixels`
    float *images;
    int image_count;
    /// what tensor_from_transfer_buffer() makes a tensor of
    TransferBuffer pixels;
    /// samples left out because of damaged images, whether others are in their places or not
    int skipped;
    /// of the first of them
    char skipped_because[512];
    /// where it goes back to
    BatchPool *pool;
    /// that there is room for
    int64_t sample_capacity;
} MicroBatch;

/// Hands the micro-batch back, before the pool's end. A tensor that was made of its images may
/// still be on its way. NULL is allowed.
void micro_batch_free(MicroBatch *batch);

/// For images that this device is to have; NULL: none.
BatchPool *batch_pool_new(Device *device);
/// Every micro-batch must be back.
void batch_pool_free(BatchPool *pool);
/// An empty micro-batch with room for so many samples and numbers (floats) of images, whose content
/// is undefined; waits until the last copy out of these has run. Any thread may take one and hand
/// one back.
MicroBatch *batch_pool_take(BatchPool *pool, int64_t samples, int64_t image_numbers);
