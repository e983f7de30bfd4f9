/// One job as a process of its own: 'difflmm train' or 'difflmm eval' of this program, whose words
/// go to the job's log. What fails, crashes or is killed there takes nothing else with it.
#pragma once
#include "train/group/run_lock.h"
#include "train/sweep/sweep_jobs.h"

#include <sys/types.h>

/// What a job may use.
typedef struct SweepShare {
    /// counted from 0, among those of this machine that run at once
    int slot;
    /// processes of the job
    int processes;
    /// processor threads of each
    int threads;
} SweepShare;

typedef struct SweepChild {
    /// NULL: there is none
    SweepJob *job;
    pid_t pid;
    /// the job's; the child has it too
    RunLock *lock;
    double started;
} SweepChild;

/// Starts the job, whose folder is there and locked. `launch`: words in front of its command, which
/// then says itself how many processes there are. On failure the lock is the caller's.
bool sweep_child_start(SweepChild *child, SweepJob *job, RunLock *lock, const SweepShare *share,
                       const StringList *launch, Error *error);
/// Whether it has ended, and how: `status` as waitpid() gives it. Does not wait.
bool sweep_child_has_ended(const SweepChild *child, int *status);

/// Why the job failed: the last words of its log, and how the process ended. The caller frees it.
char *sweep_child_last_words(const SweepJob *job, int status);

/// From now on a request to stop reaches the children that are running.
void sweep_child_pass_on_signals(SweepChild *children, int count, bool is_launched_otherwise);
