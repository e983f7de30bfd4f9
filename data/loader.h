/// Micro-batches made ready in the background: images read and brought to their square, conversations tokenized, in an
/// order that depends on the seed and the position alone.
///
/// One step of training has `accumulation` micro-batches on each of `world_size` processes; the step's global batch is
/// micro_batch * accumulation * world_size samples. Micro-batch a of process r is chunk a * world_size + r of data/sampler.h.
#pragma once
#include "data/images/preprocess.h"
#include "data/llava_dataset.h"
#include "data/sampler.h"

typedef struct LoaderOptions {
    const Dataset *dataset; ///< these two outlive the loader
    const Tokenizer *tokenizer;
    ConversationFormat format; ///< its system message too
    ImageAspect image_aspect;
    int image_size; ///< S: side of the square in pixels
    bool
        without_images; ///< do not read them: the consumer has their features (a sample's tokens say whether it has one)
    MissingImage
        damaged_image; ///< an image that cannot be read: fail, or leave out its sample and count it
    uint64_t seed;
    bool shuffle;
    bool drop_last;
    bool group_by_modality_length;
    int rank;
    int world_size;
    int micro_batch;    ///< per_device_train_batch_size
    int accumulation;   ///< gradient_accumulation_steps
    int64_t first_step; ///< 0, or where a resumed run goes on
    int64_t end_step;   ///< one past the last step; 0: without end
    int prefetch;       ///< micro-batches kept ready, at least 1
    int threads;        ///< that make them, at least 1
} LoaderOptions;

typedef struct LoadedSample {
    int64_t index; ///< in the data set
    int64_t
        position_in_file; ///< dataset_position_in_file(): the number that randomness is keyed by
    TokenSequence tokens;
    const float *image;     ///< [S, S, 3] in [-1, 1], within MicroBatch.images; NULL for text only
    ImageGeometry geometry; ///< of the image
} LoadedSample;

typedef struct MicroBatch {
    int64_t step;
    int accumulation; ///< 0 to accumulation - 1
    int count; ///< at most micro_batch; fewer, even none, at an epoch's end or when samples were left out
    LoadedSample *samples;
    float *images; ///< [image_count, S, S, 3], in the samples' order
    int image_count;
    int skipped;               ///< samples left out because of damaged images
    char skipped_because[512]; ///< of the first of them
} MicroBatch;

void micro_batch_free(MicroBatch *batch);

typedef struct Loader Loader;

/// How many steps an epoch of such a loader has; -1 if the options do not fit together. Starts no threads and reads no sample.
int64_t loader_steps_per_epoch(const LoaderOptions *options, Error *error);
/// Starts the threads. NULL if the options do not fit together.
Loader *loader_create(const LoaderOptions *options, Error *error);
/// Stops the threads and frees everything that was not handed out.
void loader_free(Loader *loader);
/// Waits for the next micro-batch, which the caller frees; NULL after end_step. The error of a sample comes when its
/// micro-batch is due; after it only loader_free() makes sense.
bool loader_next(Loader *loader, MicroBatch **batch, Error *error);
