/// Which checkpoint is the best: training.save_best.
#pragma once
#include "train/evaluation/training_tasks.h"
#include "train/saved/training_checkpoint.h"

#include <stdio.h>

/// Whether the best checkpoint is saved and kept.
bool best_is_kept(const TrainingSection *training);
/// What decides, also where nothing is kept: "loss", or a figure of eval.tasks. The
/// configuration's.
const char *best_figure(const TrainingSection *training);

/// Refuses a training.save_best that nothing will be measured for. `tasks` may be NULL.
bool best_check(const Config *config, const TrainingTasks *tasks, Error *error);

/// Nothing measured yet.
BestSoFar best_begin(const Config *config, const TrainingTasks *tasks);
/// Of a run that goes on: what the checkpoint says, if it is about what `now` is about; else `now`,
/// which is said on `out` (NULL: nowhere).
BestSoFar best_go_on(const BestSoFar *now, const BestSoFar *then, FILE *out);
/// Takes note of a value measured after `step`; one that is not finite is none.
void best_update(BestSoFar *best, double value, int64_t step);
