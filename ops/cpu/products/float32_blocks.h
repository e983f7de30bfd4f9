/// Inside the CPU kernels: float32_product() as compiled for an x86-64 level.
#pragma once
#include "ops/cpu/cpu.h"
#include "ops/cpu/onednn.h"

/// c (+)= a b + bias; shape->type is left out of account. `memory`: as many bytes as
/// float32_blocks_bytes() says, at a cache line.
#define DECLARE_FLOAT32_BLOCKS(level)                                                   \
    void float32_blocks_##level(const Matmul *shape, ProductMatrix a, ProductMatrix b,  \
                                const float *bias, char *c, int threads, char *memory); \
    size_t float32_blocks_bytes_##level(const Matmul *shape, int threads);

DECLARE_FLOAT32_BLOCKS(v3)
DECLARE_FLOAT32_BLOCKS(v4)
