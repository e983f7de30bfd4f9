/// What a run leaves behind while it goes on: metrics.jsonl for machines and the report, and the
/// same numbers, with samples of what the model says, as TensorBoard event files in
/// <folder>/tensorboard.
#pragma once
#include "train/log/metrics.h"

#include <stddef.h>

typedef struct RunLog RunLog;

/// Goes on after `resumed_step` (-1: a new run). NULL on failure.
RunLog *run_log_open(const char *folder, int64_t resumed_step, bool tensorboard, Error *error);
/// NULL is allowed.
void run_log_close(RunLog *log);

/// Metrics of one kind ("train", "eval") at a step. Metrics that are NaN are left out. What cannot
/// be written (a full disk) is a warning: metrics.jsonl gets it later, TensorBoard does not.
void run_log_metrics(RunLog *log, const char *kind, int64_t step, const Metric *metrics, int count);
/// A text, and a picture (PNG), for TensorBoard.
void run_log_text(RunLog *log, const char *tag, int64_t step, const char *text);
void run_log_picture(RunLog *log, const char *tag, int64_t step, const void *png, size_t size);
