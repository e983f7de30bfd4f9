/// What changed in the configuration since a checkpoint was written, and whether the run is still the same run.
#pragma once
#include "train/config.h"

/// Compares the configuration, key by key, with the one that the checkpoint was written with (config_to_yaml() of it). Every difference
/// is a line on `out` (NULL: none). Fails if a key changed that decides what is learned, unless training.accept_changes is set. Changed
/// batch sizes are no change where `global_batch` (samples per step, of all processes) equals `written_global_batch`.
bool resume_check(const Config *config, const char *written_yaml, const char *checkpoint,
                  int64_t global_batch, int64_t written_global_batch, FILE *out, Error *error);
