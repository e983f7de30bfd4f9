// Images are numbered in the order of their first samples, whether they can be read or not, which
// all ranks do alike. 32 of them are a block, computed together; blocks are dealt out to the ranks
// in turn. After each round of blocks, one for each rank, the ranks make sure that all is well, and
// hand out what they have made, with a bit for each image that could be read. One that could not
// was computed as grey, so that its block has its size.
#include "train/trainer/feature_cache.h"

#include "autograd/stop_request.h"
#include "autograd/text/utf8.h"
#include "data/sample_image.h"
#include "train/group/going_on.h"

#include <search.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK = 32 };

typedef struct Block {
    /// Of its images, one behind the other: their bytes of FrozenFeatures.clip, and .moments (NULL
    /// with LLaVA).
    char *clip, *moments;
    /// Bit i: image i could be read.
    uint32_t readable;
} Block;

/// What a rank cannot read of its share.
typedef struct Damage {
    int count;
    char first[1024];
} Damage;

struct FeatureCache {
    const DiffLMM *model;
    ProcessGroup *group;
    /// Per sample: the number of its image; -1: none.
    int32_t *image_of;
    int64_t num_samples;
    /// Per image, while the cache is filled: a sample that has it.
    int64_t *samples;
    int32_t num_images;
    Block *blocks;
    int32_t num_blocks;
    /// Of one image; the first dimension is 1.
    int clip_rank, moments_rank;
    int64_t clip_shape[MAX_RANK], moments_shape[MAX_RANK];
    size_t clip_bytes, moments_bytes;
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
    cache->num_blocks = (cache->num_images + BLOCK - 1) / BLOCK;
    cache->blocks = checked_calloc((size_t)cache->num_blocks + 1, sizeof *cache->blocks);
    return ok;
}

// ---- this rank's share

static int images_in(const FeatureCache *cache, int32_t block) {
    int32_t left = cache->num_images - block * BLOCK;
    return left < BLOCK ? left : BLOCK;
}

/// Reads an image, or notes that it cannot be read. False if that, or something else, ends the run.
static bool take_image(FeatureCache *cache, const FeatureCacheOptions *options, int32_t image,
                       float *out, Damage *damage, Error *error) {
    Sample sample;
    int64_t index = cache->samples[image];
    if (stop_requested()) return stop_request_error(error);
    if (!dataset_sample(options->dataset, index, &sample, error)) return false;
    char where[1024];
    dataset_describe(options->dataset, index, sample.id, where, sizeof where);
    const ImageView view = {options->image_aspect, options->image_normalization,
                            options->model->options.image_size};
    bool readable = sample_image_to_float(&sample, &view, out, NULL, error);
    sample_free(&sample);
    if (readable) {
        cache->blocks[image / BLOCK].readable |= 1u << image % BLOCK;
        return true;
    }
    error_context(error, "%s", where);
    if (options->damaged_image == MISSING_IMAGE_FAIL) return false;
    if (!damage->count++) snprintf(damage->first, sizeof damage->first, "%s", error->message);
    return true;
}

static void note_shape(const Tensor *x, int *rank, int64_t *shape, size_t *bytes) {
    *rank = x->rank;
    memcpy(shape, x->shape, sizeof x->shape);
    shape[0] = 1;
    *bytes = dtype_size(x->dtype) * (size_t)(tensor_numel(x) / x->shape[0]);
}

static char *copy_to_host(const Tensor *x) {
    size_t bytes = dtype_size(x->dtype) * (size_t)tensor_numel(x);
    char *copy = checked_malloc(bytes);
    x->device->to_host(x->device, copy, x->data, bytes);
    return copy;
}

/// images: [count,S,S,3].
static void compute(FeatureCache *cache, Block *block, int count, const float *images) {
    const DiffLMM *model = cache->model;
    int64_t side = model->options.image_size;
    scope_begin();
    FrozenFeatures features = difflmm_frozen_features(
        model, tensor_from_host(model->device, FLOAT32, SHAPE(count, side, side, 3), images));
    note_shape(features.clip, &cache->clip_rank, cache->clip_shape, &cache->clip_bytes);
    block->clip = copy_to_host(features.clip);
    if (features.moments) {
        note_shape(features.moments, &cache->moments_rank, cache->moments_shape,
                   &cache->moments_bytes);
        block->moments = copy_to_host(features.moments);
    }
    scope_end();
}

static bool make_block(FeatureCache *cache, const FeatureCacheOptions *options, int32_t index,
                       Damage *damage, Error *error) {
    int64_t side = cache->model->options.image_size, floats = 3 * side * side;
    float *images = checked_calloc((size_t)(BLOCK * floats), sizeof *images);
    bool ok = true;
    int count = images_in(cache, index);
    for (int i = 0; ok && i < count; i++) {
        ok = take_image(cache, options, index * BLOCK + i, images + i * floats, damage, error);
        process_group_progress(cache->group);
    }
    if (ok) compute(cache, &cache->blocks[index], count, images);
    free(images);
    return ok;
}

// ---- handing it out

