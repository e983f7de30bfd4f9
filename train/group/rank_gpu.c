#include "train/group/rank_gpu.h"

#include "train/group/rank_watch.h"

#include <stdlib.h>
#include <string.h>

static bool is_same_gpu(const RankGpu *a, const RankGpu *b) {
    return a->machine == b->machine && a->bus_id[0] && !strcmp(a->bus_id, b->bus_id);
}

/// How many GPUs the ranks of a machine have between them.
static int count_gpus(const RankGpu *gpus, int count, int machine) {
    int found = 0;
    for (int r = 0; r < count; r++) {
        bool counts = gpus[r].machine == machine && gpus[r].bus_id[0];
        for (int earlier = 0; earlier < r; earlier++)
            counts = counts && !is_same_gpu(&gpus[earlier], &gpus[r]);
        found += counts;
    }
    return found;
}

bool gpus_are_distinct(const RankGpu *gpus, int count, Error *error) {
    bool *sharing = checked_calloc((unsigned long)count, sizeof *sharing);
    char ranks[128];
    bool shared = false;
    for (int r = 0; r < count && !shared; r++) {
        for (int other = 0; other < count; other++)
            sharing[other] = is_same_gpu(&gpus[r], &gpus[other]);
        shared = rank_names(ranks, sizeof ranks, sharing, count) > 1;
        if (!shared) continue;
        int there = count_gpus(gpus, count, gpus[r].machine);
        error_set(error,
                  "%s would compute on the same GPU, %s of %s, where the processes see %d GPU%s in "
                  "all; start one process for each GPU (--processes %d), or set training.device: "
                  "cpu",
                  ranks, gpus[r].bus_id, gpus[r].host, there, there == 1 ? "" : "s", there);
        error->is_configuration = true;
    }
    free(sharing);
    return !shared;
}
