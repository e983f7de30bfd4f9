/// Training: stage 1 and stage 2 are the same loop under different configurations.
///
/// A run is a function of its configuration. Stopped after any step and started again, it ends with
/// the very same weights.
#pragma once
#include "train/config/config.h"
#include "train/group/process_group.h"

/// Trains as configured on all ranks of the group, or goes on from the newest intact checkpoint in
/// training.output_dir (training.resume). Rank 0 writes there config.yaml, metrics.jsonl and
/// checkpoint-<step>.h5, and shows progress on stderr. SIGINT, SIGTERM and SIGUSR1 at any rank let
/// all finish the step, save and return true: stop_request_listen() is called here, and earlier by
/// a program that has things to do before. While the run is prepared they end it as it is; held-out
/// loss, figures of eval.tasks and samples are then left out. Fails alike on every rank, unless a
/// rank is gone: one that hangs is noticed after training.distributed_timeout, before the first
/// step (reading networks takes ranks unequally long) after the group's own.
bool trainer_run(const Config *config, ProcessGroup *group, Error *error);
