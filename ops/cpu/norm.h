/// Inside the CPU kernels: what the two files of norms share.
#pragma once
#include "ops/cpu/cpu.h"

/// Rows are worked on in buffers on the stack, 64 KiB each: twice as wide as the widest published
/// Llama.
enum { NORM_MAX_COLUMNS = 16384 };

static inline int64_t norm_columns(const Tensor *x) {
    int64_t columns = tensor_columns(x);
    CHECK(columns >= 1 && columns <= NORM_MAX_COLUMNS, "norm over %s: up to %d channels",
          tensor_describe(x), NORM_MAX_COLUMNS);
    return columns;
}
