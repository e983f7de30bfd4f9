/// bfloat16 for kernels that are executed on the host.
#pragma once
#include "cuda_runtime.h"

struct __nv_bfloat16_raw {
    unsigned short x;
};

/// Only conversions: kernels compute in float.
struct __nv_bfloat16 {
    unsigned short bits;
    __nv_bfloat16() = default; // undefined, as on the device
    explicit __nv_bfloat16(float value) { *this = __nv_bfloat16(value, 0); }
    __nv_bfloat16(__nv_bfloat16_raw raw) : bits(raw.x) {}
    explicit operator float() const { return cuda_on_cpu_bits<float>((unsigned)bits << 16); }

  private:
    __nv_bfloat16(float value, int) {
        unsigned x = cuda_on_cpu_bits<unsigned>(value);
        // to nearest even; a NaN stays one
        bits = value != value ? 0x7fff : (unsigned short)((x + 0x7fff + (x >> 16 & 1)) >> 16);
    }
};

struct alignas(4) __nv_bfloat162 {
    __nv_bfloat16 x, y;
};

static inline __nv_bfloat16 __float2bfloat16(float x) { return __nv_bfloat16(x); }
static inline __nv_bfloat16 __float2bfloat16_rn(float x) { return __nv_bfloat16(x); }
static inline float __bfloat162float(__nv_bfloat16 x) { return (float)x; }
static inline __nv_bfloat162 __floats2bfloat162_rn(float x, float y) {
    return {__nv_bfloat16(x), __nv_bfloat16(y)};
}
static inline __nv_bfloat162 __float22bfloat162_rn(float2 a) {
    return __floats2bfloat162_rn(a.x, a.y);
}
static inline float2 __bfloat1622float2(__nv_bfloat162 a) { return {(float)a.x, (float)a.y}; }
static inline float __low2float(__nv_bfloat162 a) { return (float)a.x; }
static inline float __high2float(__nv_bfloat162 a) { return (float)a.y; }
static inline unsigned short __bfloat16_as_ushort(__nv_bfloat16 x) { return x.bits; }
static inline __nv_bfloat16 __ushort_as_bfloat16(unsigned short x) { return __nv_bfloat16_raw{x}; }
