/// Training: stage 1 and stage 2 are the same loop under different configurations.
///
/// A run is a function of its configuration. Stopped after any step and started again, it ends with the very same weights.
#pragma once
#include "train/config.h"

/// Trains as configured, or goes on from the newest intact checkpoint in training.output_dir (training.resume). Writes there
/// config.yaml, metrics.jsonl and checkpoint-<step>.h5. SIGINT and SIGTERM finish the step, save and return true. Progress goes to
/// stderr.
bool trainer_run(const Config *config, Error *error);
