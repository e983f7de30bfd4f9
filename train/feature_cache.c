#include "train/feature_cache.h"

#include <search.h>
#include <stdlib.h>
#include <string.h>

enum { BATCH = 32 };

typedef struct Entry {
    void *clip;     ///< one image's bytes of FrozenFeatures.clip; NULL until computed
    float *moments; ///< likewise; NULL with LLaVA
} Entry;

struct FeatureCache {
    const DiffLMM *model;
    ProcessGroup *group;
    int32_t *entry_of; ///< per sample: index into entries, -1: none
    int64_t num_samples;
    Entry *entries;
    int32_t num_entries, capacity;
    int clip_rank, moments_rank;
    int64_t clip_shape[MAX_RANK], moments_shape[MAX_RANK]; ///< of one image; [0] is 1
    size_t clip_bytes, moments_bytes;
};

/// A batch in the making.
typedef struct Pending {
    float *images; ///< [BATCH,S,S,3]
    int32_t entries[BATCH];
    int count;
} Pending;

static int64_t image_floats(const DiffLMM *model) {
    return 3ll * model->options.image_size * model->options.image_size;
}

static void note_shape(const Tensor *x, int *rank, int64_t *shape, size_t *bytes) {
    *rank = x->rank;
    memcpy(shape, x->shape, sizeof x->shape);
    shape[0] = 1;
    *bytes = dtype_size(x->dtype) * (size_t)(tensor_numel(x) / x->shape[0]);
}

static void *copy_part(const Tensor *x, int index, size_t bytes) {
    void *copy = checked_malloc(bytes);
    x->device->to_host(x->device, copy, (const char *)x->data + (size_t)index * bytes, bytes);
    return copy;
}

/// Whole batches are dealt out to the ranks.
static int owner_of(const FeatureCache *cache, int32_t entry) {
    return entry / BATCH % process_count(cache->group);
}

static void compute(FeatureCache *cache, Pending *pending) {
    if (!pending->count) return;
    if (owner_of(cache, pending->entries[0]) != process_rank(cache->group)) {
        pending->count = 0;
        return;
    }
    const DiffLMM *model = cache->model;
    int64_t side = model->options.image_size;
    scope_begin();
    FrozenFeatures features = difflmm_frozen_features(
        model, tensor_from_host(model->device, FLOAT32, SHAPE(pending->count, side, side, 3),
                                pending->images));
    note_shape(features.clip, &cache->clip_rank, cache->clip_shape, &cache->clip_bytes);
    if (features.moments)
        note_shape(features.moments, &cache->moments_rank, cache->moments_shape,
                   &cache->moments_bytes);
    for (int i = 0; i < pending->count; i++) {
        Entry *entry = &cache->entries[pending->entries[i]];
        entry->clip = copy_part(features.clip, i, cache->clip_bytes);
        if (features.moments) entry->moments = copy_part(features.moments, i, cache->moments_bytes);
    }
    scope_end();
    pending->count = 0;
}

static int32_t add_entry(FeatureCache *cache) {
    if (cache->num_entries == cache->capacity) {
        cache->capacity = cache->capacity ? 2 * cache->capacity : 1024;
        cache->entries =
            checked_realloc(cache->entries, (size_t)cache->capacity * sizeof *cache->entries);
    }
    cache->entries[cache->num_entries] = (Entry){0};
    return cache->num_entries++;
}

static bool read_square(const FeatureCacheOptions *options, const char *path, float *out,
                        Error *error) {
    Image image, square;
    ImageGeometry geometry;
    if (!image_read(path, &image, error)) return false;
    bool ok = image_preprocess(&image, options->image_aspect, options->model->options.image_size,
                               &square, &geometry, error);
    image_free(&image);
    if (!ok) return error_context(error, "%s", path);
    image_to_float(&square, out);
    image_free(&square);
    return true;
}

/// Images by path, so that one that several samples share is computed once.
typedef struct Known {
    char *path;
    int32_t entry; ///< -1: it could not be read
} Known;

static int compare_paths(const void *a, const void *b) {
    return strcmp(((const Known *)a)->path, ((const Known *)b)->path);
}

static void free_known(void *known) {
    free(((Known *)known)->path);
    free(known);
}

/// The entry of an image, computed soon if it is new.
static bool entry_of_path(FeatureCache *cache, const FeatureCacheOptions *options,
                          void **known_paths, const char *path, Pending *pending, int32_t *entry,
                          Error *error) {
    Known key = {(char *)path, -1}, **found = tfind(&key, known_paths, compare_paths);
    if (found) {
        *entry = (*found)->entry;
        return true;
    }
    bool readable = read_square(
        options, path, pending->images + pending->count * image_floats(cache->model), error);
    if (!readable && options->damaged_image == MISSING_IMAGE_FAIL) return false;
    *entry = readable ? add_entry(cache) : -1;
    Known *known = checked_malloc(sizeof *known);
    *known = (Known){checked_strdup(path), *entry};
    tsearch(known, known_paths, compare_paths);
    if (readable) pending->entries[pending->count++] = *entry;
    if (pending->count == BATCH) compute(cache, pending);
    return true;
}

