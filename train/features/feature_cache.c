// Images are numbered in the order of their first samples, whether they can be read or not, which
// all ranks do alike. 32 of them are a block, computed together; blocks are dealt out to the ranks
// in turn. After each round of blocks, one for each rank, the ranks make sure that all is well, and
// hand out what they have made.
#include "train/features/feature_cache.h"

#include "autograd/stop_request.h"
#include "train/features/feature_ahead.h"
#include "train/features/feature_exchange.h"
#include "train/features/feature_share.h"
#include "train/group/going_on.h"

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
    FeatureAhead *ahead;
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

/// The blocks from `first` on, one of each rank; own_key: of this rank's.
static bool share_round(FeatureCache *cache, int32_t first, const char *own_key,
                        FeatureFolder *folder, Error *error) {
    if (process_count(cache->group) == 1) return true;
    const FeatureExchange exchange = {cache->group, &cache->shape, folder};
    bool ok = true;
    for (int r = 0; ok && r < process_count(cache->group) && first + r < cache->num_blocks; r++) {
        ok = feature_exchange(&exchange, r, own_key, images_in(cache, first + r),
                              &cache->blocks[first + r], error);
    }
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

/// One block of each rank, from `first` on.
static bool fill_round(FeatureCache *cache, int32_t first, FeatureShare *share, bool *stopping,
                       Error *error) {
    const int32_t own = first + process_rank(cache->group);
    char *key = NULL;
    bool ok = own >= cache->num_blocks ||
              feature_share_make(share, cache->samples + (int64_t)own * FEATURE_BLOCK,
                                 images_in(cache, own), &cache->blocks[own], &key, error);
    ok = ranks_go_on(cache->group, ok, stopping, error) &&
         share_round(cache, first, key, share->options->folder, error);
    free(key);
    return ok;
}

static bool fill(FeatureCache *cache, FeatureShare *share, bool *stopping, Progress *progress,
                 Error *error) {
    int ranks = process_count(cache->group);
    for (int32_t first = 0; first < cache->num_blocks; first += ranks) {
        const int32_t end = (first + ranks) * FEATURE_BLOCK;
        if (!fill_round(cache, first, share, stopping, error)) return false;
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
    cache->ahead = feature_ahead_new(&cache->shape);
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
    feature_ahead_free(cache->ahead);
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

/// An image of the cache.
typedef struct CachedImage {
    int32_t image;
    const FeatureBlock *block;
    /// in the block
    int place;
} CachedImage;

static CachedImage image_at(const FeatureCache *cache, int64_t index) {
    CHECK(feature_cache_has(cache, index), "sample %lld has no features", (long long)index);
    const int32_t image = cache->image_of[index];
    return (CachedImage){image, &cache->blocks[image / FEATURE_BLOCK], image % FEATURE_BLOCK};
}

void feature_cache_expect(const FeatureCache *cache, int64_t index) {
    const CachedImage cached = image_at(cache, index);
    if (cached.block->file)
        feature_ahead_expect(cache->ahead, cached.image, cached.block->file, cached.place);
}

/// Brings one image's features to place `i` of the tensors.
static void put_features(const FeatureCache *cache, int i, const char *clip, const char *moments,
                         FrozenFeatures *features) {
    Device *device = cache->model->device;
    device->from_host(device, (char *)features->clip->data + (size_t)i * cache->clip_bytes, clip,
                      cache->clip_bytes);
    if (features->moments)
        device->from_host(device,
                          (char *)features->moments->data + (size_t)i * cache->moments_bytes,
                          moments, cache->moments_bytes);
}

static bool bring(const FeatureCache *cache, int64_t index, int i, FrozenFeatures *features,
                  Error *error) {
    const CachedImage cached = image_at(cache, index);
    const FeatureBlock *block = cached.block;
    const size_t place = (size_t)cached.place;
    if (!block->file) {
        put_features(cache, i, block->clip + place * cache->clip_bytes,
                     block->moments ? block->moments + place * cache->moments_bytes : NULL,
                     features);
        return true;
    }
    char *bytes = feature_ahead_take(cache->ahead, cached.image, block->file, cached.place, error);
    if (!bytes) return false;
    put_features(cache, i, bytes, bytes + cache->clip_bytes, features);
    free(bytes);
    return true;
}

bool feature_cache_batch(const FeatureCache *cache, const int64_t *indices, int count,
                         FrozenFeatures *features, Error *error) {
    Device *device = cache->model->device;
    const FeatureShape *shape = &cache->shape;
    bool ok = true;
    *features = (FrozenFeatures){
        tensor_new(device, shape->dtype, SHAPE(count, shape->tokens, shape->width)), NULL};
    if (shape->channels)
        features->moments =
            tensor_new(device, FLOAT32, SHAPE(count, shape->side, shape->side, shape->channels));
    for (int i = 0; ok && i < count; i++) ok = bring(cache, indices[i], i, features, error);
    return ok;
}
