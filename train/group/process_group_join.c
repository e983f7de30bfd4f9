// Joining a job and leaving it, and what a process is in it.
#include "train/group/process_group_internal.h"

#include "train/group/launched.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool process_group_is_launched(void) {
    // Their mere presence; srun's count is there for a single interactive shell as well.
    static const char *const names[] = {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "PMIX_RANK"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (getenv(names[i])) return true;
    const char *variable;
    return launched_count(&variable) > 1;
}

/// Whether mpirun or srun gave each process cores of its own.
static int count_core_sharers(MPI_Comm node, int local_count) {
    enum { WORDS = 128 };
    size_t size = WORDS * sizeof(uint64_t);
    uint64_t mine[WORDS] = {0}, *all = checked_calloc((size_t)local_count, size);
    if (sched_getaffinity(0, size, (cpu_set_t *)(void *)mine) != 0) memset(mine, 0xff, size);
    MPI_Allgather(mine, WORDS, MPI_UINT64_T, all, WORDS, MPI_UINT64_T, node);
    int sharers = 0;
    for (int r = 0; r < local_count; r++) {
        bool shares = false;
        for (int i = 0; i < WORDS; i++) shares = shares || (mine[i] & all[r * WORDS + i]);
        sharers += shares;
    }
    free(all);
    return sharers;
}

static void join(ProcessGroup *group) {
    MPI_Comm node;
    MPI_Comm_dup(MPI_COMM_WORLD, &group->control);
    MPI_Comm_dup(MPI_COMM_WORLD, &group->sums);
    MPI_Comm_rank(group->control, &group->rank);
    MPI_Comm_size(group->control, &group->count);
    MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, group->rank, MPI_INFO_NULL, &node);
    MPI_Comm_rank(node, &group->local_rank);
    MPI_Comm_size(node, &group->local_count);
    group->core_sharers = count_core_sharers(node, group->local_count);
    MPI_Allreduce(&group->rank, &group->machine, 1, MPI_INT, MPI_MIN, node);
    group->watch = rank_watch_open(group->control, node, group->timeout);
    MPI_Comm_free(&node);
}

ProcessGroup *process_group_alone(void) {
    ProcessGroup *group = checked_calloc(1, sizeof *group);
    group->count = group->local_count = group->core_sharers = 1;
    return group;
}

ProcessGroup *process_group_open(double timeout, Error *error) {
    ProcessGroup *group = process_group_alone();
    group->timeout = timeout;
    if (!process_group_is_launched()) return group;
    int provided;
    if (!launched_can_meet(error)) {
        free(group);
        return NULL;
    }
    if (MPI_Init_thread(NULL, NULL, MPI_THREAD_SERIALIZED, &provided) != MPI_SUCCESS ||
        provided < MPI_THREAD_SERIALIZED) {
        error_set(error, "MPI cannot be started for one of several threads; is the program run by "
                         "the mpirun of the library that it was built with?");
        free(group);
        return NULL;
    }
    if (!launched_has_met(error)) {
        MPI_Finalize();
        free(group);
        return NULL;
    }
    join(group);
    return group;
}

void process_group_close(ProcessGroup *group) {
    if (!group || group->broken) return;
    collectives_close(group->collectives);
    if (group->watch) {
        MPI_Comm_free(&group->control);
        MPI_Comm_free(&group->sums);
        MPI_Finalize(); // what the watch has sent may be on its way until now
        rank_watch_close(group->watch);
    }
    free(group);
}

void process_group_set_timeout(ProcessGroup *group, double timeout) {
    group->timeout = timeout;
    if (group->broken) return;
    if (group->watch) rank_watch_set_timeout(group->watch, timeout);
    if (group->collectives) collectives_set_timeout(group->collectives, timeout);
}

bool process_group_is_broken(const ProcessGroup *group) { return group->broken; }

void process_group_abort(ProcessGroup *group, int exit_code) {
    fflush(NULL);
    if (group && group->watch) MPI_Abort(MPI_COMM_WORLD, exit_code);
    _Exit(exit_code);
}

int process_rank(const ProcessGroup *group) { return group->rank; }
int process_count(const ProcessGroup *group) { return group->count; }
int process_local_rank(const ProcessGroup *group) { return group->local_rank; }
int process_local_count(const ProcessGroup *group) { return group->local_count; }
int process_machine(const ProcessGroup *group) { return group->machine; }
int process_core_sharers(const ProcessGroup *group) { return group->core_sharers; }
