/// From a loaded micro-batch to its loss: features computed or taken from the cache, noise keyed by
/// step and sample.
#pragma once
#include "data/loader/loader.h"
#include "train/features/feature_cache.h"
#include "train/trainer/schedule.h"

/// Keys of noise for passes that are not training steps; steps count from 0 up and never reach it.
#define EVALUATION_STEP SCHEDULE_MOST_STEPS

/// The loss of a micro-batch. `step` and each sample's number in the data set's file decide the
/// noise, so how a global batch is cut into micro-batches changes nothing. cache NULL: images are
/// encoded here. `train`: dropout happens. Fails where the cache's features cannot be read.
bool batch_loss(const DiffLMM *model, const FeatureCache *cache, const MicroBatch *batch,
                int64_t step, bool train, DiffLMMLoss *loss, Error *error);
