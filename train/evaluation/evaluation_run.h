/// One evaluation, from configuration to results, on any number of processes: asking (what is not
/// stored yet), judging, figures.
///
/// eval.output_dir receives
///   answers/       what the model said and where it looked (eval/attention/answer_store.h)
///   config.yaml    what the configuration came to
///   results.json   figures with intervals, what was asked and judged with
///   items.jsonl    the verdict about every item, one a line, in their order
///   pictures/      the first images with what the model points at
///   predictions/   in the published form, of tasks that have one
///
/// and is the same, bit for bit, whatever the number of processes and of questions at once, and
/// however often the evaluation was stopped or killed and run again: what was asked and judged
/// before is used.
#pragma once
#include "train/config/config.h"
#include "train/group/process_group.h"

/// Every rank calls it; fails alike on every rank. The first prints the figures to stdout. Stopped
/// on request, it says so and has not failed: what was done is kept, and there are no results.
bool evaluation_run(Config *config, ProcessGroup *group, Error *error);
