/// Inside the CPU kernels: tensors of either floating type seen as short runs of floats that stay
/// in the first-level cache.
///
/// A kernel reads a chunk, computes in float, and writes the chunk back. For FLOAT32 the "chunk" is
/// the tensor's own memory and nothing is copied; for BFLOAT16 it is a buffer of the caller's.
#pragma once
#include "ops/kernels.h"

enum {
    /// floats, 4 KiB
    CHUNK = 1024,
    /// Tensors with fewer elements are done by the calling thread: waking the others costs a few
    /// microseconds, in which
    /// one core moves about as much.
    SERIAL_BELOW = 1 << 15,
};

#define PARALLEL_PRAGMA_(text) _Pragma(#text)
/// Shares the iterations of the next loop among the threads if `elements` are worth it.
#define PARALLEL_FOR(elements) \
    PARALLEL_PRAGMA_(omp parallel for schedule(static) if ((elements) >= SERIAL_BELOW))

static inline int64_t chunk_count(int64_t n, int64_t chunk) { return (n + chunk - 1) / chunk; }
static inline int64_t chunk_length(int64_t n, int64_t chunk, int64_t i) {
    return n - i * chunk < chunk ? n - i * chunk : chunk;
}

static inline void floats_from_bfloat16(const uint16_t *restrict in, int64_t n,
                                        float *restrict out) {
    for (int64_t i = 0; i < n; i++) out[i] = bfloat16_to_float(in[i]);
}

/// float_to_bfloat16() without a branch, so that it vectorises.
static inline uint16_t round_to_bfloat16(float value) {
    union {
        float number;
        uint32_t bits;
    } u = {value};
    uint32_t rounded = u.bits + 0x7fffu + ((u.bits >> 16) & 1u), quiet = u.bits | 0x400000u;
    return (uint16_t)(((int32_t)(u.bits & 0x7fffffffu) > 0x7f800000 ? quiet : rounded) >> 16);
}

static inline void bfloat16_from_floats(const float *restrict in, int64_t n,
                                        uint16_t *restrict out) {
    for (int64_t i = 0; i < n; i++) out[i] = round_to_bfloat16(in[i]);
}

/// Elements first .. first+n of x as floats: x's own memory, or `buffer` (n floats) filled.
static inline const float *chunk_read(const Tensor *x, int64_t first, int64_t n, float *buffer) {
    if (x->dtype == FLOAT32) return (const float *)x->data + first;
    floats_from_bfloat16((const uint16_t *)x->data + first, n, buffer);
    return buffer;
}

/// Where to put elements first.. of y: y's own memory, or `buffer`.
static inline float *chunk_target(Tensor *y, int64_t first, float *buffer) {
    return y->dtype == FLOAT32 ? (float *)y->data + first : buffer;
}

/// Finishes what chunk_target() began.
static inline void chunk_write(Tensor *y, int64_t first, int64_t n, const float *target) {
    if (y->dtype == BFLOAT16) bfloat16_from_floats(target, n, (uint16_t *)y->data + first);
}
