/// Standard normal numbers from random bits, the same to the last bit wherever they are computed:
/// by plain C, by vectors of any processor, and on a GPU.
///
/// Everything here is a sequence of single float operations, each rounded correctly as IEEE 754
/// asks, in one order. A compiler that fuses a product and a sum into one rounding changes the
/// result, so C files that include this header are compiled with -ffp-contract=off; in device code
/// the operations are spelled so that nothing fuses.
#pragma once
#include <math.h>
#include <stdint.h>

#ifdef __CUDACC__
#define NORMAL_FUNCTION static __host__ __device__ __forceinline__
#else
#define NORMAL_FUNCTION static inline
#endif

#ifdef __CUDA_ARCH__
#define NORMAL_MULTIPLY(a, b) __fmul_rn(a, b)
#define NORMAL_ADD(a, b) __fadd_rn(a, b)
#define NORMAL_SQRT(a) __fsqrt_rn(a)
#else
#define NORMAL_MULTIPLY(a, b) ((a) * (b))
#define NORMAL_ADD(a, b) ((a) + (b))
#define NORMAL_SQRT(a) sqrtf(a)
#endif

/// The coefficients are minimax fits, rounded to float; a step of Horner's scheme.
#define NORMAL_STEP(polynomial, x, coefficient) \
    NORMAL_ADD(NORMAL_MULTIPLY(polynomial, x), coefficient)

NORMAL_FUNCTION float normal_float_of_bits(int32_t bits) {
    union {
        int32_t bits;
        float number;
    } u;
    u.bits = bits;
    return u.number;
}

NORMAL_FUNCTION int32_t normal_bits_of_float(float number) {
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
NORMAL_FUNCTION float normal_log(float x) {
    const int32_t two_thirds = 0x3f2aaaab;
    // The first has 12 bits, so that its product with n is exact.
    const float ln2_high = 0.693359375f, ln2_low = -2.12194440e-4f;
    int32_t bits = normal_bits_of_float(x), n = (bits - two_thirds) >> 23;
    float r = NORMAL_ADD(normal_float_of_bits(bits - n * (1 << 23)), -1.0f);
    float square = NORMAL_MULTIPLY(r, r), exponent = (float)n;
    float p = -0.128916472f;
    p = NORMAL_STEP(p, r, 0.139844298f);
    p = NORMAL_STEP(p, r, -0.12184269f);
    p = NORMAL_STEP(p, r, 0.140058711f);
    p = NORMAL_STEP(p, r, -0.166804865f);
    p = NORMAL_STEP(p, r, 0.200104058f);
    p = NORMAL_STEP(p, r, -0.249997973f);
    p = NORMAL_STEP(p, r, 0.333332151f);
    p = NORMAL_MULTIPLY(NORMAL_MULTIPLY(p, r), square);
    p = NORMAL_ADD(p, NORMAL_MULTIPLY(exponent, ln2_low));
    p = NORMAL_ADD(p, NORMAL_MULTIPLY(square, -0.5f));
    return NORMAL_ADD(NORMAL_ADD(r, p), NORMAL_MULTIPLY(exponent, ln2_high));
}

/// The cosine and the sine of the part k / 2^24 of a turn, 0 <= k < 2^24, with relative errors
/// below 2.25 * 2^-24. The distance from the nearest quarter turn is exact; polynomials in its
/// square (relative errors 2^-28 and 2^-34) cover the eighth of a turn on either side.
NORMAL_FUNCTION void normal_cos_sin(int32_t k, float *cosine, float *sine) {
    int32_t quarter = (k + (1 << 21)) >> 22;
    float x = NORMAL_MULTIPLY((float)(k - quarter * (1 << 22)), 0x1p-24f);
    float z = NORMAL_MULTIPLY(x, x);
    // 2 pi is not a float; its remainder is in the polynomial's last coefficient.
    float s = -75.4020691f;
    s = NORMAL_STEP(s, z, 81.5925522f);
    s = NORMAL_STEP(s, z, -41.3416634f);
    s = NORMAL_STEP(s, z, -1.9415792e-07f);
    s = NORMAL_ADD(NORMAL_MULTIPLY(s, x), NORMAL_MULTIPLY(x, 6.28318548f));
    float c = 59.2459641f;
    c = NORMAL_STEP(c, z, -85.4437408f);
    c = NORMAL_STEP(c, z, 64.9393234f);
    c = NORMAL_STEP(c, z, -19.7392082f);
    c = NORMAL_STEP(c, z, 1.0f);
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
NORMAL_FUNCTION void normal_pair(uint32_t bits, uint32_t angle_bits, float *first, float *second) {
    float remainder = NORMAL_MULTIPLY((float)((1 << 24) - (int32_t)(bits >> 8)), 0x1p-24f);
    float radius = NORMAL_SQRT(NORMAL_MULTIPLY(-2.0f, normal_log(remainder)));
    float cosine, sine;
    normal_cos_sin((int32_t)(angle_bits >> 8), &cosine, &sine);
    *first = NORMAL_MULTIPLY(radius, cosine);
    *second = NORMAL_MULTIPLY(radius, sine);
}
