/// What the frozen encoders make of a block of images, in host memory or in a file.
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

typedef struct FeatureFile FeatureFile;

typedef struct FeatureBlock {
    /// Of its images, one behind the other: their bytes of FrozenFeatures.clip, and .moments (NULL
    /// with LLaVA); owned. NULL where they are in `file`.
    char *clip, *moments;
    /// train/features/feature_file.h; owned
    FeatureFile *file;
    /// Bit i: image i could be read.
    uint32_t readable;
} FeatureBlock;

/// Makes room in memory for `count` images.
void feature_block_allocate(FeatureBlock *block, const FeatureShape *shape, int count);
/// Frees what it holds in memory; the rest stays.
void feature_block_free_memory(FeatureBlock *block);
/// Frees what it holds, and leaves it empty.
void feature_block_free(FeatureBlock *block);
