// What a rank tells the others is how many waits it has come to. Who is behind the one that waits
// has yet to come; who is not, and waits too, repeats it. A rank that left the wait already because
// its own part was done is ahead or silent, and never behind.
#include "train/group/rank_watch.h"

#include "autograd/clock.h"

#include <errno.h>
#include <math.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { REPORT_TAG = 1, NAMED_RANKS = 8 };

/// How often a rank tells that it is there: seconds at most, and part of the time limit.
static const double REPORT_SECONDS = 5, REPORT_PART = 0.1;
/// Between two looks at a wait, in parts of the time limit: more, and this process itself was
/// suspended.
static const double SUSPENDED = 0.5;
/// Where every rank has come, and yet the wait does not end, in parts of the time limit.
static const double NETWORK_PATIENCE = 1.25;
/// How often the others are looked at during a wait: seconds at most, and part of the time limit.
static const double CHECK_SECONDS = 0.25, CHECK_PART = 0.05;
/// Seconds that are left to mpirun or srun to end the job when a process has ended: they tell more.
static const double GRACE = 3;

typedef struct Peer {
    /// that it has told to have come to
    int64_t waits;
    /// when it was last heard of
    double heard;
} Peer;

/// A process of this machine.
typedef struct Process {
    /// descriptor: -1: cannot be looked at
    int rank, descriptor;
    /// when that was seen; 0: it runs
    double ended;
} Process;

struct RankWatch {
    MPI_Comm control;
    int rank, count, process_count;
    double timeout;
    /// that this rank has come to
    int64_t waits;
    double began, looked, checked, reported;
    /// when a rank was last seen to have yet to come to this wait
    double complete;
    Peer *peers;
    Process *processes;
    /// [count], for messages
    bool *chosen;
};

// ---- processes of this machine

/// -1 with errno where it cannot be, ESRCH: it has ended.
static int open_process(pid_t pid) {
#ifdef SYS_pidfd_open
    return (int)syscall(SYS_pidfd_open, pid, 0);
#else
    (void)pid;
    errno = ENOSYS;
    return -1;
#endif
}

static void open_processes(RankWatch *watch, MPI_Comm node) {
    typedef struct Card {
        int64_t rank, pid, name_space;
    } Card;
    struct stat status = {0};
    if (stat("/proc/self/ns/pid", &status) != 0) status.st_ino = 0;
    Card mine = {watch->rank, getpid(), (int64_t)status.st_ino};
    MPI_Comm_size(node, &watch->process_count);
    size_t count = (size_t)watch->process_count;
    Card *cards = checked_calloc(count, sizeof *cards);
    watch->processes = checked_calloc(count, sizeof *watch->processes);
    MPI_Allgather(&mine, 3, MPI_INT64_T, cards, 3, MPI_INT64_T, node);
    for (size_t i = 0; i < count; i++) {
        bool known =
            mine.name_space && cards[i].name_space == mine.name_space && cards[i].rank != mine.rank;
        Process *process = &watch->processes[i];
        *process = (Process){.rank = (int)cards[i].rank, .descriptor = -1};
        if (!known) continue;
        process->descriptor = open_process((pid_t)cards[i].pid);
        if (process->descriptor < 0 && errno == ESRCH) process->ended = clock_seconds();
    }
    free(cards);
}

/// The rank of a process that ended a while ago, or -1.
static int ended_rank(RankWatch *watch, double time) {
    for (int i = 0; i < watch->process_count; i++) {
        Process *process = &watch->processes[i];
        struct pollfd ending = {.fd = process->descriptor, .events = POLLIN};
        if (process->ended == 0 && process->descriptor >= 0 && poll(&ending, 1, 0) == 1)
            process->ended = time;
        if (process->ended != 0 && time - process->ended > GRACE) return process->rank;
    }
    return -1;
}

// ---- the watch

RankWatch *rank_watch_open(MPI_Comm control, MPI_Comm node, double timeout) {
    RankWatch *watch = checked_calloc(1, sizeof *watch);
    watch->control = control;
    watch->timeout = timeout;
    MPI_Comm_rank(control, &watch->rank);
    MPI_Comm_size(control, &watch->count);
    watch->peers = checked_calloc((size_t)watch->count, sizeof *watch->peers);
    watch->chosen = checked_calloc((size_t)watch->count, sizeof *watch->chosen);
    open_processes(watch, node);
    return watch;
}

void rank_watch_close(RankWatch *watch) {
    if (!watch) return;
    for (int i = 0; i < watch->process_count; i++)
        if (watch->processes[i].descriptor >= 0) close(watch->processes[i].descriptor);
    free(watch->processes);
    free(watch->peers);
    free(watch->chosen);
    free(watch);
}

