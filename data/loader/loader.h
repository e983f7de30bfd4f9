/// Micro-batches made ready in the background: images read and brought to their square,
/// conversations tokenized, in an order that depends on the seed and the position alone.
///
/// One step of training has `accumulation` micro-batches on each of `world_size` processes: of
/// micro_batch samples each, or of as many as fit into tokens_per_batch. Micro-batch a of process r
/// is chunk a * world_size + r of data/loader/sampler.h.
#pragma once
#include "data/images/preprocess.h"
#include "data/llava_dataset.h"
#include "data/loader/micro_batch.h"
#include "data/loader/sampler.h"

typedef struct LoaderOptions {
    /// these two outlive the loader
    const Dataset *dataset;
    const Tokenizer *tokenizer;
    /// its system message too
    ConversationFormat format;
    ImageAspect image_aspect;
    ImageNormalization image_normalization;
    /// S: side of the square in pixels
    int image_size;
    /// that the images are for: they are put where it copies from; NULL: none
    Device *device;
    /// do not read them: the consumer has their features (a sample's tokens say whether it has one)
    bool without_images;
    /// without images: whether it has those of a sample with one; NULL: of all
    bool (*has_features)(const void *features, int64_t index);
    const void *features;
    /// an image that cannot be read: fail, or leave out its sample and count it; with `shuffle`, in
    /// training, another sample with an image (and no more tokens, where they are counted) then
    /// takes its place
    MissingImage damaged_image;
    uint64_t seed;
    bool shuffle;
    bool drop_last;
    bool group_by_modality_length;
    int rank;
    int world_size;
    /// per_device_train_batch_size; of no meaning with token_lengths
    int micro_batch;
    /// NULL, or (tokens_per_batch) the tokens of each sample as sample_lengths() counts them;
    /// outlives the loader
    const int32_t *token_lengths;
    /// with them
    int64_t tokens_per_batch;
    /// gradient_accumulation_steps
    int accumulation;
    /// 0, or where a resumed run goes on
    int64_t first_step;
    /// one past the last step; 0: without end
    int64_t end_step;
    /// micro-batches kept ready, at least 1
    int prefetch;
    /// that make them, at least 1
    int threads;
} LoaderOptions;

typedef struct Loader Loader;

/// In which order such a loader takes the samples; NULL if the options do not fit together. The
/// caller frees it.
Sampler *loader_sampler(const LoaderOptions *options, Error *error);
/// How many steps an epoch of such a loader has; -1 if the options do not fit together. Starts no
/// threads and reads no sample.
int64_t loader_steps_per_epoch(const LoaderOptions *options, Error *error);
/// Starts the threads. NULL if the options do not fit together.
Loader *loader_create(const LoaderOptions *options, Error *error);
/// Stops the threads and frees everything; what was handed out must be back.
void loader_free(Loader *loader);
/// Waits for the next micro-batch, which the caller frees before the loader; NULL after end_step.
/// The error of a sample comes when its micro-batch is due; after it only loader_free() makes
/// sense.
bool loader_next(Loader *loader, MicroBatch **batch, Error *error);
