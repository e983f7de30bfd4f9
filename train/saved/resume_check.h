/// What changed in the configuration and the data since a checkpoint was written, and whether the
/// run is still the same run.
#pragma once
#include "train/config/config.h"
#include "train/saved/training_checkpoint.h"

/// Compares the configuration, key by key, with the one that the checkpoint was written with
/// (config_to_yaml() of it), and the data that the run has (`now`) with the data that it had
/// (`then`). Every difference is a line on `out` (NULL: none). Fails if a key or the data changed
/// that decides what is learned, unless training.accept_changes is set.
///
/// Of the positions only global_batch, train and eval are looked at. Changed batch sizes are no
/// change where a step has as many samples (of all processes) as before. Data is what is in it:
/// under another path it may be the same. Held-out data may be added or given up, as that does not
/// change what is learned, but not replaced: losses, and save_best, compare.
bool resume_check(const Config *config, const char *written_yaml, const char *checkpoint,
                  const TrainingPosition *now, const TrainingPosition *then, FILE *out,
                  Error *error);
