/// Filling data.feature_folder ahead of a training, which then computes none of its features.
#pragma once
#include "train/config/config.h"
#include "train/group/process_group.h"

/// Computes the features of every image of these files as training would, and keeps those that the
/// folder does not have. Nothing is done where the configuration names none. Unlike in training,
/// what cannot be kept is a failure. Every rank calls it and fails alike.
bool prepare_features(const Config *config, const DatasetFiles *train, const DatasetFiles *eval,
                      ProcessGroup *group, Error *error);
