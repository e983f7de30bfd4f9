#include "train/features/feature_share.h"

#include "autograd/stop_request.h"
#include "autograd/text/utf8.h"
#include "data/sample_image.h"

#include <stdlib.h>

/// Reads the image of a sample, number `place` of the block, or notes that it cannot be read. False
/// if that, or something else, ends the run.
static bool take_image(FeatureShare *share, int64_t index, int place, FeatureBlock *block,
                       float *out, Error *error) {
    const FeatureCacheOptions *options = share->options;
    Sample sample;
    if (stop_requested()) return stop_request_error(error);
    if (!dataset_sample(options->dataset, index, &sample, error)) return false;
    char where[1024];
    dataset_describe(options->dataset, index, sample.id, where, sizeof where);
    const ImageView view = {options->image_aspect, options->image_normalization,
                            options->model->options.image_size};
    bool readable = sample_image_to_float(&sample, &view, out, NULL, error);
    sample_free(&sample);
    process_group_progress(options->group);
    if (readable) {
        block->readable |= 1u << place;
        return true;
    }
    error_context(error, "%s", where);
    if (options->damaged_image == MISSING_IMAGE_FAIL) return false;
    if (!share->num_damaged++)
        snprintf(share->first_damage, sizeof share->first_damage, "%s", error->message);
    return true;
}

static size_t floats_of_image(const FeatureShare *share) {
    size_t side = (size_t)share->options->model->options.image_size;
    return 3 * side * side;
}

// ---- computing

static char *copy_to_host(const Tensor *x, size_t bytes) {
    CHECK(bytes == dtype_size(x->dtype) * (size_t)tensor_numel(x), "features of another shape");
    char *copy = checked_malloc(bytes);
    x->device->to_host(x->device, copy, x->data, bytes);
    return copy;
}

/// images: [count,S,S,3].
static void encode(const DiffLMM *model, const float *images, int count, FeatureBlock *block) {
    const FeatureShape shape = feature_shape(model);
    int64_t side = model->options.image_size;
    scope_begin();
    FrozenFeatures features = difflmm_frozen_features(
        model, tensor_from_host(model->device, FLOAT32, SHAPE(count, side, side, 3), images));
    block->clip = copy_to_host(features.clip, (size_t)count * feature_clip_bytes(&shape));
    if (features.moments)
        block->moments =
            copy_to_host(features.moments, (size_t)count * feature_moments_bytes(&shape));
    scope_end();
}

static bool compute(FeatureShare *share, const int64_t *samples, int count, FeatureBlock *block,
                    Error *error) {
    size_t floats = floats_of_image(share);
    float *images = checked_calloc((size_t)count * floats, sizeof *images);
    bool ok = true;
    for (int i = 0; ok && i < count; i++)
        ok = take_image(share, samples[i], i, block, images + (size_t)i * floats, error);
    if (ok) encode(share->options->model, images, count, block);
    free(images);
    return ok;
}

// ---- the folder

/// NULL on failure; the caller frees it.
static char *key_of(const FeatureShare *share, const int64_t *samples, int count, Error *error) {
    PictureContent pictures[FEATURE_BLOCK];
    for (int i = 0; i < count; i++) {
        Sample sample;
        bool ok = stop_requested()
                      ? stop_request_error(error)
                      : dataset_sample(share->options->dataset, samples[i], &sample, error);
        if (!ok) return NULL;
        pictures[i] = feature_folder_picture(&sample);
        sample_free(&sample);
        process_group_progress(share->options->group);
    }
    return feature_folder_key(share->options->folder, pictures, count);
}

/// Tries the images again that could not be read when the block was made. *as_then: they still
/// cannot be. False if one of them ends the run.
static bool retry_unreadable(FeatureShare *share, const int64_t *samples, int count,
                             FeatureBlock *block, bool *as_then, Error *error) {
    const FeatureShare before = *share;
    const uint32_t readable = block->readable;
    float *image = checked_malloc(floats_of_image(share) * sizeof *image);
    bool ok = true;
    for (int i = 0; ok && i < count; i++)
        if (!(readable >> i & 1)) ok = take_image(share, samples[i], i, block, image, error);
    free(image);
    *as_then = ok && block->readable == readable;
    if (ok && !*as_then) *share = before;
    return ok;
}

bool feature_share_make(FeatureShare *share, const int64_t *samples, int count, FeatureBlock *block,
                        char **key, Error *error) {
    FeatureFolder *folder = share->options->folder;
    *key = NULL;
    if (!folder) return compute(share, samples, count, block, error);
    *key = key_of(share, samples, count, error);
    bool ok = *key != NULL, is_found = false;
    if (ok && feature_folder_find(folder, *key, count, false, block)) {
        ok = retry_unreadable(share, samples, count, block, &is_found, error);
        if (is_found)
            share->num_found += count;
        else
            feature_block_free(block);
    }
    return ok && (is_found || (compute(share, samples, count, block, error) &&
                               feature_folder_keep(folder, *key, count, block, error)));
}

void feature_share_report(const FeatureShare *share) {
    const FeatureCacheOptions *options = share->options;
    char rank[32] = "";
    if (process_count(options->group) > 1)
        snprintf(rank, sizeof rank, "rank %d: ", process_rank(options->group));
    if (share->num_damaged)
        utf8_print(stderr,
                   "warning: %s%d image(s) cannot be read and are left out with their samples; the "
                   "first: %s\n",
                   rank, share->num_damaged, share->first_damage);
    if (options->folder) feature_folder_warn(options->folder);
}
