/// Inside the benchmarks: what the networks are fed with.
#pragma once
#include "autograd/philox.h"
#include "autograd/tensor.h"

#include <stdlib.h>

/// Standard normal numbers, FLOAT32, element i a function of stream and i; drawn by the processor,
/// which takes its time.
static Tensor *normal_tensor(Device *device, int rank, const int64_t *shape, uint64_t stream) {
    enum { CHUNK = 1 << 16 };
    Tensor *x = tensor_new(device, FLOAT32, rank, shape);
    const int64_t count = tensor_numel(x);
    float *values = checked_malloc((size_t)count * sizeof *values);
#pragma omp parallel for
    for (int64_t i = 0; i < count; i += CHUNK)
        philox_normal(1, stream, (uint64_t)i, values + i, count - i < CHUNK ? count - i : CHUNK);
    tensor_fill_from_float(x, values);
    free(values);
    return x;
}
