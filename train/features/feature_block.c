#include "train/features/feature_block.h"

#include "train/features/feature_file.h"

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

void feature_block_allocate(FeatureBlock *block, const FeatureShape *shape, int count) {
    const size_t moments = feature_moments_bytes(shape);
    block->clip = checked_malloc((size_t)count * feature_clip_bytes(shape));
    block->moments = moments ? checked_malloc((size_t)count * moments) : NULL;
}

void feature_block_free_memory(FeatureBlock *block) {
    free(block->clip);
    free(block->moments);
    block->clip = block->moments = NULL;
}

void feature_block_free(FeatureBlock *block) {
    feature_block_free_memory(block);
    feature_file_free(block->file);
    *block = (FeatureBlock){0};
}
