/// What a rank makes of its share of the blocks of a feature cache.
#pragma once
#include "train/features/feature_cache.h"

typedef struct FeatureShare {
    const FeatureCacheOptions *options;
    /// images that cannot be read, and why the first of them
    int num_damaged;
    char first_damage[1024];
    /// images whose block was in the folder
    int64_t num_found;
} FeatureShare;

/// Fills an empty block with the features of the images of `count` samples, in their order: from
/// the folder if it is there, else computed, and then added to the folder. An image that cannot be
/// read is computed as grey, so that its block has its size; if its block comes from the folder it
/// is tried again, so that it is counted, or ends the run, as ever. *key: the block's in the
/// folder, to be freed by the caller; NULL without one.
bool feature_share_make(FeatureShare *share, const int64_t *samples, int count, FeatureBlock *block,
                        char **key, Error *error);
/// Warns of what could not be read.
void feature_share_report(const FeatureShare *share);
