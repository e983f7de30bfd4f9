/// Inside the kernels of attention in tiles: from scores to softmax weights, 16 at a time.
///
/// Products take BFLOAT16, and weights must stay the FLOAT32 that they are: each is split into
/// three numbers of 8 bits, which together are its 24: its upper 16 bits, those of the rest, and
/// what then is left. The products are exact and summed in FLOAT32, the parts one after the other,
/// so that results carry the roundings of sums of so many terms and nothing else. (Parts below
/// 2^-126 are lost, next to the 1 that the largest weights are.) Two parts, rounded, would be
/// within 2^-17 of a weight: a sum of few terms that cancel has fewer errors than that.
#pragma once
#include "ops/cpu/attention_part.h"
#include "ops/cpu/transpose_words.h"

#include <immintrin.h>

/// e^x is 2^(x log2(e)).
#define LOG2_E 1.44269504f
#define LN_2 0.693147181f

/// 2^x where `wanted`, otherwise 0. Relative error 2^-23 beside that of x; no denormal numbers:
/// below 2^-126 it is that. NaN stays NaN. A polynomial of degree 6 for 2^f, |f| <= 1/2: minimax,
/// relative error 2.6e-9.
static inline __m512 powers_of_two(__m512 x, __mmask16 wanted) {
    x = _mm512_max_ps(_mm512_set1_ps(-126.0f), x);
    __m512 n = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    __m512 f = _mm512_sub_ps(x, n);
    __m512 p = _mm512_set1_ps(1.55946778e-4f);
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(1.34066434e-3f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(9.61769279e-3f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(5.55031039e-2f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(2.40226522e-1f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(6.93147242e-1f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(1.0f));
    return _mm512_maskz_scalef_ps(wanted, p, n);
}

static inline uint32_t first_of_32(int64_t count) {
    return count >= 32 ? ~0u : count <= 0 ? 0 : (1u << count) - 1;
}

/// Which of the 32 keys of a block from `first` a row sees.
static inline __mmask32 keys_seen(KeyRange seen, int64_t first) {
    return first_of_32(seen.end - first) & ~first_of_32(seen.first - first);
}

/// x without its lower 16 bits: a number that BFLOAT16 has, and what is left has 16 bits.
static inline __m512 upper_part(__m512 x) {
    return _mm512_castsi512_ps(
        _mm512_and_si512(_mm512_castps_si512(x), _mm512_set1_epi32((int)0xffff0000)));
}

/// The parts of a weight, each with lower 16 bits of zero.
typedef struct Split {
    __m512 parts[3];
} Split;

static inline Split split(__m512 weight) {
    Split s;
    s.parts[0] = upper_part(weight);
    __m512 rest = _mm512_sub_ps(weight, s.parts[0]);
    s.parts[1] = upper_part(rest);
    s.parts[2] = _mm512_sub_ps(rest, s.parts[1]);
    return s;
}

/// 32 floats, rounded.
static inline __m512i in_a_row(__m512 first, __m512 second) {
    return (__m512i)_mm512_cvtne2ps_pbh(second, first);
}

/// Pairs of the upper 16 bits of two rows.
static inline __m512i in_pairs(__m512 row, __m512 next) {
    return _mm512_mask_blend_epi16(0xaaaaaaaau, _mm512_srli_epi32(_mm512_castps_si512(row), 16),
                                   _mm512_castps_si512(next));
}

/// Rounded to what BFLOAT16 has.
static inline __m512 rounded(__m512 x) {
    return upper_part(
        _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(x), _mm512_set1_epi32(0x8000))));
}
