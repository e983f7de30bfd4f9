/// Inside amx/product.c only: a group of the panel times a group of the packed operand, up to 2 x 2
/// tiles of sums, and how a result is written.
///
/// One tile is loaded for each multiplication of 2 x 2 tiles, half of them from the panel, in the
/// first-level cache: 2 x 8 cycles of the load ports; the other half streams from the second: 2 x
/// 21 beside 64 cycles of the tile unit. The streaming ones say that they need not stay
/// (tileloaddt1), so that they do not push the panels of two threads, 16 KiB each, out of 48 KiB.
#pragma once
#include "ops/cpu/amx/product_operand.h"
#include "ops/cpu/amx/tiles.h"
#include "ops/cpu/products/product.h"

enum { TILE_FLOATS = TILE_BYTES / 4, GROUP_FLOATS = 4 * TILE_FLOATS, LANES = 16 };

/// Cache lines that are asked for while tiles are multiplied, into the second-level cache.
typedef struct Ahead {
    /// lines of the next panel, counted over its pieces
    const Slab *slab;
    int64_t line, end;
    /// rows of the result, a pointer to the next of them; bytes
    const char *c;
    int64_t c_row, c_bytes, c_rows;
} Ahead;

/// A file's matrix need not begin at a cache line, so a line of an operand may lie in two.
static inline void ask_for_line(const Slab *s, int64_t line) {
    const uint16_t *begin =
        piece_begin(s, line / PIECE_LINES) + line % PIECE_LINES * s->operand->line;
    _mm_prefetch((const char *)begin, _MM_HINT_T1);
    _mm_prefetch((const char *)begin + ROW_BYTES - 1, _MM_HINT_T1);
}

static inline void ask_ahead(Ahead *ahead, int64_t lines, int64_t rows) {
    for (int64_t end = least(ahead->line + lines, ahead->end); ahead->line < end; ahead->line++)
        ask_for_line(ahead->slab, ahead->line);
    for (; rows > 0 && ahead->c_rows > 0; rows--, ahead->c_rows--, ahead->c += ahead->c_row) {
        _mm_prefetch(ahead->c, _MM_HINT_T1);
        _mm_prefetch(ahead->c + ahead->c_bytes - 1, _MM_HINT_T1);
    }
}

typedef struct Group {
    /// [step][tiles of each]
    const char *panel, *packed;
    int64_t steps;
    /// GROUP_FLOATS: tile [2 l + r] has the sums of tile l of the left and r of the right
    float *sums;
    /// begins at zero
    bool first;
    Ahead ahead;
} Group;

/// The bodies of the kernels below; all but `g` are constants.
static inline __attribute__((always_inline)) void multiply_tiles(bool panel_left, int panel_tiles,
                                                                 int packed_tiles, Group *g) {
    const int lefts = panel_left ? panel_tiles : packed_tiles;
    const int rights = panel_left ? packed_tiles : panel_tiles;
    const char *panel = g->panel, *packed = g->packed;
    const int64_t steps = g->steps, rows = parts_of(g->ahead.c_rows, steps);
    const int64_t lines = parts_of(g->ahead.end - g->ahead.line, steps);
    float *sums = g->sums;
    if (g->first) {
        TILE_ZERO(0);
        TILE_ZERO(1);
        TILE_ZERO(2);
        TILE_ZERO(3);
    } else {
        TILE_LOAD(0, sums, ROW_BYTES);
        if (rights > 1) TILE_LOAD(1, sums + TILE_FLOATS, ROW_BYTES);
        if (lefts > 1) TILE_LOAD(2, sums + 2 * TILE_FLOATS, ROW_BYTES);
        if (lefts > 1 && rights > 1) TILE_LOAD(3, sums + 3 * TILE_FLOATS, ROW_BYTES);
    }
    for (int64_t step = 0; step < steps; step++) {
        ask_ahead(&g->ahead, lines, rows);
        if (panel_left) {
            TILE_LOAD(4, panel, ROW_BYTES);
            TILE_LOAD_ONCE(6, packed, ROW_BYTES);
        } else {
            TILE_LOAD_ONCE(4, packed, ROW_BYTES);
            TILE_LOAD(6, panel, ROW_BYTES);
        }
        TILE_MULTIPLY(0, 4, 6);
        if (rights > 1) {
            if (panel_left)
                TILE_LOAD_ONCE(7, packed + TILE_BYTES, ROW_BYTES);
            else
                TILE_LOAD(7, panel + TILE_BYTES, ROW_BYTES);
            TILE_MULTIPLY(1, 4, 7);
        }
        if (lefts > 1) {
            if (panel_left)
                TILE_LOAD(5, panel + TILE_BYTES, ROW_BYTES);
            else
                TILE_LOAD_ONCE(5, packed + TILE_BYTES, ROW_BYTES);
            TILE_MULTIPLY(2, 5, 6);
            if (rights > 1) TILE_MULTIPLY(3, 5, 7);
        }
        panel += panel_tiles * TILE_BYTES;
        packed += packed_tiles * TILE_BYTES;
    }
    TILE_STORE(0, sums, ROW_BYTES);
    if (rights > 1) TILE_STORE(1, sums + TILE_FLOATS, ROW_BYTES);
    if (lefts > 1) TILE_STORE(2, sums + 2 * TILE_FLOATS, ROW_BYTES);
    if (lefts > 1 && rights > 1) TILE_STORE(3, sums + 3 * TILE_FLOATS, ROW_BYTES);
}

