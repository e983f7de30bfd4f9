#include "train/trainer/feature_block.h"

#include <stdlib.h>

FeatureShape feature_shape(const DiffLMM *model) {
    FeatureShape shape = {.dtype = model->options.dtype,
                          .tokens = model->num_visual_tokens,
                          .width = model->clip->encoder.hidden_size};
    if (model->vae) {
        shape.side = model->latent_size;
        shape.channels = 2 * model->vae->latent_channels;
    }
    return shape;
}

size_t feature_clip_bytes(const FeatureShape *shape) {
    return dtype_size(shape->dtype) * (size_t)(shape->tokens * shape->width);
}

size_t feature_moments_bytes(const FeatureShape *shape) {
    return sizeof(float) * (size_t)(shape->side * shape->side * shape->channels);
}

void feature_block_free(FeatureBlock *block) {
    free(block->clip);
    free(block->moments);
    *block = (FeatureBlock){0};
}
