// Every wait is a loop of tests with a time limit: a rank that hangs must not hang the others. For the message, each rank tells
// rank 0 how many waits it has come to, and repeats it while it waits; so rank 0 can name those that are behind and those that have
// fallen silent. Rank 0 tells the others while it waits that it is there, and when it gives up.
#include "train/process_group.h"

#include "autograd/clock.h"
#include "ops/collectives.h"

#include <mpi.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { REPORT_TAG = 1, MOST_REQUESTS = 4096, NAMED_RANKS = 8 };

/// In parts of the time limit: how often a rank that waits says so, and how long none of it is silence.
static const double REPORT_EVERY = 0.1, SILENCE = 0.5;
/// The others leave rank 0 the time to speak: this is when they take it for dead, and when they give up though it is there.
static const double PATIENCE_WITH_FIRST = 1.25, PATIENCE = 2.5;

/// What a rank has told of itself.
typedef struct Peer {
    int64_t waits; ///< that it has come to, or GAVE_UP
    double heard;  ///< when it was last heard of
} Peer;

static const int64_t GAVE_UP = -1;

struct ProcessGroup {
    int rank, count, local_rank, local_count;
    double timeout;
    bool broken;
    MPI_Comm control, sums; ///< unused in a job of one
    int64_t waits;          ///< that this rank has come to
    Peer *peers;            ///< on rank 0: of every rank; on the others: of rank 0
    MPI_Request requests[MOST_REQUESTS];
    int request_count;
    Collectives *collectives; ///< for tensors on a GPU
};

