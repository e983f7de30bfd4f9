/// What a run was: enough to repeat it, kept in its folder.
#pragma once
#include "autograd/device.h"
#include "train/group/process_group.h"

/// Appends one entry to <folder>/runs.jsonl: when and where this part of the run began, the
/// program's version, the exact command, the devices and processes, and the settings of the
/// environment that matter (OMP_*, SLURM_*, CUDA_*, NCCL_*, ...); and writes <folder>/command.sh,
/// which runs the same command in the same folder. What is not UTF-8 in arguments and paths is
/// "\xNN" in runs.jsonl and itself in command.sh. Rank 0 calls it.
bool run_record_write(const char *folder, const ProcessGroup *group, const Device *device,
                      int64_t first_step, Error *error);
