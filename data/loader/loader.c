// Micro-batches are numbered from the first step on. A thread takes the next number that is less
// than `prefetch` ahead of the consumer, makes the micro-batch without holding the lock, and puts
// it into slot number % prefetch, which is free because its last number was consumed. So the order
// is that of the numbers, whatever the threads' speeds.
#include "data/loader/loader.h"
#include "data/sample_image.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct Slot {
    bool ready;
    bool failed;
    MicroBatch *batch;
    Error error;
} Slot;

struct Loader {
    LoaderOptions options;
    char *system_message;
    /// over all that follows
    pthread_mutex_t lock;
    /// the consumer took a micro-batch, or the loader stops
    pthread_cond_t room;
    /// a slot became ready
    pthread_cond_t ready;
    Sampler *sampler;
    BatchPool *pool;
    Slot *slots;
    /// numbers below are made or being made
    int64_t claimed;
    /// numbers below are with the consumer
    int64_t consumed;
    /// number after the last
    int64_t end;
    bool stopping;
    pthread_t *threads;
    int thread_count;
};

static int64_t floats_per_image(const LoaderOptions *options) {
    return (int64_t)options->image_size * options->image_size * 3;
}

/// Reads a sample's image into the batch's next place.
static bool load_image(const LoaderOptions *options, const Sample *sample, MicroBatch *batch,
                       LoadedSample *loaded, Error *error) {
    const ImageView view = {options->image_aspect, options->image_normalization,
                            options->image_size};
    float *place = batch->images + batch->image_count * floats_per_image(options);
    if (!sample_image_to_float(sample, &view, place, &loaded->geometry, error)) return false;
    loaded->image = place;
    batch->image_count++;
    return true;
}

typedef enum Outcome {
    LOADED,
    /// its image cannot be read
    UNREADABLE,
    FAILED
} Outcome;

/// Whether the sample has what it needs of its image; reads it if the loader does.
static bool find_image(const LoaderOptions *options, const Sample *sample, MicroBatch *batch,
                       LoadedSample *loaded, Error *error) {
    if (loaded->tokens.image_position < 0) return true;
    if (!options->without_images) return load_image(options, sample, batch, loaded, error);
    return !options->has_features || options->has_features(options->features, loaded->index) ||
           error_set(error, "its image could not be read");
}

/// Appends a sample to the batch.
static Outcome load_sample(const LoaderOptions *options, int64_t index, MicroBatch *batch,
                           Error *error) {
    Sample sample;
    char where[1024];
    if (!dataset_sample(options->dataset, index, &sample, error)) return FAILED;
    LoadedSample loaded = {.index = index,
                           .position_in_file = dataset_position_in_file(options->dataset, index)};
    Outcome outcome = FAILED;
    if (sample_tokenize(&sample, options->tokenizer, &options->format, &loaded.tokens, error))
        outcome = find_image(options, &sample, batch, &loaded, error) ? LOADED : UNREADABLE;
    if (outcome == LOADED) {
        batch->samples[batch->count++] = loaded;
    } else {
        error_context(error, "%s",
                      dataset_describe(options->dataset, index, sample.id, where, sizeof where));
        token_sequence_free(&loaded.tokens);
    }
    sample_free(&sample);
    return outcome;
}

static bool is_longer(const LoaderOptions *options, int64_t index, int64_t other) {
    return options->token_lengths && options->token_lengths[index] > options->token_lengths[other];
}

/// The next samples with an image, in the data set's order, stand in for one whose own cannot be
/// read: whichever process meets it, the step keeps its size, and a resumed run its samples.
static bool load_stand_in(const LoaderOptions *options, int64_t index, MicroBatch *batch,
                          Error *error) {
    enum { MOST_TRIED = 16 };
    const int64_t count = dataset_count(options->dataset);
    int tried = 0;
    for (int64_t i = 1; i < count && tried < MOST_TRIED; i++) {
        const int64_t next = (index + i) % count;
        if (!dataset_has_image(options->dataset, next) || is_longer(options, next, index)) continue;
        Error unreadable = {0};
        switch (load_sample(options, next, batch, &unreadable)) {
        case LOADED:
            return true;
        case UNREADABLE:
            tried++;
            break;
        case FAILED:
            return error_set(error, "%s", unreadable.message);
        }
    }
    return true;
}