bool process_group_is_launched(void) {
    // Open MPI; MPICH and Intel MPI; srun with PMIx or PMI-2.
    static const char *const names[] = {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "PMIX_RANK"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (getenv(names[i])) return true;
    const char *tasks = getenv("SLURM_STEP_NUM_TASKS");
    return tasks && atoi(tasks) > 1;
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
    MPI_Comm_free(&node);
    group->peers = checked_calloc((unsigned long)group->count, sizeof *group->peers);
}

ProcessGroup *process_group_open(double timeout, Error *error) {
    ProcessGroup *group = checked_calloc(1, sizeof *group);
    group->count = group->local_count = 1;
    group->timeout = timeout;
    if (!process_group_is_launched()) return group;
    int provided;
    if (MPI_Init_thread(NULL, NULL, MPI_THREAD_SERIALIZED, &provided) != MPI_SUCCESS ||
        provided < MPI_THREAD_SERIALIZED) {
        error_set(error, "MPI cannot be started for one of several threads; is the program run by "
                         "the mpirun of the library that it was built with?");
        free(group);
        return NULL;
    }
    join(group);
    return group;
}

void process_group_close(ProcessGroup *group) {
    if (!group) return;
    collectives_close(group->collectives);
    if (group->peers) {
        MPI_Comm_free(&group->control);
        MPI_Comm_free(&group->sums);
        MPI_Finalize();
    }
    free(group->peers);
    free(group);
}

void process_group_set_timeout(ProcessGroup *group, double timeout) { group->timeout = timeout; }

bool process_group_is_broken(const ProcessGroup *group) { return group->broken; }

void process_group_abort(ProcessGroup *group, int exit_code) {
    fflush(NULL);
    if (group && group->peers) MPI_Abort(MPI_COMM_WORLD, exit_code);
    _Exit(exit_code);
}

int process_rank(const ProcessGroup *group) { return group->rank; }
int process_count(const ProcessGroup *group) { return group->count; }
int process_local_rank(const ProcessGroup *group) { return group->local_rank; }
int process_local_count(const ProcessGroup *group) { return group->local_count; }

// ---- waiting

static void note_reports(ProcessGroup *group) {
    int arrived = 1;
    while (arrived) {
        MPI_Status status;
        MPI_Iprobe(MPI_ANY_SOURCE, REPORT_TAG, group->control, &arrived, &status);
        if (!arrived) break;
        Peer *peer = &group->peers[status.MPI_SOURCE];
        MPI_Recv(&peer->waits, 1, MPI_INT64_T, status.MPI_SOURCE, REPORT_TAG, group->control,
                 MPI_STATUS_IGNORE);
        peer->heard = clock_seconds();
    }
}

/// Does not wait: the receiver may be gone. Until it is sent, *waits may become a later number.
static void report_to(ProcessGroup *group, int rank, const int64_t *waits) {
    MPI_Request request;
    MPI_Isend(waits, 1, MPI_INT64_T, rank, REPORT_TAG, group->control, &request);
    MPI_Request_free(&request);
}

static void report(ProcessGroup *group, const int64_t *waits) {
    if (group->rank != 0) report_to(group, 0, waits);
    for (int r = 1; group->rank == 0 && r < group->count; r++) report_to(group, r, waits);
}

static void arrive(ProcessGroup *group) {
    group->waits++;
    note_reports(group);
    if (group->rank != 0) report_to(group, 0, &group->waits);
}

/// "rank 2", "ranks 1, 2 and 5". Returns how many.
static int name_ranks(char *text, size_t size, const ProcessGroup *group,
                      bool (*chosen)(const ProcessGroup *group, int rank, const void *context),
                      const void *context) {
    int ranks[NAMED_RANKS], found = 0;
    for (int r = 0; r < group->count; r++)
        if (chosen(group, r, context) && found++ < NAMED_RANKS) ranks[found - 1] = r;
    size_t used = (size_t)snprintf(text, size, found == 1 ? "rank" : "ranks");
    for (int i = 0; i < found && i < NAMED_RANKS; i++)
        used += (size_t)snprintf(text + used, size - used, "%s %d",
                                 i == 0           ? ""
                                 : i == found - 1 ? " and"
                                                  : ",",
                                 ranks[i]);
    if (found > NAMED_RANKS)
        snprintf(text + used, size - used, " and %d more", found - NAMED_RANKS);
    return found;
}

static bool is_silent(const ProcessGroup *group, int rank) {
    return clock_seconds() - group->peers[rank].heard > SILENCE * group->timeout;
}

static bool is_behind(const ProcessGroup *group, int rank, const void *context) {
    (void)context;
    return rank != 0 && group->peers[rank].waits < group->waits;
}

static bool is_missing(const ProcessGroup *group, int rank, const void *context) {
    return is_behind(group, rank, context) || (rank != 0 && is_silent(group, rank));
}

/// On rank 0, which then tells the others that it has given up.
static void name_missing_ranks(ProcessGroup *group, char *text, size_t size) {
    note_reports(group);
    if (!name_ranks(text, size, group, is_missing, NULL))
        snprintf(text, size, "the other ranks, which are there");
    report(group, &GAVE_UP);
}

static bool waited_in_vain(ProcessGroup *group, double seconds, const char *what, Error *error) {
    group->broken = true;
    char ranks[128] = "rank 0";
    bool first_is_there = group->peers[0].waits == GAVE_UP || !is_silent(group, 0);
    if (group->rank != 0 && first_is_there)
        return error_set(error,
                         "rank %d waited %.0f seconds for the other ranks (%s); one has died or "
                         "hangs, rank 0 says which",
                         group->rank, seconds, what);
    if (group->rank == 0) name_missing_ranks(group, ranks, sizeof ranks);
    return error_set(error,
                     "waited %.0f seconds in vain for %s (%s): died or hangs; look at its output "
                     "above, or raise training.distributed_timeout if it is only slow",
                     seconds, ranks, what);
}

/// Whether this rank has waited long enough.
static bool gives_up(const ProcessGroup *group, double seconds) {
    if (group->rank == 0) return seconds > group->timeout;
    return group->peers[0].waits == GAVE_UP || seconds > PATIENCE * group->timeout ||
           (seconds > PATIENCE_WITH_FIRST * group->timeout && is_silent(group, 0));
}

static bool wait_all(ProcessGroup *group, MPI_Request *requests, int count, const char *what,
                     Error *error) {
    double began = clock_seconds(), reported = began, before = began;
    int done = 0;
    arrive(group);
    while (!done) {
        MPI_Testall(count, requests, &done, MPI_STATUSES_IGNORE);
        if (done) break;
        note_reports(group);
        double time = clock_seconds();
        if (time - before > SILENCE * group->timeout) began += time - before; // it was suspended
        before = time;
        if (gives_up(group, time - began)) return waited_in_vain(group, time - began, what, error);
        if (time - reported > REPORT_EVERY * group->timeout) {
            report(group, &group->waits);
            reported = time;
        }
        sched_yield();
    }
    return true;
}

// ---- control messages

static bool reduce_doubles(ProcessGroup *group, double *values, int count, MPI_Op operation,
                           Error *error) {
    if (group->count == 1) return true;
    MPI_Request request;
    MPI_Iallreduce(MPI_IN_PLACE, values, count, MPI_DOUBLE, operation, group->control, &request);
    return wait_all(group, &request, 1, "a step's totals", error);
}

bool process_group_sum(ProcessGroup *group, double *values, int count, Error *error) {
    return reduce_doubles(group, values, count, MPI_SUM, error);
}

bool process_group_max(ProcessGroup *group, double *values, int count, Error *error) {
    return reduce_doubles(group, values, count, MPI_MAX, error);
}

/// FNV-1a: enough to find differences that nobody made on purpose.
static uint64_t hash_of(const void *bytes, size_t size) {
    uint64_t hash = 0xcbf29ce484222325ull;
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ ((const unsigned char *)bytes)[i]) * 0x100000001b3ull;
    return hash;
}

