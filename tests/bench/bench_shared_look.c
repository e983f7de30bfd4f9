// rooms: train eval models ops checkpoints data autograd
// How long data take to open whose image files are looked at by every process, and by the processes
// of a machine together.
//
//   mpirun -n N bench_shared_look FILE IMAGE_FOLDER
//
// In turns, five times each; columns: the medians, of the slowest process, and their ratio.
#include "autograd/clock.h"
#include "data/llava_dataset.h"
#include "train/group/shared_look.h"

#include <stdio.h>
#include <stdlib.h>

enum { TURNS = 5 };

/// Seconds until all ranks have opened the data; negative: some rank could not.
static double open_once(ProcessGroup *group, char **argv, bool together, Error *error) {
    bool stopping = false;
    SharedLook look = {group, "the data", &stopping};
    const ImageSharers sharers = shared_look_sharers(&look);
    const DatasetFile file = {argv[1], argv[2], 1};
    if (!process_group_agree(group, true, error)) return -1;
    double seconds = -clock_seconds();
    Dataset *dataset =
        dataset_open_shared(&file, 1, MISSING_IMAGE_FAIL, together ? &sharers : NULL, error);
    seconds += clock_seconds();
    const bool ok = process_group_agree(group, dataset != NULL, error) &&
                    process_group_max(group, &seconds, 1, error);
    dataset_close(dataset);
    return ok ? seconds : -1;
}

static int compare(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static bool measure(ProcessGroup *group, char **argv, Error *error) {
    double seconds[2][TURNS];
    for (int turn = 0; turn < TURNS; turn++)
        for (int together = 0; together < 2; together++) {
            seconds[together][turn] = open_once(group, argv, together, error);
            if (seconds[together][turn] < 0) return false;
        }
    for (int together = 0; together < 2; together++)
        qsort(seconds[together], TURNS, sizeof **seconds, compare);
    const double alone = seconds[0][TURNS / 2], shared = seconds[1][TURNS / 2];
    if (process_rank(group) == 0)
        printf("%d processes: each at all files %.2f s, together %.2f s, ratio %.2f\n",
               process_count(group), alone, shared, shared / alone);
    return true;
}

int main(int argc, char **argv) {
    Error error = {0};
    if (argc != 3) {
        fprintf(stderr, "usage: mpirun -n N bench_shared_look FILE IMAGE_FOLDER\n");
        return 2;
    }
    ProcessGroup *group = process_group_open(60, &error);
    const bool ok = group && measure(group, argv, &error);
    if (!ok) fprintf(stderr, "bench_shared_look: %s\n", error.message);
    process_group_close(group);
    return !ok;
}
