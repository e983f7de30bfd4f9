/// Whether it makes sense to go on waiting for the other ranks of a job. Inside the process group
/// only.
///
/// A rank that waits says so to all others every few seconds, and so does one that works, whenever
/// it comes to a point of progress. A rank that does neither for `timeout` seconds of another's
/// wait has died or hangs. Processes of the same machine that have ended are noticed within
/// seconds, whatever the time limit. Only the thread that waits takes part, so a process that lives
/// but hangs is silent.
#pragma once
#include "autograd/error.h"

#include <mpi.h>
#include <stdint.h>

typedef struct RankWatch RankWatch;

/// Collective over `control`, which must outlive the watch; `node`: the ranks of this machine.
RankWatch *rank_watch_open(MPI_Comm control, MPI_Comm node, double timeout);
/// NULL is allowed.
void rank_watch_close(RankWatch *watch);
void rank_watch_set_timeout(RankWatch *watch, double timeout);

/// This rank works, and has come a bit further. Cheap.
void rank_watch_progress(RankWatch *watch);
/// This rank begins its next wait. All ranks come to the same waits in the same order.
void rank_watch_begin(RankWatch *watch);
/// To be asked all the time during a wait. False: it is in vain; the error says for whom. `what` is
/// waited for: "the gradients of step 12".
bool rank_watch_go_on(RankWatch *watch, const char *what, Error *error);

/// "rank 2", "ranks 1, 2 and 5": those of `count` ranks that are chosen, at most eight of them by
/// name. Returns how many there are.
int rank_names(char *text, size_t size, const bool *chosen, int count);
