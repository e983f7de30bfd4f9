// Every wait is a loop of tests, in which train/group/rank_watch.h says when it is in vain: a rank
// that hangs must not hang the others.
//
// A wait that was in vain leaves requests behind that MPI cannot be made to forget: it may write
// into their buffers whenever it is called, and some transports without. So control messages are
// copies that such a wait leaves to MPI, tensors under way are not freed (gradient_buckets_free()),
// and a broken group does not call MPI again but to abort.
#include "train/group/process_group.h"

#include "autograd/fnv.h"
#include "ops/collectives.h"
#include "train/group/launched.h"
#include "train/group/rank_gpu.h"
#include "train/group/rank_watch.h"

#include <mpi.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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

// ---- joining and leaving

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
int process_core_sharers(const ProcessGroup *group) { return group->core_sharers; }

// ---- waiting

/// From now on every call fails, for this reason.
static bool breaks(ProcessGroup *group, const Error *reason, Error *error) {
    group->broken = true;
    group->failure = *reason;
    if (error) *error = *reason;
    return false;
}

static bool stays_broken(const ProcessGroup *group, Error *error) {
    if (error) *error = group->failure;
    return false;
}

static bool wait_all(ProcessGroup *group, MPI_Request *requests, int count, const char *what,
                     Error *error) {
    int done = 0;
    Error reason = {0};
    rank_watch_begin(group->watch);
    while (true) {
        MPI_Testall(count, requests, &done, MPI_STATUSES_IGNORE);
        if (done) return true;
        if (!rank_watch_go_on(group->watch, what, &reason)) return breaks(group, &reason, error);
        sched_yield();
    }
}

/// A message of that size; `bytes` (NULL: zeros) are its beginning.
static void *message_of(const void *bytes, size_t size) {
    void *message = checked_calloc(1, size + 1);
    if (bytes) memcpy(message, bytes, size);
    return message;
}

/// Waits for a message, copies what it has become to `to` and frees it. It is MPI's if the wait
/// fails.
static bool receive(ProcessGroup *group, MPI_Request *request, void *message, void *to, size_t size,
                    const char *what, Error *error) {
    if (!wait_all(group, request, 1, what, error)) return false;
    memcpy(to, message, size);
    free(message);
    return true;
}

// ---- control messages

static bool reduce_doubles(ProcessGroup *group, double *values, int count, MPI_Op operation,
                           Error *error) {
    if (group->count == 1) return true;
    if (group->broken) return stays_broken(group, error);
    size_t size = (size_t)count * sizeof *values;
    double *message = message_of(values, size);
    MPI_Request request;
    MPI_Iallreduce(MPI_IN_PLACE, message, count, MPI_DOUBLE, operation, group->control, &request);
    return receive(group, &request, message, values, size, "a step's totals", error);
}

bool process_group_sum(ProcessGroup *group, double *values, int count, Error *error) {
    return reduce_doubles(group, values, count, MPI_SUM, error);
}

bool process_group_max(ProcessGroup *group, double *values, int count, Error *error) {
    return reduce_doubles(group, values, count, MPI_MAX, error);
}

/// all[r] becomes `mine` of rank r, for every rank. The caller frees *all, which is NULL on
/// failure.
static bool gather_all(ProcessGroup *group, const void *mine, size_t size, void **all,
                       const char *what, Error *error) {
    *all = NULL;
    if (group->broken) return stays_broken(group, error);
    size_t whole = (size_t)group->count * size;
    char *sent = message_of(mine, size), *message = message_of(NULL, whole);
    MPI_Request request;
    MPI_Iallgather(sent, (int)size, MPI_BYTE, message, (int)size, MPI_BYTE, group->control,
                   &request);
    if (!wait_all(group, &request, 1, what, error)) return false;
    free(sent);
    *all = message;
    return true;
}

bool process_group_compare(ProcessGroup *group, const char *what, const void *bytes, size_t size,
                           RankNames *differing, Error *error) {
    *differing = (RankNames){0};
    if (group->count == 1) return true;
    uint64_t mine = fnv1a(bytes, size), *hashes;
    if (!gather_all(group, &mine, sizeof mine, (void **)&hashes, what, error)) return false;
    bool *differs = checked_calloc((unsigned long)group->count, sizeof *differs);
    for (int r = 0; r < group->count; r++) differs[r] = hashes[r] != hashes[0];
    while (differing->first < group->count - 1 && !differs[differing->first]) differing->first++;
    differing->count = rank_names(differing->text, sizeof differing->text, differs, group->count);
    free(differs);
    free(hashes);
    return true;
}

