/// Learning-rate schedules, as transformers' get_scheduler computes them.
#pragma once
#include "train/config/config.h"

/// A run has no more steps: a step is a part of the keys of random numbers.
#define SCHEDULE_MOST_STEPS INT32_MAX

/// Samples of a step of that many processes, when it is full; with data.tokens_per_batch its
/// micro-batches.
int64_t schedule_global_batch(const Config *config, int64_t processes);

/// Optimizer steps of the whole run: max_steps unless that is -1, else ceil(epochs *
/// steps_per_epoch). More than SCHEDULE_MOST_STEPS are refused, and `*steps` stays as it was.
bool schedule_total_steps(const Config *config, int64_t steps_per_epoch, int64_t *steps,
                          Error *error);

/// Steps of linear warm-up: ceil(warmup_ratio * max_steps).
int64_t schedule_warmup_steps(double warmup_ratio, int64_t max_steps);

/// The factor on the learning rate for update `step` (0 is the first): rises linearly from 0 over
/// warmup_steps, then follows half a cosine to 0, a line to 0, or stays 1 (constant with warm-up).
double schedule_factor(ScheduleType type, int64_t step, int64_t warmup_steps, int64_t max_steps);
