/// Standard normal numbers from random bits, the same to the last bit wherever they are computed,
/// by plain C or by vectors of any processor.
///
/// Everything here is a sequence of single float operations, each rounded correctly as IEEE 754
/// asks, in one order. A compiler that fuses a product and a sum into one rounding changes the
/// result, so files that include this header are compiled with -ffp-contract=off.
#pragma once
#include <math.h>
#include <stdint.h>

static inline float normal_float_of_bits(int32_t bits) {
    union {
        int32_t bits;
        float number;
    } u;
    u.bits = bits;
    return u.number;
}

static inline int32_t normal_bits_of_float(float number) {
    union {
        float number;
        int32_t bits;
    } u;
    u.number = number;
    return u.bits;
}

/// log(x) for a normal x > 0 with a relative error below 1.5 * 2^-24: x = 2^n (1 + r) with 1 + r in
/// [2/3, 4/3), and log(1 + r) = r - r^2/2 + r^3 p(r), where p of degree 7 leaves a relative error
/// of 2^-27.
static inline float normal_log(float x) {
    const int32_t two_thirds = 0x3f2aaaab;
    // The first has 12 bits, so that its product with n is exact.
    const float ln2_high = 0.693359375f, ln2_low = -2.12194440e-4f;
    int32_t bits = normal_bits_of_float(x), n = (bits - two_thirds) >> 23;
    float r = normal_float_of_bits(bits - n * (1 << 23)) - 1.0f;
    float square = r * r, exponent = (float)n;
    float p = -0.128916472f;
    p = p * r + 0.139844298f;
    p = p * r - 0.12184269f;
    p = p * r + 0.140058711f;
    p = p * r - 0.166804865f;
    p = p * r + 0.200104058f;
    p = p * r - 0.249997973f;
    p = p * r + 0.333332151f;
    p = p * r * square;
    p = p + exponent * ln2_low;
    p = p + square * -0.5f;
    return r + p + exponent * ln2_high;
}

/// The cosine and the sine of the part k / 2^24 of a turn, 0 <= k < 2^24, with relative errors
/// below 2.25 * 2^-24. The distance from the nearest quarter turn is exact; polynomials in its
/// square (relative errors 2^-28 and 2^-34) cover the eighth of a turn on either side.
static inline void normal_cos_sin(int32_t k, float *cosine, float *sine) {
    int32_t quarter = (k + (1 << 21)) >> 22;
    float x = (float)(k - quarter * (1 << 22)) * 0x1p-24f;
    float z = x * x;
    // 2 pi is not a float; its remainder is in the polynomial's last coefficient.
    float s = -75.4020691f;
    s = s * z + 81.5925522f;
    s = s * z - 41.3416634f;
    s = s * z - 1.9415792e-07f;
    s = s * x + x * 6.28318548f;
    float c = 59.2459641f;
    c = c * z - 85.4437408f;
    c = c * z + 64.9393234f;
    c = c * z - 19.7392082f;
    c = c * z + 1.0f;
    int32_t odd = -(quarter & 1), s_bits = normal_bits_of_float(s),
            c_bits = normal_bits_of_float(c);
    int32_t swapped = (s_bits ^ c_bits) & odd;
    // Bit 1 of the quarter turned into a sign: cos changes it in the quarters 1 and 2, sin in 2
    // and 3.
    int32_t cosine_sign = (int32_t)((uint32_t)((quarter + 1) & 2) << 30);
    int32_t sine_sign = (int32_t)((uint32_t)(quarter & 2) << 30);
    *cosine = normal_float_of_bits((c_bits ^ swapped) ^ cosine_sign);
    *sine = normal_float_of_bits((s_bits ^ swapped) ^ sine_sign);
}

/// Two independent standard normal numbers from two words of random bits [Box & Muller 1958]:
/// sqrt(-2 log(1 - u)) times the cosine and the sine of 2 pi u', where u and u' are the words' 24
/// high bits over 2^24. 1 - u lies in (0, 1], so both are finite, at most 5.77. Relative errors are
/// below 5 * 2^-24: half the logarithm's, the sine's, and those of the root and of the product.
static inline void normal_pair(uint32_t bits, uint32_t angle_bits, float *first, float *second) {
    float remainder = (float)((1 << 24) - (int32_t)(bits >> 8)) * 0x1p-24f;
    float radius = sqrtf(-2.0f * normal_log(remainder));
    float cosine, sine;
    normal_cos_sin((int32_t)(angle_bits >> 8), &cosine, &sine);
    *first = radius * cosine;
    *second = radius * sine;
}
