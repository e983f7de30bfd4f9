/// Inside the process group only: what process_group_join.c (joining and leaving), process_group.c
/// (waits and control messages) and process_group_sums.c (sums of tensors) share.
#pragma once
#include "ops/collectives.h"
#include "train/group/process_group.h"
#include "train/group/rank_watch.h"

#include <mpi.h>

enum { MOST_REQUESTS = 4096 };

struct ProcessGroup {
    int rank, count, local_rank, local_count;
    /// the lowest rank on it
    int machine;
    /// processes of it that may run where this one may
    int core_sharers;
    double timeout;
    bool broken;
    /// why it is broken
    Error failure;
    /// NULL in a job of one, which has no MPI
    RankWatch *watch;
    /// unused in a job of one
    MPI_Comm control, sums;
    MPI_Request requests[MOST_REQUESTS];
    int request_count;
    /// for tensors on a GPU
    Collectives *collectives;
};

/// From now on every call fails, for this reason. Returns false.
bool process_group_breaks(ProcessGroup *group, const Error *reason, Error *error);
/// For calls on a broken group: why it is broken. Returns false.
bool process_group_stays_broken(const ProcessGroup *group, Error *error);
/// Waits for the requests; `what`, for the message, they are about. On failure the group is broken,
/// and their memory is MPI's.
bool process_group_wait_all(ProcessGroup *group, MPI_Request *requests, int count, const char *what,
                            Error *error);