static bool differs_from_first(const ProcessGroup *group, int rank, const void *context) {
    (void)group;
    const uint64_t *hashes = context;
    return hashes[rank] != hashes[0];
}

bool process_group_same(ProcessGroup *group, const char *what, const void *bytes, size_t size,
                        Error *error) {
    if (group->count == 1) return true;
    uint64_t mine = hash_of(bytes, size);
    uint64_t *hashes = checked_calloc((unsigned long)group->count, sizeof *hashes);
    MPI_Request request;
    MPI_Iallgather(&mine, 1, MPI_UINT64_T, hashes, 1, MPI_UINT64_T, group->control, &request);
    bool ok = wait_all(group, &request, 1, what, error), same = true;
    for (int r = 0; ok && r < group->count; r++) same = same && hashes[r] == hashes[0];
    if (ok && !same) {
        char ranks[128];
        name_ranks(ranks, sizeof ranks, group, differs_from_first, hashes);
        error_set(error,
                  "%s of %s differs from rank 0's; every rank must be started with the same "
                  "command and read the same files",
                  what, ranks);
    }
    free(hashes);
    return ok && same;
}

bool process_group_broadcast(ProcessGroup *group, int root, void *bytes, size_t size,
                             Error *error) {
    if (group->count == 1) return true;
    CHECK(size <= INT32_MAX, "a message of %zu bytes", size);
    char what[64];
    snprintf(what, sizeof what, "what rank %d has to tell", root);
    MPI_Request request;
    MPI_Ibcast(bytes, (int)size, MPI_BYTE, root, group->control, &request);
    return wait_all(group, &request, 1, what, error);
}

bool process_group_agree(ProcessGroup *group, bool ok, Error *error) {
    if (group->count == 1) return ok;
    int first = ok ? group->count : group->rank, failed;
    MPI_Request request;
    MPI_Iallreduce(&first, &failed, 1, MPI_INT, MPI_MIN, group->control, &request);
    if (!wait_all(group, &request, 1, "whether all is well", ok ? error : NULL)) return false;
    if (failed == group->count) return true;
    Error theirs = {0};
    if (failed == group->rank && error) theirs = *error;
    MPI_Ibcast(&theirs, (int)sizeof theirs, MPI_BYTE, failed, group->control, &request);
    if (!wait_all(group, &request, 1, "what went wrong", ok ? error : NULL)) return false;
    if (ok && error) {
        error_set(error, "rank %d: %.1900s", failed, theirs.message);
        error->is_configuration = theirs.is_configuration;
    }
    return false;
}

bool process_group_gather_bits(ProcessGroup *group, uint32_t *words, int64_t count, Error *error) {
    enum { PIECE = 1 << 24 };
    for (int64_t first = 0; group->count > 1 && first < count; first += PIECE) {
        int length = (int)(count - first < PIECE ? count - first : PIECE);
        const void *mine = group->rank == 0 ? MPI_IN_PLACE : (const void *)(words + first);
        MPI_Request request;
        MPI_Ireduce(mine, words + first, length, MPI_UINT32_T, MPI_BOR, 0, group->control,
                    &request);
        if (!wait_all(group, &request, 1, "the optimizer's parts", error)) return false;
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
    if (group->count == 1) return;
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
    if (group->count == 1) return;
    if (group->collectives) {
        collectives_reduce_scatter(group->collectives, x);
        return;
    }
    // MPI would put the part at the beginning; whole sums in place cost the same on one machine.
    (void)part_of(group, x);
    process_group_all_reduce(group, x);
}

void process_group_all_gather(ProcessGroup *group, Tensor *x) {
    if (group->count == 1) return;
    if (group->collectives) {
        collectives_all_gather(group->collectives, x);
        return;
    }
    MPI_Iallgather(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, x->data, (int)part_of(group, x), MPI_FLOAT,
                   group->sums, new_request(group, x));
}

void process_group_progress(ProcessGroup *group) {
    int done;
    if (group->request_count)
        MPI_Testall(group->request_count, group->requests, &done, MPI_STATUSES_IGNORE);
}

static bool wait_for_gpus(ProcessGroup *group, const char *what, Error *error) {
    arrive(group);
    if (collectives_wait(group->collectives, group->timeout, error)) return true;
    group->broken = true;
    if (group->rank == 0) {
        char ranks[128];
        note_reports(group);
        if (name_ranks(ranks, sizeof ranks, group, is_behind, NULL))
            return error_context(error, "%s, to which %s did not come", what, ranks);
    }
    return error_context(error, "rank %d, %s", group->rank, what);
}

bool process_group_wait(ProcessGroup *group, const char *what, Error *error) {
    if (group->count == 1) return true;
    if (group->collectives) return wait_for_gpus(group, what, error);
    bool ok = wait_all(group, group->requests, group->request_count, what, error);
    group->request_count = 0;
    return ok;
}
