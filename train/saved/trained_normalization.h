/// How pictures were normalised (data.image_normalization) when stored weights were trained:
/// adapters see right only what they saw then. Paths are those of train/saved/trained_weights.h,
/// but of a folder of checkpoints, the checkpoint itself.
#pragma once
#include "train/config/config.h"

typedef struct TrainedNormalization {
    bool is_known;
    ImageNormalization value;
} TrainedNormalization;

/// Finds it in a training checkpoint's configuration, or as "image_normalization" in config.json
/// beside published adapters, where `difflmm export` writes it. It is not known of adapters that
/// others published, nor of a checkpoint whose configuration this program cannot read.
bool trained_normalization_read(const char *path, TrainedNormalization *trained, Error *error);

/// Refuses a configuration that has another one. Where it is not known and the configuration leaves
/// the key at its default, a line on `warnings` (NULL: none) says what to set. Nothing to do for
/// LLaVA, which has but one.
bool trained_normalization_check(const Config *config, const char *path, FILE *warnings,
                                 Error *error);
