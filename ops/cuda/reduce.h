/// Inside the CUDA kernels only: what kernels that add up whole tensors share.
#pragma once
#include "ops/cuda/elements.h"

/// Whether all the addresses (NULL allowed) are multiples of 16, so that elements may be moved 16
/// bytes at a time.
template <typename... Pointer> static inline bool all_aligned(Pointer... pointers) {
    return ((0 | ... | reinterpret_cast<uintptr_t>(pointers)) % 16) == 0;
}

/// Elements of 16 bytes.
template <typename T> constexpr int pack_size = pack_length(sizeof(T));

/// N floats beside a pack of activations (a norm's weight): `from` is 16-byte aligned if N > 1;
/// NULL gives `otherwise`.
template <int N>
static __device__ __forceinline__ void load_floats(const float *from, float otherwise,
                                                   float (&to)[N]) {
    constexpr int step = N < 4 ? N : 4;
    UNROLL
    for (int i = 0; i < N; i += step) {
        Pack<float, step> pack;
        if (from) pack = *reinterpret_cast<const Pack<float, step> *>(from + i);
        UNROLL
        for (int j = 0; j < step; j++) to[i + j] = from ? pack.values[j] : otherwise;
    }
}

static __device__ __forceinline__ double warp_sum_double(double x) {
    for (int offset = 16; offset; offset /= 2) x += __shfl_xor_sync(0xffffffffu, x, offset);
    return x;
}

/// As block_sum().
static __device__ __forceinline__ double block_sum_double(double x) {
    SHARED_ARRAY(double, partial, 32);
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = (blockDim.x + 31) / 32;
    x = warp_sum_double(x);
    __syncthreads(); // the array may still be read from the call before
    if (lane == 0) partial[warp] = x;
    __syncthreads();
    return warp_sum_double(lane < warps ? partial[lane] : 0.0);
}
