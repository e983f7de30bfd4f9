/// Inside bfloat16_product.c only: a tile of the product, and how both matrices are packed for it.
/// Needs AVX512_BF16.
#pragma once
#include "ops/cpu/transpose_words.h"

#include <immintrin.h>
#include <stdint.h>

/// A pair of neighbours in k.
typedef uint32_t Word;

/// 14 x 2 vectors of sums, two of b and one of a are 31 of the 32 registers. A step of k is a pair,
/// of which a panel has BLOCK_STEPS at most.
enum { TILE_ROWS = 14, TILE_COLUMNS = 32, VECTOR = 16, STEP = 2, BLOCK_STEPS = 160 };

#include "ops/cpu/products/product_tile.h"

static inline __mmask32 first_bits(int64_t count) {
    return count >= 32 ? 0xffffffffu : count <= 0 ? 0 : (1u << count) - 1;
}

static inline __attribute__((always_inline)) void multiply_tile(const int rows, const Tile *t) {
    __m512 sum[TILE_ROWS][2];
    const uint32_t *a = t->a, *b = t->b;
#pragma GCC unroll 14
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 2
        for (int v = 0; v < 2; v++)
            sum[i][v] = t->first ? _mm512_setzero_ps()
                                 : _mm512_load_ps(t->sums + i * TILE_COLUMNS + v * VECTOR);
    int64_t left = t->steps;
#pragma GCC unroll 1
    for (int run = 0; run <= t->prefetches; run++) {
        Prefetch prefetch = prefetch_run(t, run, left);
        const uint32_t *end = b + prefetch.count * TILE_COLUMNS;
        left -= prefetch.count;
#pragma GCC unroll 1
        for (; b < end; b += TILE_COLUMNS, a += rows) {
            __m512bh right[2] = {(__m512bh)_mm512_load_si512(b),
                                 (__m512bh)_mm512_load_si512(b + VECTOR)};
            _mm_prefetch((const char *)(a + 16 * rows), _MM_HINT_T0);
            _mm_prefetch(prefetch.line, _MM_HINT_T0);
            prefetch.line += prefetch.step;
#pragma GCC unroll 14
            for (int i = 0; i < rows; i++) {
                __m512bh left_pair = (__m512bh)_mm512_set1_epi32((int)a[i]);
#pragma GCC unroll 2
                for (int v = 0; v < 2; v++)
                    sum[i][v] = _mm512_dpbf16_ps(sum[i][v], left_pair, right[v]);
            }
        }
    }
    __mmask32 columns = first_bits(t->columns);
    if (!t->last) {
#pragma GCC unroll 14
        for (int i = 0; i < rows; i++)
#pragma GCC unroll 2
            for (int v = 0; v < 2; v++)
                _mm512_store_ps(t->sums + i * TILE_COLUMNS + v * VECTOR, sum[i][v]);
    } else if (t->float32) {
#pragma GCC unroll 14
        for (int i = 0; i < rows; i++)
#pragma GCC unroll 2
            for (int v = 0; v < 2; v++)
                _mm512_mask_storeu_ps((float *)(void *)(t->c + i * t->c_row) + v * VECTOR,
                                      (__mmask16)(columns >> (v * VECTOR)), sum[i][v]);
    } else {
#pragma GCC unroll 14
        for (int i = 0; i < rows; i++)
            _mm512_mask_storeu_epi16(t->c + i * t->c_row, columns,
                                     (__m512i)_mm512_cvtne2ps_pbh(sum[i][1], sum[i][0]));
    }
}

// Heights that occur when 33 rows or more are cut into tiles of nearly equal heights.
enum { LOWEST_TILE = 10 };
static __attribute__((noinline)) void multiply_10(const Tile *t) { multiply_tile(10, t); }
static __attribute__((noinline)) void multiply_11(const Tile *t) { multiply_tile(11, t); }
static __attribute__((noinline)) void multiply_12(const Tile *t) { multiply_tile(12, t); }
static __attribute__((noinline)) void multiply_13(const Tile *t) { multiply_tile(13, t); }
static __attribute__((noinline)) void multiply_14(const Tile *t) { multiply_tile(14, t); }
static void (*const multiply_tile_of[])(const Tile *) = {multiply_10, multiply_11, multiply_12,
                                                         multiply_13, multiply_14};

