/// Inside the CPU kernels: elementary functions of floats in straight-line code, so that loops over
/// them vectorise. Errors are given in units of the last place (ulp) of the result. NaN goes
/// through all of them.
#pragma once
#include <math.h>
#include <stdint.h>

static inline float float_from_bits(int32_t bits) {
    union {
        int32_t bits;
        float number;
    } u = {bits};
    return u.number;
}

static inline int32_t bits_from_float(float number) {
    union {
        float number;
        int32_t bits;
    } u = {number};
    return u.bits;
}

/// 2^n for -126 <= n <= 127; something for any other n, so that a NaN can pass by.
static inline float power_of_two(int32_t n) {
    return float_from_bits((int32_t)((uint32_t)(n + 127) << 23));
}

/// e^x, 1 ulp; infinity above 88.73, denormal numbers and then 0 below -87.34.
/// x = n ln 2 + r, e^x = 2^n e^r with a minimax polynomial (degree 6, relative error 2e-9) for e^r.
static inline float fast_exp(float x) {
    const float log2_e = 1.44269504f, ln2_high = 0.693359375f, ln2_low = -2.12194440e-4f;
    const float round_shift =
        12582912.0f; // 1.5 * 2^23: adding it rounds to an integer in the low bits
    x = x < -104.0f ? -104.0f : x;
    x = x > 89.0f ? 89.0f : x;
    float shifted = x * log2_e + round_shift;
    float n = shifted - round_shift;
    float r = (x - n * ln2_high) - n * ln2_low;
    float p = 1.38368767e-3f;
    p = p * r + 8.37481649e-3f;
    p = p * r + 4.16682250e-2f;
    p = p * r + 1.66664202e-1f;
    p = p * r + 4.99999921e-1f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    // Two factors: 2^n alone is not a float at the ends of the range.
    int32_t exponent = bits_from_float(shifted) - bits_from_float(round_shift);
    int32_t half = exponent >> 1;
    return p * power_of_two(half) * power_of_two(exponent - half);
}

/// 1 / (1 + e^-x), 2 ulp.
static inline float fast_sigmoid(float x) { return 1.0f / (1.0f + fast_exp(-x)); }

/// The standard normal distribution: density phi(x) and cumulative Phi(x).
typedef struct Normal {
    float density, cumulative;
} Normal;

/// Phi(-z) is e^(-z^2/2) times a function that falls from 1/2 like 1/z: a polynomial of degree 9 in
/// 1 / (1 + z/4), minimax on 0 <= z <= 14 with relative error 1.4e-8; further out e^(-z^2/2) is 0
/// in float. The tail keeps its relative accuracy (z^2/2 ulp, from rounding z^2), which 1 + erf
/// would lose to cancellation.
static inline Normal fast_normal(float x) {
    float z = fabsf(x);
    float e = fast_exp(-0.5f * z * z);
    float t = 1.0f / (1.0f + 0.25f * z);
    float p = 3.39465087e-2f;
    p = p * t - 1.96176192e-1f;
    p = p * t + 3.94998855e-1f;
    p = p * t - 3.33465930e-1f;
    p = p * t + 3.04484220e-1f;
    p = p * t - 2.03826866e-2f;
    p = p * t + 1.21567486e-1f;
    p = p * t + 9.48203443e-2f;
    p = p * t + 1.00228988e-1f;
    p = p * t - 2.15995593e-5f;
    float tail = e * p;
    return (Normal){0.398942280f * e, x > 0.0f ? 1.0f - tail : tail};
}
