// Images are numbered in the order of their first samples, whether they can be read or not, which
// all ranks do alike. 32 of them are a block, computed together; blocks are dealt out to the ranks
// in turn. After each round of blocks, one for each rank, the ranks make sure that all is well, and
// hand out what they have made, with a bit for each image that could be read.
#include "train/trainer/feature_cache.h"

#include "autograd/stop_request.h"
#include "train/group/going_on.h"
#include "train/trainer/feature_share.h"

#include <search.h>
#include <stdlib.h>
#include <string.h>

struct FeatureCache {
    const DiffLMM *model;
    ProcessGroup *group;
    /// Per sample: the number of its image; -1: none.
    int32_t *image_of;
    int64_t num_samples;
    /// Per image, while the cache is filled: a sample that has it.
    int64_t *samples;
    int32_t num_images;
    FeatureBlock *blocks;
    int32_t num_blocks;
    FeatureShape shape;
    size_t clip_bytes, moments_bytes;
    /// images whose features all ranks found in the folder
    int64_t num_found;
};

// ---- numbering

/// Images by path, so that one that several samples share is computed once.
typedef struct Known {
    char *path;
    int32_t image;
} Known;

static int compare_paths(const void *a, const void *b) {
    return strcmp(((const Known *)a)->path, ((const Known *)b)->path);
}

static void free_known(void *known) {
    free(((Known *)known)->path);
    free(known);
}

/// The number of an image, a new one if it is.
static int32_t number_of(FeatureCache *cache, void **known_paths, const char *path,
                         int64_t sample) {
    Known key = {(char *)path, -1}, **found = tfind(&key, known_paths, compare_paths);
    if (found) return (*found)->image;
    Known *known = checked_malloc(sizeof *known);
    *known = (Known){checked_strdup(path), cache->num_images};
    tsearch(known, known_paths, compare_paths);
    cache->samples[cache->num_images] = sample;
    return cache->num_images++;
}

static bool number_images(FeatureCache *cache, const Dataset *dataset, Error *error) {
    void *known_paths = NULL;
    bool ok = true;
    for (int64_t i = 0; ok && i < cache->num_samples; i++) {
        cache->image_of[i] = -1;
        if (!dataset_has_image(dataset, i)) continue;
        Sample sample;
        ok = stop_requested() ? stop_request_error(error)
                              : dataset_sample(dataset, i, &sample, error);
        if (!ok) break;
        cache->image_of[i] = number_of(cache, &known_paths, sample.image_path, i);
        sample_free(&sample);
        process_group_progress(cache->group);
    }
    tdestroy(known_paths, free_known);
    cache->num_blocks = (cache->num_images + FEATURE_BLOCK - 1) / FEATURE_BLOCK;
    cache->blocks = checked_calloc((size_t)cache->num_blocks + 1, sizeof *cache->blocks);
    return ok;
}

static int images_in(const FeatureCache *cache, int32_t block) {
    int32_t left = cache->num_images - block * FEATURE_BLOCK;
    return left < FEATURE_BLOCK ? left : FEATURE_BLOCK;
}

// ---- handing it out

static bool share_block(FeatureCache *cache, int32_t index, int owner, Error *error) {
    FeatureBlock *block = &cache->blocks[index];
    size_t count = (size_t)images_in(cache, index);
    if (owner != process_rank(cache->group)) {
        block->clip = checked_malloc(count * cache->clip_bytes);
        if (cache->moments_bytes) block->moments = checked_malloc(count * cache->moments_bytes);
    }
    return process_group_broadcast(cache->group, owner, &block->readable, sizeof block->readable,
                                   error) &&
           process_group_broadcast(cache->group, owner, block->clip, count * cache->clip_bytes,
                                   error) &&
           (!block->moments || process_group_broadcast(cache->group, owner, block->moments,
                                                       count * cache->moments_bytes, error));
}

/// The blocks from `first` on, one of each rank.
static bool share_round(FeatureCache *cache, int32_t first, Error *error) {
    if (process_count(cache->group) == 1) return true;
    bool ok = true;
    for (int r = 0; ok && r < process_count(cache->group) && first + r < cache->num_blocks; r++)
        ok = share_block(cache, first + r, r, error);
    return ok;
}

/// What all ranks have found.
static bool sum_found(FeatureCache *cache, int64_t found, Error *error) {
    double sum = (double)found;
    bool ok = process_group_sum(cache->group, &sum, 1, error);
    cache->num_found = (int64_t)sum;
    return ok;
}

