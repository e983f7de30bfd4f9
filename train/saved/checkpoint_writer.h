/// Writes checkpoints on a thread of its own, one at a time, while training goes on.
#pragma once
#include "checkpoints/checkpoint_folder.h"
#include "train/saved/training_checkpoint.h"

typedef struct CheckpointWriter CheckpointWriter;

/// A writer of checkpoint-<step>.h5 into `folder`. Whoever has to wait for it tells `group` (NULL:
/// nobody) meanwhile that it is there: a slow disk is not a rank that hangs, for ten minutes at
/// least.
CheckpointWriter *checkpoint_writer_new(const char *folder, ProcessGroup *group);

/// Hands over a snapshot (which the writer frees) to be written as that of `step`; then removes
/// what `retention` does not keep. Waits for the one before it, whose failure, if it failed, is
/// lost unless checkpoint_writer_failed() was asked.
void checkpoint_writer_submit(CheckpointWriter *writer, TrainingSnapshot *snapshot, int64_t step,
                              const CheckpointRetention *retention);

/// Waits for the write that is under way; whether it failed is still to be asked.
void checkpoint_writer_wait(CheckpointWriter *writer);

/// Whether a write has failed since the last time this was asked; then *error says why. With
/// `wait`: waits for the one that is under way, and says whether that, the last one, failed. A
/// write that failed leaves the earlier checkpoints as they are.
bool checkpoint_writer_failed(CheckpointWriter *writer, bool wait, Error *error);

/// Waits and frees. NULL is allowed.
void checkpoint_writer_free(CheckpointWriter *writer);
