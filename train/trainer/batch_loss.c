#include "train/trainer/batch_loss.h"

#include <stdlib.h>

/// A pass's number is a step, below 2^31, and a sample's place in its file; the highest bit is left
/// to what is asked outside of training (eval/attention/answers.c).
enum { POSITION_BITS = 32 };

static bool has_image(const FeatureCache *cache, const LoadedSample *sample) {
    return sample->tokens.image_position >= 0 &&
           (!cache || feature_cache_has(cache, sample->index));
}

/// A sample whose image could not be read is left out, as the loader does when it reads images
/// itself.
static bool is_usable(const FeatureCache *cache, const LoadedSample *sample) {
    return sample->tokens.image_position < 0 || has_image(cache, sample);
}

bool batch_loss(const DiffLMM *model, const FeatureCache *cache, const MicroBatch *batch,
                int64_t step, bool train, DiffLMMLoss *loss, Error *error) {
    TokenSample *samples = checked_calloc((size_t)batch->count + 1, sizeof *samples);
    uint64_t *passes = checked_calloc((size_t)batch->count + 1, sizeof *passes);
    int64_t *indices = checked_calloc((size_t)batch->count + 1, sizeof *indices);
    int num_images = 0, num_samples = 0;
    for (int i = 0; i < batch->count; i++) {
        const LoadedSample *loaded = &batch->samples[i];
        if (!is_usable(cache, loaded)) continue;
        TokenSample *sample = &samples[num_samples++];
        *sample = (TokenSample){loaded->tokens.ids, loaded->tokens.supervised, loaded->tokens.count,
                                -1, (int32_t)loaded->position_in_file};
        if (!has_image(cache, loaded)) continue;
        sample->image = num_images;
        indices[num_images] = loaded->index;
        passes[num_images++] = (uint64_t)step << POSITION_BITS | (uint64_t)loaded->position_in_file;
    }
    int64_t side = model->options.image_size;
    FrozenFeatures features = {0};
    const bool ok =
        !num_images || !cache || feature_cache_batch(cache, indices, num_images, &features, error);
    if (num_images && !cache)
        features = difflmm_frozen_features(
            model,
            tensor_from_transfer_buffer(&batch->pixels, FLOAT32, SHAPE(num_images, side, side, 3)));
    DiffusionNoise noise = {.passes = passes};
    DiffLMMBatch whole = {.samples = samples,
                          .num_samples = num_samples,
                          .features = num_images ? &features : NULL,
                          .noise = num_images ? &noise : NULL,
                          .train = train,
                          .pass = (uint64_t)step};
    *loss = ok ? difflmm_loss(model, &whole, NULL) : (DiffLMMLoss){0};
    free(samples);
    free(passes);
    free(indices);
    return ok;
}