void rank_watch_set_timeout(RankWatch *watch, double timeout) { watch->timeout = timeout; }

static void note_reports(RankWatch *watch) {
    int arrived = 1;
    while (arrived) {
        MPI_Status status;
        MPI_Iprobe(MPI_ANY_SOURCE, REPORT_TAG, watch->control, &arrived, &status);
        if (!arrived) break;
        Peer *peer = &watch->peers[status.MPI_SOURCE];
        MPI_Recv(&peer->waits, 1, MPI_INT64_T, status.MPI_SOURCE, REPORT_TAG, watch->control,
                 MPI_STATUS_IGNORE);
        peer->heard = clock_seconds();
    }
}

/// Does not wait: a receiver may be gone. Until it is sent, the number may become a later one.
static void report(RankWatch *watch, double time) {
    watch->reported = time;
    for (int r = 0; r < watch->count; r++) {
        MPI_Request request;
        if (r == watch->rank) continue;
        MPI_Isend(&watch->waits, 1, MPI_INT64_T, r, REPORT_TAG, watch->control, &request);
        MPI_Request_free(&request);
    }
}

static void report_now_and_then(RankWatch *watch, double time) {
    if (time - watch->reported > fmin(REPORT_SECONDS, REPORT_PART * watch->timeout))
        report(watch, time);
}

void rank_watch_progress(RankWatch *watch) { report_now_and_then(watch, clock_seconds()); }

void rank_watch_begin(RankWatch *watch) {
    double time = clock_seconds();
    watch->waits++;
    watch->began = watch->complete = watch->looked = time;
    note_reports(watch);
    for (int r = 0; r < watch->count; r++)
        if (watch->peers[r].waits >= watch->waits) { // it has been waiting for a while
            report(watch, time);
            return;
        }
}

// ---- is it in vain?

int rank_names(char *text, size_t size, const bool *chosen, int count) {
    int ranks[NAMED_RANKS], found = 0;
    for (int r = 0; r < count; r++)
        if (chosen[r] && found++ < NAMED_RANKS) ranks[found - 1] = r;
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

static bool is_behind(const RankWatch *watch, int rank) {
    return rank != watch->rank && watch->peers[rank].waits < watch->waits;
}

/// Chooses the ranks that are behind (or those that are not) and have not been heard of for the
/// time limit, and names them.
static int name_silent(RankWatch *watch, bool behind, double time, char *text, size_t size) {
    double since = behind ? watch->began : watch->complete;
    for (int r = 0; r < watch->count; r++)
        watch->chosen[r] = r != watch->rank && is_behind(watch, r) == behind &&
                           time - fmax(since, watch->peers[r].heard) > watch->timeout;
    return rank_names(text, size, watch->chosen, watch->count);
}

/// How many have yet to come.
static int count_behind(const RankWatch *watch) {
    int count = 0;
    for (int r = 0; r < watch->count; r++) count += is_behind(watch, r);
    return count;
}

/// For whom; where nobody is behind, it may be one that has come and hangs since.
static bool is_in_vain(RankWatch *watch, double time, const char *what, Error *error) {
    char ranks[128];
    bool behind = count_behind(watch) > 0;
    if (behind) watch->complete = time;
    if (name_silent(watch, behind, time, ranks, sizeof ranks)) {
        error_set(error,
                  "waited %.0f seconds in vain for %s (%s): died or hangs; look at its output "
                  "above, or raise training.distributed_timeout if it is only slow",
                  time - watch->began, ranks, what);
        return true;
    }
    if (behind || time - watch->complete <= NETWORK_PATIENCE * watch->timeout) return false;
    error_set(error,
              "waited %.0f seconds in vain (%s) although every rank is there: the network does not "
              "carry it, or raise training.distributed_timeout if it is only slow",
              time - watch->began, what);
    return true;
}

bool rank_watch_go_on(RankWatch *watch, const char *what, Error *error) {
    double time = clock_seconds(), suspended = time - watch->looked;
    if (suspended > SUSPENDED * watch->timeout) {
        watch->began += suspended;
        watch->complete += suspended;
    }
    watch->looked = time;
    if (time - watch->checked < fmin(CHECK_SECONDS, CHECK_PART * watch->timeout)) return true;
    watch->checked = time;
    note_reports(watch);
    report_now_and_then(watch, time);
    int ended = ended_rank(watch, time);
    if (ended >= 0)
        return error_set(error,
                         "rank %d has died, or ended, while rank %d waited for it (%s); look at "
                         "its output above",
                         ended, watch->rank, what);
    return !is_in_vain(watch, time, what, error);
}
