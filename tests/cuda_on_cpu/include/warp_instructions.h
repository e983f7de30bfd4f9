/// For kernels that are executed on the host: what ops/cuda/warp_matrix.h asks of a warp. Lanes
/// hold the elements that the PTX ISA says.
#pragma once
#include "cuda_bf16.h"

/// Checks addresses as far as a GPU would need it. A lane's row is read when the lane gets here,
/// before it waits for the others: what another lane has yet to write is missing, as it can be on a
/// GPU.
void cuda_on_cpu_ldmatrix(unsigned (&matrices)[4], const __nv_bfloat16 *row, bool transposed);
void cuda_on_cpu_mma(float (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1);
/// What is copied comes when the thread waits for it, and not before.
void cuda_on_cpu_copy_async(void *to, const void *from, bool exists);
void cuda_on_cpu_wait_for_copies();
