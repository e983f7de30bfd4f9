/// Inside the CUDA kernels only: making a device of a GPU.
#pragma once
#include "ops/cuda/cuda.h"

/// The GPU of that number with its streams, memory and copies, without kernels; lives as long as
/// the process. NULL with a message if CUDA refuses it.
CudaDevice *cuda_device_new(int ordinal, const cudaDeviceProp &properties, Error *error);
