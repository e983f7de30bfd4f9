/// Inside float32_blocks.c only: a tile of a FLOAT32 product, and how both matrices are packed for
/// it, widened where they are BFLOAT16. Written with GCC's vectors: each x86-64 level gets its own
/// width.
#pragma once
#include "ops/cpu/tile_product.h"

typedef float Word;

/// A step of k is one element; a panel is as large at each level.
enum { TILE_COLUMNS = PANEL, STEP = 1, BLOCK_STEPS = 5120 / TILE_COLUMNS };

#include "ops/cpu/products/product_tile.h"

/// A row of the result, to c: the columns that there are.
static inline __attribute__((always_inline)) void write_row(const Tile *t, const Lanes sum[2],
                                                            char *c) {
    if (t->float32 && t->columns >= TILE_COLUMNS) {
        *(Lanes *)(void *)c = sum[0];
        *(Lanes *)(void *)(c + sizeof(Lanes)) = sum[1];
        return;
    }
    int64_t columns = t->columns < TILE_COLUMNS ? t->columns : TILE_COLUMNS;
    float row[TILE_COLUMNS];
    *(Lanes *)row = sum[0];
    *(Lanes *)(row + LANES) = sum[1];
    if (t->float32)
        memcpy(c, row, (size_t)columns * sizeof *row);
    else
        bfloat16_from_floats(row, columns, (uint16_t *)(void *)c);
}

static inline __attribute__((always_inline)) void multiply_tile(const int rows, const Tile *t) {
    Lanes sum[TILE_ROWS][2];
    const float *a = t->a, *b = t->b;
#pragma GCC unroll 12
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 2
        for (int v = 0; v < 2; v++)
            sum[i][v] =
                t->first ? (Lanes){0.0f} : *(const Lanes *)(t->sums + i * TILE_COLUMNS + v * LANES);
    int64_t left = t->steps;
#pragma GCC unroll 1
    for (int run = 0; run <= t->prefetches; run++) {
        Prefetch prefetch = prefetch_run(t, run, left);
        const float *end = b + prefetch.count * TILE_COLUMNS;
        left -= prefetch.count;
#pragma GCC unroll 1
        for (; b < end; b += TILE_COLUMNS, a += rows) {
            Lanes right[2] = {*(const Lanes *)b, *(const Lanes *)(b + LANES)};
            __builtin_prefetch(a + 16 * rows, 0, 3);
            __builtin_prefetch(prefetch.line, 0, 3);
            prefetch.line += prefetch.step;
#pragma GCC unroll 12
            for (int i = 0; i < rows; i++)
#pragma GCC unroll 2
                for (int v = 0; v < 2; v++) sum[i][v] += a[i] * right[v];
        }
    }
    if (t->last) {
#pragma GCC unroll 12
        for (int i = 0; i < rows; i++) write_row(t, sum[i], t->c + i * t->c_row);
        return;
    }
#pragma GCC unroll 12
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 2
        for (int v = 0; v < 2; v++) *(Lanes *)(t->sums + i * TILE_COLUMNS + v * LANES) = sum[i][v];
}

#define TILE_OF(rows) \
    static __attribute__((noinline)) void multiply_##rows(const Tile *t) { multiply_tile(rows, t); }
enum { LOWEST_TILE = 1 };
TILE_OF(1)
TILE_OF(2)
TILE_OF(3)
TILE_OF(4)
TILE_OF(5)
TILE_OF(6)
#if defined(__AVX512F__)
TILE_OF(7)
TILE_OF(8)
TILE_OF(9)
TILE_OF(10)
TILE_OF(11)
TILE_OF(12)
#endif
static void (*const multiply_tile_of[TILE_ROWS])(const Tile *) = {
    multiply_1, multiply_2, multiply_3, multiply_4,  multiply_5,  multiply_6,
#if defined(__AVX512F__)
    multiply_7, multiply_8, multiply_9, multiply_10, multiply_11, multiply_12,
#endif
};

// ---- packing

static inline int64_t element_size(DType type) { return type == FLOAT32 ? 4 : 2; }

typedef int32_t LaneNumbers __attribute__((vector_size(LANES * sizeof(int32_t))));