bool process_group_same(ProcessGroup *group, const char *what, const void *bytes, size_t size,
                        Error *error) {
    RankNames differing;
    if (!process_group_compare(group, what, bytes, size, &differing, error)) return false;
    return !differing.count ||
           error_set(error,
                     "%s of %s differs from rank 0's; every rank must be started with the same "
                     "command and read the same files",
                     what, differing.text);
}

bool process_group_broadcast(ProcessGroup *group, int root, void *bytes, size_t size,
                             Error *error) {
    if (group->count == 1) return true;
    if (group->broken) return stays_broken(group, error);
    CHECK(size <= INT32_MAX, "a message of %zu bytes", size);
    char what[64];
    snprintf(what, sizeof what, "what rank %d has to tell", root);
    void *message = message_of(bytes, size);
    MPI_Request request;
    MPI_Ibcast(message, (int)size, MPI_BYTE, root, group->control, &request);
    return receive(group, &request, message, bytes, size, what, error);
}

/// The lowest rank that is not ok; group->count if there is none.
static bool find_first_failed(ProcessGroup *group, bool ok, int *failed, Error *error) {
    int first = ok ? group->count : group->rank, *message = message_of(&first, sizeof first);
    MPI_Request request;
    MPI_Iallreduce(MPI_IN_PLACE, message, 1, MPI_INT, MPI_MIN, group->control, &request);
    return receive(group, &request, message, failed, sizeof *failed, "whether all is well", error);
}

bool process_group_agree(ProcessGroup *group, bool ok, Error *error) {
    if (group->count == 1) return ok;
    if (group->broken) return ok ? stays_broken(group, error) : false;
    int failed;
    if (!find_first_failed(group, ok, &failed, ok ? error : NULL)) return false;
    if (failed == group->count) return true;
    Error theirs = {0};
    if (failed == group->rank && error) theirs = *error;
    if (process_group_broadcast(group, failed, &theirs, sizeof theirs, ok ? error : NULL) && ok &&
        error) {
        error_set(error, "rank %d: %.1900s", failed, theirs.message);
        error->is_configuration = theirs.is_configuration;
        error->is_stop = theirs.is_stop;
    }
    return false;
}

bool process_group_distinct_gpus(ProcessGroup *group, const char *bus_id, Error *error) {
    if (group->count == 1) return true;
    RankGpu mine = {.machine = group->machine};
    snprintf(mine.bus_id, sizeof mine.bus_id, "%s", bus_id);
    gethostname(mine.host, sizeof mine.host - 1);
    RankGpu *gpus;
    bool ok = gather_all(group, &mine, sizeof mine, (void **)&gpus, "the ranks' GPUs", error) &&
              gpus_are_distinct(gpus, group->count, error);
    free(gpus);
    return ok;
}

bool process_group_gather_bits(ProcessGroup *group, uint32_t *words, int64_t count, Error *error) {
    enum { PIECE = 1 << 24 };
    if (group->broken) return stays_broken(group, error);
    for (int64_t first = 0; group->count > 1 && first < count; first += PIECE) {
        int length = (int)(count - first < PIECE ? count - first : PIECE);
        size_t size = (size_t)length * sizeof *words;
        bool is_root = group->rank == 0;
        void *message = message_of(words + first, size);
        MPI_Request request;
        MPI_Ireduce(is_root ? MPI_IN_PLACE : message, is_root ? message : NULL, length,
                    MPI_UINT32_T, MPI_BOR, 0, group->control, &request);
        if (!receive(group, &request, message, words + first, size, "the optimizer's parts", error))
            return false;
    }
    return true;
}

// ---- sums of tensors

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
    return breaks(group, &reason, error);
}

bool process_group_wait(ProcessGroup *group, const char *what, Error *error) {
    if (group->count == 1) return true;
    if (group->broken) return stays_broken(group, error);
    if (group->collectives) return wait_for_gpus(group, what, error);
    bool ok = wait_all(group, group->requests, group->request_count, what, error);
    if (ok) group->request_count = 0;
    return ok;
}