/// Appends a sample to the batch, or counts it as skipped and, in training, appends another.
static bool load_or_replace(const LoaderOptions *options, int64_t index, MicroBatch *batch,
                            Error *error) {
    const Outcome outcome = load_sample(options, index, batch, error);
    if (outcome == LOADED) return true;
    if (outcome == FAILED || options->damaged_image == MISSING_IMAGE_FAIL) return false;
    if (batch->skipped++ == 0)
        snprintf(batch->skipped_because, sizeof batch->skipped_because, "%s", error->message);
    return !options->shuffle || load_stand_in(options, index, batch, error);
}

/// Makes the micro-batch of these samples; NULL with the error otherwise.
static MicroBatch *make_batch(const LoaderOptions *options, BatchPool *pool, const int64_t *indices,
                              int64_t count, Error *error) {
    int64_t images = 0;
    for (int64_t i = 0; i < count && !options->without_images; i++)
        images += dataset_has_image(options->dataset, indices[i]);
    MicroBatch *batch = batch_pool_take(pool, count, images * floats_per_image(options));
    for (int64_t i = 0; i < count; i++) {
        if (load_or_replace(options, indices[i], batch, error)) continue;
        micro_batch_free(batch);
        return NULL;
    }
    return batch;
}

/// Waits for a number to work on; false when there is nothing more to do. Called with the lock.
static bool claim(Loader *loader, int64_t *number) {
    while (!loader->stopping && loader->claimed < loader->end &&
           loader->claimed >= loader->consumed + loader->options.prefetch)
        pthread_cond_wait(&loader->room, &loader->lock);
    if (loader->stopping || loader->claimed >= loader->end) return false;
    *number = loader->claimed++;
    return true;
}

/// Copies the samples of a micro-batch, as the sampler's are its own. Called with the lock.
static int64_t *samples_of(Loader *loader, int64_t step, int64_t accumulation, int64_t *count) {
    const LoaderOptions *options = &loader->options;
    const int64_t chunk = accumulation * options->world_size + options->rank;
    const int64_t *samples = sampler_chunk(loader->sampler, step, chunk, count);
    int64_t *copy = checked_malloc((size_t)(*count + 1) * sizeof *copy);
    memcpy(copy, samples, (size_t)*count * sizeof *copy);
    return copy;
}

static void *work(void *context) {
    Loader *loader = context;
    const LoaderOptions *options = &loader->options;
    int64_t number;
    pthread_mutex_lock(&loader->lock);
    while (claim(loader, &number)) {
        const int64_t step = options->first_step + number / options->accumulation;
        const int accumulation = (int)(number % options->accumulation);
        int64_t count, *indices = samples_of(loader, step, accumulation, &count);
        pthread_mutex_unlock(&loader->lock);

        Error error = {0};
        MicroBatch *batch = make_batch(options, loader->pool, indices, count, &error);
        free(indices);
        if (batch) {
            batch->step = step;
            batch->accumulation = accumulation;
        }

        pthread_mutex_lock(&loader->lock);
        Slot *slot = &loader->slots[number % options->prefetch];
        *slot = (Slot){.ready = true, .failed = !batch, .batch = batch, .error = error};
        pthread_cond_broadcast(&loader->ready);
    }
    pthread_mutex_unlock(&loader->lock);
    return NULL;
}

Sampler *loader_sampler(const LoaderOptions *options, Error *error) {
    const int64_t count = dataset_count(options->dataset);
    const int part_count = dataset_part_count(options->dataset);
    int32_t *lengths = NULL;
    SamplerPart *parts = checked_malloc((size_t)part_count * sizeof *parts);
    for (int i = 0; i < part_count; i++) {
        const DatasetPart part = dataset_part(options->dataset, i);
        parts[i] = (SamplerPart){part.count, part.weight};
    }
    if (options->group_by_modality_length) {
        lengths = checked_malloc((size_t)count * sizeof *lengths);
        dataset_modality_lengths(options->dataset, lengths);
    }
    Sampler *sampler = sampler_create(
        &(SamplerOptions){.sample_count = count,
                          .parts = parts,
                          .part_count = part_count,
                          .chunks = (int64_t)options->accumulation * options->world_size,
                          .micro_batch = options->micro_batch,
                          .token_lengths = options->token_lengths,
                          .tokens_per_chunk = options->tokens_per_batch,
                          .seed = options->seed,
                          .shuffle = options->shuffle,
                          .drop_last = options->drop_last,
                          .modality_lengths = lengths},
        error);
    free(lengths);
    free(parts);
    if (!sampler) error_context(error, "%s", dataset_path(options->dataset));
    return sampler;
}