/// x[i] lane j becomes x[j] lane i: squares of half the width change places, then those in them.
static inline __attribute__((always_inline)) void transpose_lanes(Lanes x[LANES]) {
    LaneNumbers lane;
#pragma GCC unroll 16
    for (int i = 0; i < LANES; i++) lane[i] = i;
#pragma GCC unroll 4
    for (int half = LANES / 2; half > 0; half /= 2) {
        LaneNumbers of_the_other = ((lane & half) != 0) & (LANES - half);
#pragma GCC unroll 16
        for (int i = 0; i < LANES; i++) {
            if (i & half) continue;
            Lanes upper = x[i], lower = x[i + half];
            x[i] = __builtin_shuffle(upper, lower, lane + of_the_other);
            x[i + half] = __builtin_shuffle(upper, lower, lane + half + of_the_other);
        }
    }
}

/// Up to LANES elements as floats, zeros behind them.
static inline __attribute__((always_inline)) Lanes load_lanes(const char *from, DType type,
                                                              int64_t elements) {
    char there[sizeof(Lanes)] = {0};
    if (elements < LANES) {
        if (elements > 0) memcpy(there, from, (size_t)(elements * element_size(type)));
        from = there;
    }
    return type == FLOAT32 ? *(const Lanes *)(const void *)from
                           : lanes_of_bfloat16((const uint16_t *)(const void *)from);
}

/// LANES rows (or fewer: zeros) of LANES elements (or fewer), transposed.
static inline __attribute__((always_inline)) void load_square(const char *from, DType type,
                                                              int64_t row, int64_t rows,
                                                              int64_t elements, Lanes x[LANES]) {
    if (rows >= LANES && elements >= LANES) {
#pragma GCC unroll 16
        for (int i = 0; i < LANES; i++) x[i] = load_lanes(from + i * row, type, LANES);
    } else {
        for (int i = 0; i < LANES; i++)
            x[i] = i < rows ? load_lanes(from + i * row, type, elements) : (Lanes){0.0f};
    }
    transpose_lanes(x);
}

/// `rows` rows of a, `row` bytes apart, from its first to its last of `elements`, as a tile wants
/// them: [elements][rows]. A vector runs over into the rows that are written next, but not beyond
/// the last.
static inline void pack_tile_rows(const char *from, DType type, int64_t row, int64_t rows,
                                  int64_t elements, float *to) {
    _Static_assert((int)TILE_ROWS <= (int)LANES, "a tile's rows are a vector");
    int64_t element = element_size(type);
    const float *end = to + elements * rows;
    for (int64_t first = 0; first < elements; first += LANES) {
        int64_t count = elements - first < LANES ? elements - first : LANES;
        Lanes x[LANES];
        load_square(from + first * element, type, row, rows, count, x);
        for (int64_t i = 0; i < count; i++, to += rows)
            if (to + LANES <= end)
                *(Lanes *)to = x[i];
            else
                memcpy(to, &x[i], (size_t)rows * sizeof *to);
    }
}

static inline __attribute__((always_inline)) void pack_transposed_piece(const Panel *panel,
                                                                        DType type, int64_t piece) {
    int64_t across = piece % PIECES_ACROSS * PIECE_ROWS;
    int64_t element = element_size(type), first = piece / PIECES_ACROSS * (LINE / element);
    const char *from = piece_begin(panel, piece);
    for (int64_t row = 0; row < PIECE_ROWS; row += LANES)
        for (int64_t i = 0; i < LINE / element && first + i < panel->depth; i += LANES) {
            Lanes x[LANES];
            load_square(from + row * panel->row + i * element, type, panel->row,
                        panel->columns - across - row, panel->depth - first - i, x);
            float *to = panel->to + (first + i) * TILE_COLUMNS + across + row;
            for (int64_t k = 0; k < LANES && first + i + k < panel->depth; k++)
                *(Lanes *)(to + k * TILE_COLUMNS) = x[k];
        }
}

static inline __attribute__((always_inline)) void pack_straight_piece(const Panel *panel,
                                                                      DType type, int64_t piece) {
    const char *from = piece_begin(panel, piece);
    int64_t first = PIECE_ROWS * piece, element = element_size(type);
    for (int64_t k = first; k < first + PIECE_ROWS && k < panel->depth; k++, from += panel->row)
        for (int64_t j = 0; j < TILE_COLUMNS; j += LANES)
            *(Lanes *)(panel->to + k * TILE_COLUMNS + j) =
                load_lanes(from + j * element, type, panel->columns - j);
}

static void pack_piece(const Panel *panel, int64_t piece) {
    if (panel->element == sizeof(float)) {
        if (panel->transposed)
            pack_transposed_piece(panel, FLOAT32, piece);
        else
            pack_straight_piece(panel, FLOAT32, piece);
    } else if (panel->transposed) {
        pack_transposed_piece(panel, BFLOAT16, piece);
    } else {
        pack_straight_piece(panel, BFLOAT16, piece);
    }
}
