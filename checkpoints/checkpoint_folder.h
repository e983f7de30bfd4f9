/// The folder of a run's checkpoints: `checkpoint-<step>.h5`.
#pragma once
#include "autograd/error.h"

#include <stdint.h>

/// "<folder>/checkpoint-<step>.h5"; the caller frees it.
char *checkpoint_path(const char *folder, int64_t step);

/// Told of every checkpoint that is passed over because it is damaged.
typedef void CheckpointWarning(const char *message, void *context);

/// The checkpoint with the highest step that is intact (all checksums hold). *path is NULL if there is none, or no such
/// folder; the caller frees it. `warning` may be NULL. Fails only if the folder cannot be read.
bool checkpoint_newest(const char *folder, CheckpointWarning *warning, void *context, char **path,
                       int64_t *step, Error *error);

/// Removes all but the `count` checkpoints with the highest steps, and what interrupted writes left behind.
/// count <= 0 keeps all checkpoints. To be called after a checkpoint was committed.
bool checkpoint_keep_last(const char *folder, int count, Error *error);