/// Rank 0, which computes the first block, knows the shapes.
static bool share_shapes(FeatureCache *cache, Error *error) {
    struct {
        int clip_rank, moments_rank;
        int64_t clip_shape[MAX_RANK], moments_shape[MAX_RANK];
        size_t clip_bytes, moments_bytes;
    } shapes = {.clip_rank = cache->clip_rank,
                .moments_rank = cache->moments_rank,
                .clip_bytes = cache->clip_bytes,
                .moments_bytes = cache->moments_bytes};
    memcpy(shapes.clip_shape, cache->clip_shape, sizeof shapes.clip_shape);
    memcpy(shapes.moments_shape, cache->moments_shape, sizeof shapes.moments_shape);
    if (!process_group_broadcast(cache->group, 0, &shapes, sizeof shapes, error)) return false;
    cache->clip_rank = shapes.clip_rank, cache->moments_rank = shapes.moments_rank;
    cache->clip_bytes = shapes.clip_bytes, cache->moments_bytes = shapes.moments_bytes;
    memcpy(cache->clip_shape, shapes.clip_shape, sizeof shapes.clip_shape);
    memcpy(cache->moments_shape, shapes.moments_shape, sizeof shapes.moments_shape);
    return true;
}

static bool share_block(FeatureCache *cache, int32_t index, int owner, Error *error) {
    Block *block = &cache->blocks[index];
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
    bool ok = first > 0 || share_shapes(cache, error);
    for (int r = 0; ok && r < process_count(cache->group) && first + r < cache->num_blocks; r++)
        ok = share_block(cache, first + r, r, error);
    return ok;
}

// ---- the whole

static bool fill(FeatureCache *cache, const FeatureCacheOptions *options, bool *stopping,
                 Progress *progress, Damage *damage, Error *error) {
    int ranks = process_count(cache->group);
    for (int32_t first = 0; first < cache->num_blocks; first += ranks) {
        int32_t own = first + process_rank(cache->group), end = (first + ranks) * BLOCK;
        bool ok = own >= cache->num_blocks || make_block(cache, options, own, damage, error);
        if (!ranks_go_on(cache->group, ok, stopping, error) || !share_round(cache, first, error))
            return false;
        progress_update(progress, end < cache->num_images ? end : cache->num_images,
                        "CLIP features and latent moments");
    }
    return true;
}

static void report(const FeatureCache *cache, const Damage *damage) {
    char rank[32] = "";
    if (process_count(cache->group) > 1)
        snprintf(rank, sizeof rank, "rank %d: ", process_rank(cache->group));
    if (damage->count)
        utf8_print(stderr,
                   "warning: %s%d image(s) cannot be read and are left out with their samples; the "
                   "first: %s\n",
                   rank, damage->count, damage->first);
}

FeatureCache *feature_cache_new(const FeatureCacheOptions *options, bool *stopping,
                                FILE *progress_out, Error *error) {
    FeatureCache *cache = checked_calloc(1, sizeof *cache);
    int64_t all = dataset_count(options->dataset);
    cache->model = options->model;
    cache->group = options->group;
    cache->num_samples = options->limit >= 0 && options->limit < all ? options->limit : all;
    cache->image_of = checked_malloc((size_t)(cache->num_samples + 1) * sizeof *cache->image_of);
    cache->samples = checked_malloc((size_t)(cache->num_samples + 1) * sizeof *cache->samples);
    Damage damage = {0};
    bool ok =
        ranks_go_on(cache->group, number_images(cache, options->dataset, error), stopping, error);
    if (ok) {
        Progress *progress =
            progress_begin(progress_out, "features", 0, cache->num_images, cache->num_images);
        ok = fill(cache, options, stopping, progress, &damage, error);
        progress_end(progress);
    }
    free(cache->samples);
    cache->samples = NULL;
    report(cache, &damage);
    if (ok) return cache;
    feature_cache_free(cache);
    return NULL;
}

void feature_cache_free(FeatureCache *cache) {
    if (!cache) return;
    for (int32_t i = 0; i < cache->num_blocks; i++) {
        free(cache->blocks[i].clip);
        free(cache->blocks[i].moments);
    }
    free(cache->blocks);
    free(cache->image_of);
    free(cache);
}

bool feature_cache_has(const FeatureCache *cache, int64_t index) {
    int32_t image = index < cache->num_samples ? cache->image_of[index] : -1;
    return image >= 0 && (cache->blocks[image / BLOCK].readable >> image % BLOCK & 1);
}

FrozenFeatures feature_cache_batch(const FeatureCache *cache, const int64_t *indices, int count) {
    const DiffLMM *model = cache->model;
    int64_t clip_shape[MAX_RANK], moments_shape[MAX_RANK];
    memcpy(clip_shape, cache->clip_shape, sizeof clip_shape);
    memcpy(moments_shape, cache->moments_shape, sizeof moments_shape);
    clip_shape[0] = moments_shape[0] = count;
    FrozenFeatures features = {
        tensor_new(model->device, model->options.dtype, cache->clip_rank, clip_shape), NULL};
    if (cache->moments_bytes)
        features.moments = tensor_new(model->device, FLOAT32, cache->moments_rank, moments_shape);
    for (int i = 0; i < count; i++) {
        CHECK(feature_cache_has(cache, indices[i]), "sample %lld has no features",
              (long long)indices[i]);
        int32_t image = cache->image_of[indices[i]];
        const Block *block = &cache->blocks[image / BLOCK];
        size_t place = (size_t)(image % BLOCK);
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