static void left_2_by_2(Group *g) { multiply_tiles(true, 2, 2, g); }
static void left_2_by_1(Group *g) { multiply_tiles(true, 2, 1, g); }
static void left_1_by_2(Group *g) { multiply_tiles(true, 1, 2, g); }
static void left_1_by_1(Group *g) { multiply_tiles(true, 1, 1, g); }
static void right_2_by_2(Group *g) { multiply_tiles(false, 2, 2, g); }
static void right_2_by_1(Group *g) { multiply_tiles(false, 2, 1, g); }
static void right_1_by_2(Group *g) { multiply_tiles(false, 1, 2, g); }
static void right_1_by_1(Group *g) { multiply_tiles(false, 1, 1, g); }

/// [which side the panel is][its tiles - 1][the packed operand's tiles - 1]
static void (*const multiply_group[2][2][2])(Group *) = {
    {{right_1_by_1, right_1_by_2}, {right_2_by_1, right_2_by_2}},
    {{left_1_by_1, left_1_by_2}, {left_2_by_1, left_2_by_2}},
};

// ---- the result

static inline void transpose_tile(float *tile) {
    __m512i x[16];
#pragma GCC unroll 16
    for (int i = 0; i < 16; i++) x[i] = _mm512_load_si512(tile + i * LANES);
    transpose_words(x);
#pragma GCC unroll 16
    for (int i = 0; i < 16; i++) _mm512_store_si512(tile + i * LANES, x[i]);
}

/// Where a tile of sums begins that has these rows (0, 1) and columns of c; b_left: b was on the
/// left.
static inline int64_t tile_at(bool b_left, int64_t rows, int64_t columns) {
    return (b_left ? 2 * columns + rows : 2 * rows + columns) * TILE_FLOATS;
}

/// Sums that came out transposed, all tiles that there are.
static inline void transpose_group(int64_t rows, int64_t columns, float *sums) {
    for (int64_t i = 0; i < parts_of(rows, TILE_COUNT); i++)
        for (int64_t j = 0; j < parts_of(columns, TILE_COUNT); j++)
            transpose_tile(sums + tile_at(true, i, j));
}

static inline __m512 floats_of(__m256i bfloat16) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bfloat16), 16));
}

/// Up to 32 elements of c, those whose bit is set, become (or grow by) x.
static inline void write_floats(float *c, __mmask32 there, bool accumulate, __m512 x[2]) {
#pragma GCC unroll 2
    for (int i = 0; i < 2; i++) {
        __mmask16 mask = (__mmask16)(there >> (i * LANES));
        if (accumulate) x[i] = _mm512_add_ps(x[i], _mm512_maskz_loadu_ps(mask, c + i * LANES));
        _mm512_mask_storeu_ps(c + i * LANES, mask, x[i]);
    }
}

static inline void write_bfloat16(uint16_t *c, __mmask32 there, bool accumulate, __m512 x[2]) {
    if (accumulate) {
        __m512i before = _mm512_maskz_loadu_epi16(there, c);
        x[0] = _mm512_add_ps(x[0], floats_of(_mm512_castsi512_si256(before)));
        x[1] = _mm512_add_ps(x[1], floats_of(_mm512_extracti64x4_epi64(before, 1)));
    }
    _mm512_mask_storeu_epi16(c, there, (__m512i)_mm512_cvtne2ps_pbh(x[1], x[0]));
}

/// Writes up to 32 x 32 elements; c and bias (NULL allowed) point to the first.
static inline void write_group(const Matmul *shape, bool b_left, float *sums, const float *bias,
                               int64_t rows, int64_t columns, char *c) {
    const __mmask32 there = first_bits(columns);
    const int64_t next_tile = tile_at(b_left, 0, 1);
    __m512 more[2] = {_mm512_setzero_ps(), _mm512_setzero_ps()};
    for (int i = 0; bias && i < 2; i++)
        more[i] = _mm512_maskz_loadu_ps((__mmask16)(there >> (i * LANES)), bias + i * LANES);
    if (b_left) transpose_group(rows, columns, sums);
    for (int64_t row = 0; row < rows; row++) {
        const float *from = sums + tile_at(b_left, row / TILE_COUNT, 0) + row % TILE_COUNT * LANES;
        __m512 x[2] = {_mm512_add_ps(_mm512_load_ps(from), more[0]), more[1]};
        if (columns > LANES) x[1] = _mm512_add_ps(_mm512_load_ps(from + next_tile), more[1]);
        if (shape->c_type == FLOAT32)
            write_floats((float *)(void *)c, there, shape->accumulate, x);
        else
            write_bfloat16((uint16_t *)(void *)c, there, shape->accumulate, x);
        c += shape->n * (int64_t)dtype_size(shape->c_type);
    }
}
