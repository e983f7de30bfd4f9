/// The folder of a run's checkpoints: `checkpoint-<step>.h5`.
#pragma once
#include "autograd/error.h"

#include <stdint.h>

/// "<folder>/checkpoint-<step>.h5"; the caller frees it.
char *checkpoint_path(const char *folder, int64_t step);

/// Told of every checkpoint that is passed over because it is damaged.
typedef void CheckpointWarning(const char *message, void *context);
/// The one that writes "warning: ..." to stderr.
void checkpoint_warn(const char *message, void *context);

/// The checkpoint with the highest step that is intact (all checksums hold). *path is NULL if there
/// is none, or no such folder; the caller frees it. `warning` may be NULL. Fails only if the folder
/// cannot be read, or on a request to stop.
bool checkpoint_newest(const char *folder, CheckpointWarning *warning, void *context, char **path,
                       int64_t *step, Error *error);

/// A checkpoint as a user names it: a file, or a folder whose newest intact checkpoint is meant
/// (damaged ones are reported on stderr). NULL on failure; the caller frees it.
char *checkpoint_resolve(const char *path, Error *error);

/// Which checkpoints stay.
typedef struct CheckpointRetention {
    /// those with the highest steps; 0: all
    int newest;
    /// besides, those whose step is a multiple of this; 0: none
    int64_t every;
    /// besides, this one, to which the link checkpoint-best.h5 then points; -1: none
    int64_t best_step;
} CheckpointRetention;

/// Removes the checkpoints that do not stay, and what interrupted writes left behind. To be called
/// after the checkpoint of `step` was committed. Those of later steps neither count nor go: a run
/// that passed over a damaged one may be behind it.
bool checkpoint_retain(const char *folder, int64_t step, const CheckpointRetention *retention,
                       Error *error);
/// Moves the checkpoints of later steps than `step` into a new folder beside the others,
/// `set-aside-<n>`, so that they are not gone on from: a run that begins again at `step` will make
/// its own. *count: how many; *where: that folder, NULL if there were none; the caller frees it.
/// checkpoint-best.h5 is removed if it pointed at one of them.
bool checkpoint_set_aside(const char *folder, int64_t step, char **where, int *count, Error *error);
/// Removes what interrupted writes of checkpoints left behind. Fails only if the folder cannot be
/// read.
bool checkpoint_clean(const char *folder, Error *error);
