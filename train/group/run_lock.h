/// One run at a time in a folder: two would overwrite each other's checkpoints and mix their
/// metrics.
///
/// <folder>/run.lock is there while a run is, says which process of which machine it is, and is
/// locked by the kernel, which lets go when that process ends, however it ends. NFS, Lustre and the
/// like carry such locks between machines, unless they are mounted otherwise (Lustre's localflock,
/// NFS's nolock): then only processes of the same machine see them, and a run of another machine
/// that was not ended in order is a warning.
#pragma once
#include "autograd/error.h"

typedef struct RunLock RunLock;

/// Takes the lock of a folder that exists, for as long as the process lives or until
/// run_lock_release(). NULL on failure: a run that is not over within seconds has it (the error
/// names its host and process), or the file cannot be written. Warnings go to stderr; where the
/// file system has no locks, that is one, and a process of this machine that has the folder and
/// still runs is refused all the same.
RunLock *run_lock_take(const char *folder, Error *error);
/// The same without waiting: NULL with *is_held if another run has it.
RunLock *run_lock_try(const char *folder, bool *is_held, Error *error);
/// In a process that was forked: what it executes keeps the lock too, until it has ended.
void run_lock_pass_on(const RunLock *lock);
/// Lets go and removes the file. NULL is allowed.
void run_lock_release(RunLock *lock);
