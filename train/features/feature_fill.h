/// Filling feature caches as the configuration says: for training, and ahead of it.
#pragma once
#include "train/config/config.h"
#include "train/features/feature_cache.h"

typedef struct FeatureFilling {
    const Config *config;
    /// its frozen encoders are enough
    const DiffLMM *model;
    ProcessGroup *group;
    /// NULL: none
    FeatureFolder *folder;
} FeatureFilling;

/// Features of the first `limit` samples (-1: all) of the data set; the first rank shows progress
/// and says how many were read from the folder. Every rank calls it and fails alike; *stopping as
/// feature_cache_new() has it.
FeatureCache *feature_fill(const FeatureFilling *filling, const Dataset *dataset, int64_t limit,
                           bool *stopping, Error *error);
