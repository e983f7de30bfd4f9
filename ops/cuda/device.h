/// Inside the CUDA kernels only: what makes a device of a GPU.
#pragma once
#include "autograd/transfer_buffer.h"
#include "ops/cuda/cuda.h"

/// The GPU of that number with its streams, memory and copies, without kernels; lives as long as
/// the process. NULL with a message if CUDA refuses it.
CudaDevice *cuda_device_new(int ordinal, const cudaDeviceProp &properties, Error *error);
/// The device, which this thread's calls are for from now on.
CudaDevice *cuda_device_use(Device *device);

/// Page-locked memory of the host, for batches.
extern const PinnedMemory cuda_pinned_memory;