// ---- the whole

static bool fill(FeatureCache *cache, FeatureShare *share, bool *stopping, Progress *progress,
                 Error *error) {
    int ranks = process_count(cache->group);
    for (int32_t first = 0; first < cache->num_blocks; first += ranks) {
        int32_t own = first + process_rank(cache->group), end = (first + ranks) * FEATURE_BLOCK;
        bool ok = own >= cache->num_blocks ||
                  feature_share_make(share, cache->samples + (int64_t)own * FEATURE_BLOCK,
                                     images_in(cache, own), &cache->blocks[own], error);
        if (!ranks_go_on(cache->group, ok, stopping, error) || !share_round(cache, first, error))
            return false;
        progress_update(progress, end < cache->num_images ? end : cache->num_images,
                        "CLIP features and latent moments");
    }
    return !share->options->folder || sum_found(cache, share->num_found, error);
}

FeatureCache *feature_cache_new(const FeatureCacheOptions *options, bool *stopping,
                                FILE *progress_out, Error *error) {
    FeatureCache *cache = checked_calloc(1, sizeof *cache);
    int64_t all = dataset_count(options->dataset);
    cache->model = options->model;
    cache->group = options->group;
    cache->shape = feature_shape(options->model);
    cache->clip_bytes = feature_clip_bytes(&cache->shape);
    cache->moments_bytes = feature_moments_bytes(&cache->shape);
    cache->num_samples = options->limit >= 0 && options->limit < all ? options->limit : all;
    cache->image_of = checked_malloc((size_t)(cache->num_samples + 1) * sizeof *cache->image_of);
    cache->samples = checked_malloc((size_t)(cache->num_samples + 1) * sizeof *cache->samples);
    FeatureShare share = {.options = options};
    bool ok =
        ranks_go_on(cache->group, number_images(cache, options->dataset, error), stopping, error);
    if (ok) {
        Progress *progress =
            progress_begin(progress_out, "features", 0, cache->num_images, cache->num_images);
        ok = fill(cache, &share, stopping, progress, error);
        progress_end(progress);
    }
    free(cache->samples);
    cache->samples = NULL;
    feature_share_report(&share);
    if (ok) return cache;
    feature_cache_free(cache);
    return NULL;
}

void feature_cache_free(FeatureCache *cache) {
    if (!cache) return;
    for (int32_t i = 0; i < cache->num_blocks; i++) feature_block_free(&cache->blocks[i]);
    free(cache->blocks);
    free(cache->image_of);
    free(cache);
}

int64_t feature_cache_count(const FeatureCache *cache) { return cache->num_images; }

int64_t feature_cache_count_found(const FeatureCache *cache) { return cache->num_found; }

bool feature_cache_has(const FeatureCache *cache, int64_t index) {
    int32_t image = index < cache->num_samples ? cache->image_of[index] : -1;
    return image >= 0 &&
           (cache->blocks[image / FEATURE_BLOCK].readable >> image % FEATURE_BLOCK & 1);
}

FrozenFeatures feature_cache_batch(const FeatureCache *cache, const int64_t *indices, int count) {
    const DiffLMM *model = cache->model;
    const FeatureShape *shape = &cache->shape;
    FrozenFeatures features = {
        tensor_new(model->device, shape->dtype, SHAPE(count, shape->tokens, shape->width)), NULL};
    if (shape->channels)
        features.moments = tensor_new(model->device, FLOAT32,
                                      SHAPE(count, shape->side, shape->side, shape->channels));
    for (int i = 0; i < count; i++) {
        CHECK(feature_cache_has(cache, indices[i]), "sample %lld has no features",
              (long long)indices[i]);
        int32_t image = cache->image_of[indices[i]];
        const FeatureBlock *block = &cache->blocks[image / FEATURE_BLOCK];
        size_t place = (size_t)(image % FEATURE_BLOCK);
        Device *device = model->device;
        device->from_host(device, (char *)features.clip->data + (size_t)i * cache->clip_bytes,
                          block->clip + place * cache->clip_bytes, cache->clip_bytes);
        if (features.moments)
            device->from_host(device,
                              (char *)features.moments->data + (size_t)i * cache->moments_bytes,
                              block->moments + place * cache->moments_bytes, cache->moments_bytes);
    }
    return features;
}
