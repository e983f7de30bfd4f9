/// For kernels that are executed on the host: what ops/cuda/warpgroup_matrix.h asks of a warpgroup,
/// and barriers in shared memory.
#pragma once
#include "cuda_bf16.h"

/// Bytes from where the multiprocessor's shared memory begins.
unsigned cuda_on_cpu_shared_address(const void *pointer);

/// 8 bytes of shared memory; copies arrive as late as they may, when somebody waits for them.
void cuda_on_cpu_barrier_open(uint64_t *barrier, unsigned arrivals);
void cuda_on_cpu_barrier_arrive(uint64_t *barrier);
void cuda_on_cpu_barrier_arrive_with_copies(uint64_t *barrier);
void cuda_on_cpu_barrier_wait(uint64_t *barrier, unsigned parity);

void cuda_on_cpu_set_registers(int count);

/// What others wrote, and the thread has waited for, is not seen by products before.
void cuda_on_cpu_show_to_products();

/// Products are computed when they are waited for, with what shared memory holds then. Until then
/// their results are NaN.
void cuda_on_cpu_products_begin();
void cuda_on_cpu_products_commit();
void cuda_on_cpu_products_wait(int groups);
/// wgmma.m64nNk16 of bfloat16 with sums in float32. `a` NULL: rows in shared memory at a_address,
/// and b of rows; else the lane's registers, and b transposed. Addresses are the PTX ISA's matrix
/// descriptors, with swizzling by 128 bytes.
void cuda_on_cpu_wgmma(float *c, int n, const unsigned *a, uint64_t a_address, uint64_t b_address,
                       bool add);
