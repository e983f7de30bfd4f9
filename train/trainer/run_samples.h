/// What the model says, while it is trained, about a few pictures of the held-out data: for
/// TensorBoard.
#pragma once
#include "data/llava_dataset.h"
#include "train/log/run_log.h"
#include "train/trainer/model_setup.h"

/// Asks eval.prompt about the first training.log_samples samples with a picture and logs question,
/// answer and picture; where eval.annotations names categories, the picture shows where attention
/// points for each that the answer names. What goes wrong is told on stderr and is no reason to end
/// a run.
void run_samples_log(const Config *config, const ModelSetup *setup, const Dataset *held_out,
                     int64_t step, RunLog *log, ProcessGroup *group);
