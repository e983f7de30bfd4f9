// Sums of tensors: by MPI on processors, by NCCL on GPUs.
#include "train/group/process_group_internal.h"

bool process_group_use_device(ProcessGroup *group, Device *device, Error *error) {
    if (group->count == 1 || device == device_cpu()) return true;
    unsigned char id[COLLECTIVES_ID_BYTES] = {0};
    bool ok = group->rank != 0 || collectives_new_id(id, error);
    if (!process_group_agree(group, ok, error) ||
        !process_group_broadcast(group, 0, id, sizeof id, error))
        return false;
    group->collectives =
        collectives_open(device, id, group->rank, group->count, group->timeout, error);
    return process_group_agree(group, group->collectives != NULL, error);
}

static MPI_Request *new_request(ProcessGroup *group, const Tensor *x) {
    CHECK(x->dtype == FLOAT32 && group->request_count < MOST_REQUESTS,
          "a reduction of %s after %d others", tensor_describe(x), group->request_count);
    return &group->requests[group->request_count++];
}

void process_group_all_reduce(ProcessGroup *group, Tensor *x) {
    if (group->count == 1 || group->broken) return;
    if (group->collectives) {
        collectives_all_reduce(group->collectives, x);
        return;
    }
    MPI_Iallreduce(MPI_IN_PLACE, x->data, (int)tensor_numel(x), MPI_FLOAT, MPI_SUM, group->sums,
                   new_request(group, x));
}

/// Elements of one rank's part.
static int64_t part_of(const ProcessGroup *group, const Tensor *x) {
    CHECK(tensor_numel(x) % group->count == 0, "%s in %d parts", tensor_describe(x), group->count);
    return tensor_numel(x) / group->count;
}

void process_group_reduce_scatter(ProcessGroup *group, Tensor *x) {
    if (group->count == 1 || group->broken) return;
    if (group->collectives) {
        collectives_reduce_scatter(group->collectives, x);
        return;
    }
    // MPI would put the part at the beginning; whole sums in place cost the same on one machine.
    (void)part_of(group, x);
    process_group_all_reduce(group, x);
}

void process_group_all_gather(ProcessGroup *group, Tensor *x) {
    if (group->count == 1 || group->broken) return;
    if (group->collectives) {
        collectives_all_gather(group->collectives, x);
        return;
    }
    MPI_Iallgather(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, x->data, (int)part_of(group, x), MPI_FLOAT,
                   group->sums, new_request(group, x));
}

void process_group_progress(ProcessGroup *group) {
    int done;
    if (!group->watch || group->broken) return;
    if (group->request_count)
        MPI_Testall(group->request_count, group->requests, &done, MPI_STATUSES_IGNORE);
    rank_watch_progress(group->watch);
}

/// A wait for GPUs.
typedef struct GpuWait {
    RankWatch *watch;
    const char *what;
    bool in_vain;
} GpuWait;

static bool go_on_waiting_for_gpus(void *context, Error *error) {
    GpuWait *wait = context;
    wait->in_vain = !rank_watch_go_on(wait->watch, wait->what, error);
    return !wait->in_vain;
}

static bool wait_for_gpus(ProcessGroup *group, const char *what, Error *error) {
    GpuWait wait = {group->watch, what, false};
    Error reason = {0};
    rank_watch_begin(group->watch);
    if (collectives_wait(group->collectives, go_on_waiting_for_gpus, &wait, &reason)) return true;
    if (!wait.in_vain) error_context(&reason, "rank %d, %s", group->rank, what);
    return process_group_breaks(group, &reason, error);
}

bool process_group_wait(ProcessGroup *group, const char *what, Error *error) {
    if (group->count == 1) return true;
    if (group->broken) return process_group_stays_broken(group, error);
    if (group->collectives) return wait_for_gpus(group, what, error);
    bool ok = process_group_wait_all(group, group->requests, group->request_count, what, error);
    if (ok) group->request_count = 0;
    return ok;
}