static bool fill(FeatureCache *cache, const FeatureCacheOptions *options, Progress *progress,
                 Error *error) {
    Pending pending = {
        .images = checked_malloc((size_t)(BATCH * image_floats(cache->model)) * sizeof(float))};
    void *known_paths = NULL;
    bool ok = true;
    for (int64_t i = 0; ok && i < cache->num_samples; i++) {
        Sample sample;
        char where[1024];
        ok = dataset_sample(options->dataset, i, &sample, error);
        if (!ok) break;
        cache->entry_of[i] = -1;
        if (sample.image_path)
            ok = entry_of_path(cache, options, &known_paths, sample.image_path, &pending,
                               &cache->entry_of[i], error);
        if (!ok)
            error_context(error, "%s",
                          dataset_describe(options->dataset, i, sample.id, where, sizeof where));
        sample_free(&sample);
        progress_update(progress, i + 1, "CLIP features and latent moments of %d images",
                        cache->num_entries);
        process_group_progress(cache->group);
    }
    if (ok) compute(cache, &pending);
    tdestroy(known_paths, free_known);
    free(pending.images);
    return ok;
}

/// Hands every entry from the rank that computed it to the others. Rank 0, which computed the first, knows the shapes.
static bool share(FeatureCache *cache, Error *error) {
    if (process_count(cache->group) == 1 || cache->num_entries == 0) return true;
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
    bool ok = process_group_broadcast(cache->group, 0, &shapes, sizeof shapes, error);
    cache->clip_rank = shapes.clip_rank, cache->moments_rank = shapes.moments_rank;
    cache->clip_bytes = shapes.clip_bytes, cache->moments_bytes = shapes.moments_bytes;
    memcpy(cache->clip_shape, shapes.clip_shape, sizeof shapes.clip_shape);
    memcpy(cache->moments_shape, shapes.moments_shape, sizeof shapes.moments_shape);
    for (int32_t i = 0; ok && i < cache->num_entries; i++) {
        Entry *entry = &cache->entries[i];
        int owner = owner_of(cache, i);
        if (owner != process_rank(cache->group)) {
            entry->clip = checked_malloc(cache->clip_bytes);
            if (cache->moments_bytes) entry->moments = checked_malloc(cache->moments_bytes);
        }
        ok = process_group_broadcast(cache->group, owner, entry->clip, cache->clip_bytes, error) &&
             (!entry->moments || process_group_broadcast(cache->group, owner, entry->moments,
                                                         cache->moments_bytes, error));
    }
    return ok;
}

FeatureCache *feature_cache_new(const FeatureCacheOptions *options, FILE *progress_out,
                                Error *error) {
    FeatureCache *cache = checked_calloc(1, sizeof *cache);
    int64_t all = dataset_count(options->dataset);
    cache->model = options->model;
    cache->group = options->group;
    cache->num_samples = options->limit >= 0 && options->limit < all ? options->limit : all;
    cache->entry_of = checked_malloc((size_t)(cache->num_samples + 1) * sizeof *cache->entry_of);
    Progress *progress =
        progress_begin(progress_out, "features", 0, cache->num_samples, cache->num_samples);
    bool ok = fill(cache, options, progress, error);
    progress_end(progress);
    ok = process_group_agree(cache->group, ok, error) && share(cache, error);
    if (ok) return cache;
    feature_cache_free(cache);
    return NULL;
}

void feature_cache_free(FeatureCache *cache) {
    if (!cache) return;
    for (int32_t i = 0; i < cache->num_entries; i++) {
        free(cache->entries[i].clip);
        free(cache->entries[i].moments);
    }
    free(cache->entries);
    free(cache->entry_of);
    free(cache);
}

bool feature_cache_has(const FeatureCache *cache, int64_t index) {
    return index < cache->num_samples && cache->entry_of[index] >= 0;
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
        const Entry *entry = &cache->entries[cache->entry_of[indices[i]]];
        Device *device = model->device;
        device->from_host(device, (char *)features.clip->data + (size_t)i * cache->clip_bytes,
                          entry->clip, cache->clip_bytes);
        if (features.moments)
            device->from_host(device,
                              (char *)features.moments->data + (size_t)i * cache->moments_bytes,
                              entry->moments, cache->moments_bytes);
    }
    return features;
}

int64_t feature_cache_bytes(const FeatureCache *cache) {
    return cache->num_entries * (int64_t)(cache->clip_bytes + cache->moments_bytes);
}