// ---- packing

/// `rows` (up to 16) rows of up to 32 elements, side by side: pair p of row j to to[p * stride +
/// j], for j below `lanes`.
static inline __attribute__((always_inline)) void pack_square(const uint16_t *from, int64_t row,
                                                              int64_t rows, int64_t elements,
                                                              int64_t lanes, uint32_t *to,
                                                              int64_t stride) {
    __m512i x[16];
    __mmask32 there = first_bits(elements);
#pragma GCC unroll 16
    for (int j = 0; j < 16; j++)
        x[j] = j < rows ? _mm512_maskz_loadu_epi16(there, from + j * row) : _mm512_setzero_si512();
    transpose_words(x);
    __mmask16 wanted = (__mmask16)first_bits(lanes);
#pragma GCC unroll 16
    for (int p = 0; p < 16; p++)
        if (2 * p < elements) _mm512_mask_storeu_epi32(to + p * stride, wanted, x[p]);
}

/// `rows` rows of a (BFLOAT16, `row` bytes apart), from its first to its last of `elements`, as a
/// tile wants them.
static inline void pack_tile_rows(const char *from, DType type, int64_t row, int64_t rows,
                                  int64_t elements, uint32_t *to) {
    (void)type;
    for (int64_t i = 0; i < elements; i += 32)
        pack_square((const uint16_t *)(const void *)from + i, row / 2, rows,
                    elements - i < 32 ? elements - i : 32, rows, to + i / 2 * rows, rows);
}

static inline void pack_transposed_piece(const Panel *panel, int64_t piece) {
    int64_t half = 16 * (piece & 1), first = piece / 2 * 32, rows = panel->columns - half;
    const uint16_t *from = (const uint16_t *)(const void *)piece_begin(panel, piece);
    uint32_t *to = panel->to + first / 2 * TILE_COLUMNS + half;
    if (rows >= 16 && panel->depth - first >= 32)
        pack_square(from, panel->row / 2, 16, 32, 16, to, TILE_COLUMNS);
    else
        pack_square(from, panel->row / 2, rows, panel->depth - first, 16, to, TILE_COLUMNS);
}

static inline void pack_straight_piece(const Panel *panel, int64_t piece) {
    const __m512i one_to_16 =
        _mm512_set_epi16(47, 15, 46, 14, 45, 13, 44, 12, 43, 11, 42, 10, 41, 9, 40, 8, 39, 7, 38, 6,
                         37, 5, 36, 4, 35, 3, 34, 2, 33, 1, 32, 0);
    const __m512i the_others = _mm512_add_epi16(one_to_16, _mm512_set1_epi16(16));
    const __mmask32 there = first_bits(panel->columns);
    int64_t first = 16 * piece;
    const char *from = piece_begin(panel, piece);
    uint32_t *to = panel->to + first / 2 * TILE_COLUMNS;
    for (int64_t i = first; i < first + 16 && i < panel->depth; i += 2) {
        __m512i upper = _mm512_maskz_loadu_epi16(there, from), lower = _mm512_setzero_si512();
        if (i + 1 < panel->depth) lower = _mm512_maskz_loadu_epi16(there, from + panel->row);
        _mm512_store_si512(to, _mm512_permutex2var_epi16(upper, one_to_16, lower));
        _mm512_store_si512(to + VECTOR, _mm512_permutex2var_epi16(upper, the_others, lower));
        from += 2 * panel->row;
        to += TILE_COLUMNS;
    }
}

static inline void pack_piece(const Panel *panel, int64_t piece) {
    if (panel->transposed)
        pack_transposed_piece(panel, piece);
    else
        pack_straight_piece(panel, piece);
}
