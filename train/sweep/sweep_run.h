/// Runs the jobs of a sweep that are not done, as many at once as there is room for.
///
/// Any number of processes may do so in the same folder, on any machines that share it: a job is
/// whose lock it has. Each of them goes on until nothing is left that it, or another, could run.
#pragma once
#include "train/sweep/sweep_jobs.h"

typedef struct SweepRun {
    /// jobs at once, of this process
    int at_once;
    /// of each job
    int processes;
    /// the first slot of this process, among all of its machine, and how many there are
    int first_slot, slots;
    /// where progress is shown; NULL: nowhere
    FILE *out;
} SweepRun;

/// False if it was told to stop, or cannot go on at all (a full disk). Jobs that fail do not end
/// it.
bool sweep_run(SweepJobs *jobs, const SweepRun *run, Error *error);

/// That the jobs which are not done take one after the other, by what those of their kind took that
/// are: NAN where trainings are left and none is done; other kinds of which none is do not count.
double sweep_seconds_left(const SweepJobs *jobs);

/// Why a cell has no result; NULL: it has one, or is not done yet.
const char *sweep_cell_failure(const SweepJobs *jobs, int cell);
