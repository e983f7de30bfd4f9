/// Inside the CUDA kernels only: elements of FLOAT8, in the arithmetic of float8_to_float() and its
/// kin (autograd/tensor.h).
#pragma once
#include "ops/cuda/cuda.h"

struct float8 {
    unsigned char bits;
};

/// Without the scale.
static __device__ __forceinline__ float to_float(float8 x) {
    unsigned magnitude = x.bits & 0x7fu, sign = (x.bits & 0x80u) << 24;
    float normal = __uint_as_float((magnitude << 20) + (120u << 23));
    float number = magnitude < 8 ? (float)magnitude * 0x1p-9f : normal;
    return __uint_as_float(__float_as_uint(number) | sign);
}

/// Round to nearest even; |x| <= FLOAT8_MAX.
template <> __device__ __forceinline__ float8 from_float<float8>(float x) {
    unsigned bits = __float_as_uint(x), sign = bits >> 24 & 0x80u;
    bits &= 0x7fffffffu;
    unsigned small = __float_as_uint(__uint_as_float(bits) + 0x1p14f) & 0xfu;
    unsigned rounded = (bits + 0x7ffffu + (bits >> 20 & 1u) - (120u << 23)) >> 20;
    return {(unsigned char)(sign | (bits < 0x3c800000u ? small : rounded))};
}

/// Queues the numbers of FLOAT8 rows as elements of `type`, which has them all.
void widen_rows(const Tensor *x, DType type, void *to);
