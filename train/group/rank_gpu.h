/// What the ranks of a job compute on.
#pragma once
#include "autograd/error.h"

typedef struct RankGpu {
    /// the lowest rank on it
    int machine;
    /// bus_id: "" on the CPU
    char bus_id[32], host[64];
} RankGpu;

/// Whether no two of the ranks, [count], would compute on the same GPU. The error names the ranks
/// that share the first one that is shared.
bool gpus_are_distinct(const RankGpu *gpus, int count, Error *error);
