// compare_checkpoints A B: exit 0 if the two training checkpoints hold the same weights, moments
// and position, bit by bit; 1 with what differs.
#include "checkpoints/training_state.h"
#include "tests/faults/checkpoint_difference.h"

#include <stdio.h>
#include <string.h>

static bool same_position(const char *a_path, const char *b_path, Error *error) {
    static const char *const names[] = {"position/step", "position/position", "position/tokens",
                                        "position/seed", "optimizer/steps"};
    StateFile *a = state_open(a_path, error), *b = a ? state_open(b_path, error) : NULL;
    bool ok = b != NULL;
    for (size_t i = 0; ok && i < sizeof names / sizeof *names; i++) {
        int64_t x, y;
        ok = state_read_attribute_int(a, names[i], &x, error) &&
             state_read_attribute_int(b, names[i], &y, error) &&
             (x == y ||
              error_set(error, "%s is %lld and %lld", names[i], (long long)x, (long long)y));
    }
    state_close(a);
    state_close(b);
    return ok;
}

static bool same_arrays(const char *a, const char *b, Error *error) {
    static const char *const parts[] = {"weights/", "optimizer/", "detectors/"};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        CheckpointDifference difference;
        if (!checkpoint_difference(a, b, parts[i], &difference, error)) return false;
        if (difference.unequal)
            return error_set(error, "%s: %lld of %lld elements differ, in the norm by %.3g of %.3g",
                             parts[i], (long long)difference.unequal,
                             (long long)difference.elements, difference.distance, difference.size);
    }
    return true;
}

int main(int argc, char **argv) {
    Error error = {0};
    if (argc != 3) {
        fprintf(stderr, "usage: compare_checkpoints A B\n");
        return 2;
    }
    if (same_position(argv[1], argv[2], &error) && same_arrays(argv[1], argv[2], &error)) return 0;
    fprintf(stderr, "%s\n", error.message);
    return 1;
}
