/// Every rank of a job keeps all trained weights, and computes the gradient's norm, clipping and
/// AdamW (with shard_optimizer: of its part) by itself. They stay the same as long as the same
/// kernels compute them; other kernels, those of another processor, round otherwise, and a fault of
/// a machine may change anything.
#pragma once
#include "autograd/parameters.h"
#include "train/group/process_group.h"

/// What decides how results are rounded: "cpu v4", "cuda NVIDIA H200".
typedef struct KernelsName {
    char text[128];
} KernelsName;

KernelsName replicas_kernels_name(const Device *device);

/// Warns, on rank 0, where ranks compute with other kernels, or GPUs of another model, than rank 0.
/// False if the group is broken.
bool replicas_compare_kernels(ProcessGroup *group, const Device *device, Error *error);

/// Whether the parameters are the same bits on every rank, by their checksums. Fails alike on every
/// rank, naming the first parameter that differs, where, and the step after which they were last
/// the same: *agreed_step, which becomes `step` if they are now.
bool replicas_agree(ProcessGroup *group, const ParameterSet *parameters, int64_t step,
                    int64_t *agreed_step, Error *error);
