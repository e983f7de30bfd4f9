/// Inside the gradient of attention in tiles: from scores to softmax weights and to the gradients
/// of scores, two rows and 32 keys at a time, and how these are stored for the products.
#pragma once
#include "ops/cpu/amx/attention_tiles.h"
#include "ops/cpu/amx/attention_weights.h"

/// 2 rows x 2 vectors of a band: softmax weights and gradients of scores of 32 keys.
typedef struct Square {
    __m512 weights[2][2], gradients[2][2];
} Square;

/// Two rows' constants.
typedef struct RowPair {
    __m512 log_sum_exp[2], delta[2];
    KeyRange seen[2];
} RowPair;

static inline Square square_of(const RowPair *rows, __m512 factor, const __mmask32 seen[2],
                               const float *scores, const float *gradients) {
    Square s;
#pragma GCC unroll 2
    for (int row = 0; row < 2; row++)
#pragma GCC unroll 2
        for (int i = 0; i < 2; i++) {
            int64_t at = i * STRIP + row * LANES;
            __mmask16 wanted = (__mmask16)(seen[row] >> (i * LANES));
            __m512 weight = powers_of_two(
                _mm512_fmsub_ps(_mm512_load_ps(scores + at), factor, rows->log_sum_exp[row]),
                wanted);
            __m512 gradient = _mm512_sub_ps(_mm512_load_ps(gradients + at), rows->delta[row]);
            s.weights[row][i] = weight;
            s.gradients[row][i] = _mm512_maskz_mul_ps(wanted, weight, gradient);
        }
    return s;
}

/// Two rows' weights, joined to pairs: a line of each strip for the first 16 keys, one for the
/// last.
static inline void store_weights(const Square *s, float *to) {
#pragma GCC unroll 2
    for (int i = 0; i < 2; i++) {
        Split row = split(s->weights[0][i]), next = split(s->weights[1][i]);
#pragma GCC unroll 3
        for (int part = 0; part < PARTS; part++)
            _mm512_store_si512(to + part * STRIP + i * LANES,
                               in_pairs(row.parts[part], next.parts[part]));
    }
}

/// Two rows' gradients of scores: in a row, and in the next strip joined to pairs.
static inline void store_gradients(const Square *s, float *to) {
    __m512 x[2][2];
    for (int row = 0; row < 2; row++) {
        for (int i = 0; i < 2; i++) x[row][i] = rounded(s->gradients[row][i]);
        _mm512_store_si512(to + row * LANES, in_a_row(x[row][0], x[row][1]));
    }
    for (int i = 0; i < 2; i++)
        _mm512_store_si512(to + STRIP + i * LANES, in_pairs(x[0][i], x[1][i]));
}
