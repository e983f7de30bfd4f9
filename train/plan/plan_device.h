/// A device that counts: tensors have sizes but no content, and kernels compute nothing but take
/// the working memory that those of the processor or of a GPU would. A model of any size runs on it
/// in milliseconds, and what it needed is then known, because it is the model's own code that
/// asked.
#pragma once
#include "autograd/device.h"

#include <stdbool.h>

typedef struct PlanDeviceOptions {
    /// count as a GPU does
    bool cuda;
    /// the processor multiplies in BFLOAT16 (otherwise copies in FLOAT32 are made)
    bool has_bfloat16;
    /// of the processor, each with working memory of its own
    int threads;
} PlanDeviceOptions;

Device *plan_device_open(const PlanDeviceOptions *options);
/// Everything on it must have been freed.
void plan_device_close(Device *device);

/// Bytes asked for so far, not rounded to blocks, freed or not.
int64_t plan_device_requested(const Device *device);
/// The most that was taken from the system at a time since the device was opened: what is in use,
/// and freed blocks that are kept.
int64_t plan_device_held_peak(const Device *device);
