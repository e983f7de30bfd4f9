/// Inside the CUDA kernels only: what a warp does together on tensor cores, as the PTX ISA defines
/// it for sm_80 and newer (ldmatrix, mma.m16n8k16, cp.async).
///
/// A matrix of 8 x 8 bfloat16 takes one register a lane: lane l holds elements [l / 4][2 (l % 4)]
/// and the one beside it, the first in the lower half. A product's operands are of such matrices:
///
///   a, 16 x 16: a[0] top left, a[1] bottom left, a[2] top right, a[3] bottom right
///   b, 16 x 8, transposed (its columns are rows): b0 the first 8 of the 16, b1 the rest
///   c, 16 x 8 float: c[0] and c[1] of the upper half's row l / 4, columns 2 (l % 4) and the next;
///   c[2] and c[3] of the lower half's
///
/// Whole warps call all but the copies.
#pragma once
#include "ops/cuda/cuda.h"

#include <cstring>

#ifdef __CUDACC__

static __device__ __forceinline__ unsigned shared_address(const void *pointer) {
    return (unsigned)__cvta_generic_to_shared(pointer);
}

/// Four matrices from shared memory. Lanes 8 i to 8 i + 7 give the addresses of matrix i's rows,
/// each a multiple of 16 bytes.
static __device__ __forceinline__ void load_matrices(unsigned (&matrices)[4], const bfloat16 *row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(matrices[0]), "=r"(matrices[1]), "=r"(matrices[2]), "=r"(matrices[3])
                 : "r"(shared_address(row))
                 : "memory");
}

/// The same, each matrix transposed.
static __device__ __forceinline__ void load_transposed(unsigned (&matrices)[4],
                                                       const bfloat16 *row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(matrices[0]), "=r"(matrices[1]), "=r"(matrices[2]), "=r"(matrices[3])
                 : "r"(shared_address(row))
                 : "memory");
}

/// c += a b
static __device__ __forceinline__ void multiply_add(float (&c)[4], const unsigned (&a)[4],
                                                    unsigned b0, unsigned b1) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, "
        "{%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

/// 16 bytes (both addresses are multiples of 16) from global to shared memory, behind the thread's
/// back, or zeros in their place; `from` must be an address in either case.
static __device__ __forceinline__ void copy_async(void *to, const void *from, bool exists) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(to)),
                 "l"(__cvta_generic_to_global(from)), "r"(exists ? 16 : 0)
                 : "memory");
}

/// Until the thread's copies are done. A barrier shows them to others.
static __device__ __forceinline__ void wait_for_copies() {
    asm volatile("cp.async.wait_all;" ::: "memory");
}

#else
#include <warp_instructions.h>

static inline void load_matrices(unsigned (&matrices)[4], const bfloat16 *row) {
    cuda_on_cpu_ldmatrix(matrices, row, false);
}
static inline void load_transposed(unsigned (&matrices)[4], const bfloat16 *row) {
    cuda_on_cpu_ldmatrix(matrices, row, true);
}
static inline void multiply_add(float (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
    cuda_on_cpu_mma(c, a, b0, b1);
}
static inline void copy_async(void *to, const void *from, bool exists) {
    cuda_on_cpu_copy_async(to, from, exists);
}
static inline void wait_for_copies() { cuda_on_cpu_wait_for_copies(); }
#endif

/// Two numbers rounded to bfloat16, as a matrix holds them. What rounding left stays in x and y.
static __device__ __forceinline__ unsigned round_pair(float &x, float &y) {
    __nv_bfloat162 pair = __floats2bfloat162_rn(x, y);
    x -= __low2float(pair);
    y -= __high2float(pair);
    unsigned bits;
    memcpy(&bits, &pair, sizeof bits);
    return bits;
}
