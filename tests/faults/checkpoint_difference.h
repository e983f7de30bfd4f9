/// How far two training checkpoints are apart.
#pragma once
#include "autograd/error.h"

#include <stdint.h>

typedef struct CheckpointDifference {
    /// unequal: elements whose bits differ
    int64_t arrays, elements, unequal;
    double distance,
        /// Euclidean norms of the float32 arrays: of the difference, and of the first
        size;
} CheckpointDifference;

/// Compares the arrays whose names begin with `prefix` ("": all). Fails if the two files do not
/// hold the same arrays, in the same shapes.
bool checkpoint_difference(const char *a, const char *b, const char *prefix,
                           CheckpointDifference *difference, Error *error);
