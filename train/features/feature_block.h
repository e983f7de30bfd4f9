/// What the frozen encoders make of a block of images, in host memory.
#pragma once
#include "models/difflmm.h"

/// Images that are computed together.
enum { FEATURE_BLOCK = 32 };

/// Of one image.
typedef struct FeatureShape {
    /// CLIP's feature: [tokens,width] of that type
    DType dtype;
    int64_t tokens, width;
    /// the latents' moments: FLOAT32 [side,side,channels]; 0 with LLaVA, which has none
    int64_t side, channels;
} FeatureShape;

FeatureShape feature_shape(const DiffLMM *model);
size_t feature_clip_bytes(const FeatureShape *shape);
size_t feature_moments_bytes(const FeatureShape *shape);

typedef struct FeatureBlock {
    /// Of its images, one behind the other: their bytes of FrozenFeatures.clip, and .moments (NULL
    /// with LLaVA); owned.
    char *clip, *moments;
    /// Bit i: image i could be read.
    uint32_t readable;
} FeatureBlock;

/// Frees what it holds, and leaves it empty.
void feature_block_free(FeatureBlock *block);
