// Every wait is a loop of tests, in which train/group/rank_watch.h says when it is in vain: a rank
// that hangs must not hang the others.
//
// A wait that was in vain leaves requests behind that MPI cannot be made to forget: it may write
// into their buffers whenever it is called, and some transports without. So control messages are
// copies that such a wait leaves to MPI, tensors under way are not freed (gradient_buckets_free()),
// and a broken group does not call MPI again but to abort.
#include "train/group/process_group_internal.h"

#include "autograd/fnv.h"
#include "train/group/rank_gpu.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// ---- waiting

bool process_group_breaks(ProcessGroup *group, const Error *reason, Error *error) {
    group->broken = true;
    group->failure = *reason;
    if (error) *error = *reason;
    return false;
}

bool process_group_stays_broken(const ProcessGroup *group, Error *error) {
    if (error) *error = group->failure;
    return false;
}

bool process_group_wait_all(ProcessGroup *group, MPI_Request *requests, int count, const char *what,
                            Error *error) {
    int done = 0;
    Error reason = {0};
    rank_watch_begin(group->watch);
    while (true) {
        MPI_Testall(count, requests, &done, MPI_STATUSES_IGNORE);
        if (done) return true;
        if (!rank_watch_go_on(group->watch, what, &reason))
            return process_group_breaks(group, &reason, error);
        sched_yield();
    }
}

// ---- control messages

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
    if (!process_group_wait_all(group, request, 1, what, error)) return false;
    memcpy(to, message, size);
    free(message);
    return true;
}

static bool reduce_doubles(ProcessGroup *group, double *values, int count, MPI_Op operation,
                           Error *error) {
    if (group->count == 1) return true;
    if (group->broken) return process_group_stays_broken(group, error);
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
    if (group->broken) return process_group_stays_broken(group, error);
    size_t whole = (size_t)group->count * size;
    char *sent = message_of(mine, size), *message = message_of(NULL, whole);
    MPI_Request request;
    MPI_Iallgather(sent, (int)size, MPI_BYTE, message, (int)size, MPI_BYTE, group->control,
                   &request);
    if (!process_group_wait_all(group, &request, 1, what, error)) return false;
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
    if (group->broken) return process_group_stays_broken(group, error);
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
    if (group->broken) return ok ? process_group_stays_broken(group, error) : false;
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
    if (group->broken) return process_group_stays_broken(group, error);
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
