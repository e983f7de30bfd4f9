/// What the frozen encoders make of each image of a data set, computed once: CLIP features and
/// latent moments depend on nothing that is trained and on no random number. Kept in host memory;
/// with a folder on disk, for other runs as well (train/features/feature_folder.h), whence single
/// images are read when they are needed, so that memory does not grow with the data set.
///
/// Everything is computed in the data set's order in batches of a fixed size, before training
/// starts, so that a resumed run, on any number of processes, sees the same bits.
#pragma once
#include "data/images/preprocess.h"
#include "data/llava_dataset.h"
#include "models/difflmm.h"
#include "train/features/feature_folder.h"
#include "train/group/process_group.h"
#include "train/log/progress.h"

typedef struct FeatureCache FeatureCache;

typedef struct FeatureCacheOptions {
    const DiffLMM *model;
    const Dataset *dataset;
    ImageAspect image_aspect;
    ImageNormalization image_normalization;
    /// samples from the first on; -1: all
    int64_t limit;
    /// what an image that cannot be read means: fail, or remember that it has no features
    MissingImage damaged_image;
    /// whose ranks compute a share each and hand it to the others; all call feature_cache_new()
    ProcessGroup *group;
    /// where blocks that are there are read instead of computed, to the same bits, and others
    /// added; NULL: none
    FeatureFolder *folder;
} FeatureCacheOptions;

/// Computes the features of every image of the data set (an image that several samples share once).
/// NULL on failure, or where some rank was asked to stop; then *stopping, as ranks_go_on() says it.
///
/// An image is read by the one rank whose share it is in, and what that rank makes of it holds for
/// all: one that it cannot read is left out everywhere, and a copy of another rank that is damaged
/// does not matter. Neither changes what is made of any other image.
FeatureCache *feature_cache_new(const FeatureCacheOptions *options, bool *stopping,
                                FILE *progress_out, Error *error);
void feature_cache_free(FeatureCache *cache);

/// How many images there are, and of how many all ranks found the features in the folder.
int64_t feature_cache_count(const FeatureCache *cache);
int64_t feature_cache_count_found(const FeatureCache *cache);

/// Whether sample `index` of the data set has features; false for text and for images that could
/// not be read.
bool feature_cache_has(const FeatureCache *cache, int64_t index);
/// A batch with the sample, which has features, is made ready: they are read now if they are on
/// disk, once for each time that they will be asked for. Any thread may call it.
void feature_cache_expect(const FeatureCache *cache, int64_t index);
/// The features of these samples, in their order, as tensors of the innermost scope. All must have
/// some. Fails where the disk, or whoever has removed its files, does not give them back. One
/// thread may call it.
bool feature_cache_batch(const FeatureCache *cache, const int64_t *indices, int count,
                         FrozenFeatures *features, Error *error);