int64_t loader_steps_per_epoch(const LoaderOptions *options, Error *error) {
    Sampler *sampler = loader_sampler(options, error);
    if (!sampler) return -1;
    const int64_t steps = sampler_steps_per_epoch(sampler);
    sampler_free(sampler);
    return steps;
}

static bool start_threads(Loader *loader, Error *error) {
    loader->threads = checked_calloc((size_t)loader->options.threads, sizeof *loader->threads);
    for (int i = 0; i < loader->options.threads; i++) {
        const int failure = pthread_create(&loader->threads[i], NULL, work, loader);
        if (failure != 0)
            return error_set(error, "a loader thread could not be started: %s", strerror(failure));
        loader->thread_count++;
    }
    return true;
}

Loader *loader_create(const LoaderOptions *options, Error *error) {
    CHECK(options->rank >= 0 && options->rank < options->world_size &&
              (options->micro_batch > 0 || options->token_lengths) && options->accumulation > 0 &&
              options->prefetch > 0 && options->threads > 0 && options->image_size > 0 &&
              options->first_step >= 0,
          "loader: rank %d of %d, micro-batch %d x %d, prefetch %d, threads %d", options->rank,
          options->world_size, options->micro_batch, options->accumulation, options->prefetch,
          options->threads);
    Loader *loader = checked_calloc(1, sizeof *loader);
    loader->options = *options;
    if (options->format.system_message) {
        loader->system_message = checked_strdup(options->format.system_message);
        loader->options.format.system_message = loader->system_message;
    }
    const int64_t steps =
        options->end_step > options->first_step ? options->end_step - options->first_step : 0;
    loader->end = options->end_step == 0 ? INT64_MAX : steps * options->accumulation;
    loader->pool = batch_pool_new(options->device);
    loader->slots = checked_calloc((size_t)options->prefetch, sizeof *loader->slots);
    pthread_mutex_init(&loader->lock, NULL);
    pthread_cond_init(&loader->room, NULL);
    pthread_cond_init(&loader->ready, NULL);
    loader->sampler = loader_sampler(options, error);
    if (loader->sampler && start_threads(loader, error)) return loader;
    loader_free(loader);
    return NULL;
}

void loader_free(Loader *loader) {
    if (!loader) return;
    pthread_mutex_lock(&loader->lock);
    loader->stopping = true;
    pthread_cond_broadcast(&loader->room);
    pthread_mutex_unlock(&loader->lock);
    for (int i = 0; i < loader->thread_count; i++) pthread_join(loader->threads[i], NULL);
    for (int i = 0; i < loader->options.prefetch; i++) micro_batch_free(loader->slots[i].batch);
    pthread_cond_destroy(&loader->room);
    pthread_cond_destroy(&loader->ready);
    pthread_mutex_destroy(&loader->lock);
    batch_pool_free(loader->pool);
    sampler_free(loader->sampler);
    free(loader->threads);
    free(loader->slots);
    free(loader->system_message);
    free(loader);
}

bool loader_next(Loader *loader, MicroBatch **batch, Error *error) {
    *batch = NULL;
    pthread_mutex_lock(&loader->lock);
    bool done = true;
    if (loader->consumed < loader->end) {
        Slot *slot = &loader->slots[loader->consumed % loader->options.prefetch];
        while (!slot->ready) pthread_cond_wait(&loader->ready, &loader->lock);
        done = !slot->failed;
        if (done) {
            *batch = slot->batch;
            *slot = (Slot){0};
            loader->consumed++;
            pthread_cond_broadcast(&loader->room);
        } else {
            error_set(error, "%s", slot->error.message);
        }
    }
    pthread_mutex_unlock(&loader->lock);
    return done;
}
