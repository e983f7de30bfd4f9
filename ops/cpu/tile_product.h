/// Inside the CPU kernels: small float matrix products on packed tiles that stay in the caches, for
/// kernels that work on what the product library cannot be asked for (attention). Written with
/// GCC's vectors: each x86-64 level gets its own width.
///
/// c [m,n] (+)= a [m,depth] b [depth,n]. `a` is read where it is, by two strides. `b` is packed
/// into panels of PANEL neighbouring columns, the last one narrower by LANES if n asks for it:
/// panel p begins at p * PANEL * panel_depth and holds [depth][width]. Columns are padded to a
/// multiple of LANES, rows of a and c to one of SMALL_ROWS.
///
/// Where the processor multiplies pairs of BFLOAT16 (HAS_PAIRS), an element of a and b may also be
/// such a pair, neighbours in depth: the same layout, half as deep, twice as fast, products exact
/// and added in float.
#pragma once
#include "ops/cpu/chunk.h"

#include <string.h>
#ifdef __AVX512BF16__
#include <immintrin.h>
#endif

// Accumulators for TILE_ROWS x 2 vectors, two vectors of b and one of a must fit in the registers:
// 32 of them, or 16.
#if defined(__AVX512F__)
enum { LANES = 16, TILE_ROWS = 12, SMALL_ROWS = 4 };
#elif defined(__AVX__)
enum { LANES = 8, TILE_ROWS = 6, SMALL_ROWS = 2 };
#else
enum { LANES = 4, TILE_ROWS = 6, SMALL_ROWS = 2 };
#endif
enum { PANEL = 2 * LANES };

typedef float Lanes __attribute__((vector_size(LANES * sizeof(float)), aligned(4), may_alias));

static inline int64_t round_up(int64_t n, int64_t multiple) {
    return (n + multiple - 1) / multiple * multiple;
}

/// What the elements of a and b are.
typedef enum Element { FLOATS, PAIRS } Element;

#ifdef __AVX512BF16__
enum { HAS_PAIRS = 1 };
static inline __attribute__((always_inline)) Lanes add_pair_products(Lanes sum, float left,
                                                                     Lanes right) {
    return (Lanes)_mm512_dpbf16_ps((__m512)sum, (__m512bh)_mm512_set1_ps(left), (__m512bh)right);
}
#else
enum { HAS_PAIRS = 0 };
static inline Lanes add_pair_products(Lanes sum, float left, Lanes right) {
    (void)left, (void)right;
    return sum;
}
#endif

/// One tile of `rows` x `vectors` vectors; both are constants where this is inlined.
static inline __attribute__((always_inline)) void tile(Element element, int rows, int vectors,
                                                       int64_t depth, const float *restrict a,
                                                       int64_t a_row, int64_t a_step,
                                                       const float *restrict b, float *restrict c,
                                                       int64_t c_row, bool accumulate) {
    Lanes sum[TILE_ROWS][2];
#pragma GCC unroll 12
    for (int row = 0; row < rows; row++)
#pragma GCC unroll 2
        for (int v = 0; v < vectors; v++)
            sum[row][v] =
                accumulate ? *(const Lanes *)(c + row * c_row + v * LANES) : (Lanes){0.0f};
    for (int64_t k = 0; k < depth; k++) {
        Lanes right[2];
#pragma GCC unroll 2
        for (int v = 0; v < vectors; v++) right[v] = *(const Lanes *)(b + v * LANES);
#pragma GCC unroll 12
        for (int row = 0; row < rows; row++)
#pragma GCC unroll 2
            for (int v = 0; v < vectors; v++)
                if (element == PAIRS)
                    sum[row][v] = add_pair_products(sum[row][v], a[row * a_row], right[v]);
                else
                    sum[row][v] += a[row * a_row] * right[v];
        a += a_step;
        b += vectors * LANES;
    }
#pragma GCC unroll 12
    for (int row = 0; row < rows; row++)
#pragma GCC unroll 2
        for (int v = 0; v < vectors; v++) *(Lanes *)(c + row * c_row + v * LANES) = sum[row][v];
}

/// The strides of a product's matrices, in elements.
typedef struct TileStrides {
    int64_t a_row, a_step, panel_depth, c_row;
} TileStrides;

static inline __attribute__((always_inline)) void panel_product(Element element, int vectors,
                                                                int64_t m, int64_t depth,
                                                                const float *a, const float *b,
                                                                float *c, TileStrides strides,
                                                                bool accumulate) {
    int64_t row = 0;
    for (; row + TILE_ROWS <= m; row += TILE_ROWS)
        tile(element, TILE_ROWS, vectors, depth, a + row * strides.a_row, strides.a_row,
             strides.a_step, b, c + row * strides.c_row, strides.c_row, accumulate);
    for (; row < m; row += SMALL_ROWS)
        tile(element, SMALL_ROWS, vectors, depth, a + row * strides.a_row, strides.a_row,
             strides.a_step, b, c + row * strides.c_row, strides.c_row, accumulate);
}

/// The whole product. a_row or a_step is 1, a constant where this is inlined.
static inline __attribute__((always_inline)) void tile_product(Element element, int64_t m,
                                                               int64_t n, int64_t depth,
                                                               const float *a, const float *b,
                                                               float *c, TileStrides strides,
                                                               bool accumulate) {
    int64_t column = 0;
    for (; column + PANEL <= n; column += PANEL)
        panel_product(element, 2, m, depth, a, b + column * strides.panel_depth, c + column,
                      strides, accumulate);
    if (column < n)
        panel_product(element, 1, m, depth, a, b + column * strides.panel_depth, c + column,
                      strides, accumulate);
}

typedef float Quad __attribute__((vector_size(16), aligned(4), may_alias));
typedef uint16_t HalfLanes __attribute__((vector_size(LANES * 2), aligned(2), may_alias));
typedef uint32_t WordLanes __attribute__((vector_size(LANES * 4), aligned(4), may_alias));

// Rows of a head are short (a few vectors and a remainder): these loops say so, where the compiler
// would prepare for long ones.

/// y may be x.
static inline void scale_floats(const float *x, int64_t n, float factor, float *y) {
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES) *(Lanes *)(y + i) = *(const Lanes *)(x + i) * factor;
    for (; i + 4 <= n; i += 4) *(Quad *)(y + i) = *(const Quad *)(x + i) * factor;
    for (; i < n; i++) y[i] = x[i] * factor;
}

static inline Lanes lanes_of_bfloat16(const uint16_t *x) {
    return (Lanes)(__builtin_convertvector(*(const HalfLanes *)x, WordLanes) << 16);
}

/// A vector's elements added in the order of halves.
static inline float sum_of_lanes(Lanes x) {
    union {
        Lanes whole;
        Quad parts[LANES / 4];
    } u = {x};
    for (int half = LANES / 8; half; half /= 2)
        for (int i = 0; i < half; i++) u.parts[i] += u.parts[i + half];
    Quad sums = u.parts[0];
    return (sums[0] + sums[2]) + (sums[1] + sums[3]);
}

static inline void scale_bfloat16(const uint16_t *restrict x, int64_t n, float factor,
                                  float *restrict y) {
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        *(Lanes *)(y + i) = lanes_of_bfloat16(x + i) * factor;
    }
    for (; i < n; i++) y[i] = bfloat16_to_float(x[i]) * factor;
}

/// n floats of x from `first` times factor.
static inline void read_scaled(const Tensor *x, int64_t first, int64_t n, float factor, float *y) {
    if (x->dtype == FLOAT32)
        scale_floats((const float *)x->data + first, n, factor, y);
    else
        scale_bfloat16((const uint16_t *)x->data + first, n, factor, y);
}

/// A matrix [rows,columns] inside a tensor: row i begins at element first + i * stride.
typedef struct Slice {
    const Tensor *tensor;
    int64_t first, stride;
} Slice;

/// Rows of the slice, times factor, as rows of y [padded,width]; what is added is zero. width:
/// columns rounded up to LANES.
static inline void copy_rows(Slice x, int64_t row, int64_t rows, int64_t columns, float factor,
                             int64_t padded, int64_t width, float *y) {
    for (int64_t i = 0; i < rows; i++, y += width) {
        *(Lanes *)(y + width - LANES) = (Lanes){0.0f};
        read_scaled(x.tensor, x.first + (row + i) * x.stride, columns, factor, y);
    }
    for (int64_t i = 0; i < (padded - rows) * width; i++) y[i] = 0.0f;
}

/// Packs y [rows,width] (width a multiple of LANES) as `b` with depth = rows.
static inline void pack_rows(const float *y, int64_t rows, int64_t width, int64_t panel_depth,
                             float *packed) {
    for (int64_t column = 0; column < width; column += PANEL) {
        int64_t vectors = column + PANEL <= width ? 2 : 1;
        float *panel = packed + column * panel_depth;
        for (int64_t row = 0; row < rows; row++)
            for (int64_t v = 0; v < vectors; v++)
                *(Lanes *)(panel + (row * vectors + v) * LANES) =
                    *(const Lanes *)(y + row * width + column + v * LANES);
    }
}

/// to[k * to_stride + j] = from[j * from_stride + k] for j, k < 4.
static inline void transpose_quads(const float *from, int64_t from_stride, float *to,
                                   int64_t to_stride) {
    typedef int Pick __attribute__((vector_size(16)));
    Quad a = *(const Quad *)from, b = *(const Quad *)(from + from_stride);
    Quad c = *(const Quad *)(from + 2 * from_stride), d = *(const Quad *)(from + 3 * from_stride);
    Quad ab_low = __builtin_shuffle(a, b, (Pick){0, 4, 1, 5});
    Quad ab_high = __builtin_shuffle(a, b, (Pick){2, 6, 3, 7});
    Quad cd_low = __builtin_shuffle(c, d, (Pick){0, 4, 1, 5});
    Quad cd_high = __builtin_shuffle(c, d, (Pick){2, 6, 3, 7});
    *(Quad *)to = __builtin_shuffle(ab_low, cd_low, (Pick){0, 1, 4, 5});
    *(Quad *)(to + to_stride) = __builtin_shuffle(ab_low, cd_low, (Pick){2, 3, 6, 7});
    *(Quad *)(to + 2 * to_stride) = __builtin_shuffle(ab_high, cd_high, (Pick){0, 1, 4, 5});
    *(Quad *)(to + 3 * to_stride) = __builtin_shuffle(ab_high, cd_high, (Pick){2, 3, 6, 7});
}

/// Packs y [n,stride] (n a multiple of LANES) transposed, as `b` with depth = columns.
static inline void pack_transposed(const float *y, int64_t n, int64_t columns, int64_t stride,
                                   float *packed) {
    for (int64_t first = 0; first < n; first += PANEL) {
        int64_t width = first + PANEL <= n ? PANEL : LANES, k = 0;
        float *panel = packed + first * columns;
        const float *from = y + first * stride;
        for (; k + 4 <= columns; k += 4)
            for (int64_t j = 0; j < width; j += 4)
                transpose_quads(from + j * stride + k, stride, panel + k * width + j, width);
        for (; k < columns; k++)
            for (int64_t j = 0; j < width; j++) panel[k * width + j] = from[j * stride + k];
    }
}

// ---- pairs of BFLOAT16

/// Rows of a BFLOAT16 slice as they are, to rows of y [padded,width]; what is added is zero. width
/// is even.
static inline void copy_bfloat16_rows(Slice x, int64_t row, int64_t rows, int64_t columns,
                                      int64_t padded, int64_t width, uint16_t *y) {
    for (int64_t i = 0; i < rows; i++, y += width) {
        memcpy(y, (const uint16_t *)x.tensor->data + x.first + (row + i) * x.stride,
               (size_t)columns * sizeof *y);
        memset(y + columns, 0, (size_t)(width - columns) * sizeof *y);
    }
    memset(y, 0, (size_t)((padded - rows) * width) * sizeof *y);
}

/// LANES pairs, each of an element and that of the next row.
static inline WordLanes join_rows(const uint16_t *x, int64_t row) {
    return __builtin_convertvector(*(const HalfLanes *)x, WordLanes) |
           __builtin_convertvector(*(const HalfLanes *)(x + row), WordLanes) << 16;
}

/// Packs y [2 * pairs,width] (width a multiple of LANES) as `b`: neighbouring rows are pairs.
static inline void pack_row_pairs(const uint16_t *y, int64_t pairs, int64_t width,
                                  int64_t panel_depth, float *packed) {
    for (int64_t column = 0; column < width; column += PANEL) {
        int64_t lanes = column + PANEL <= width ? PANEL : LANES;
        float *panel = packed + column * panel_depth;
        for (int64_t pair = 0; pair < pairs; pair++) {
            const uint16_t *from = y + 2 * pair * width + column;
            for (int64_t j = 0; j < lanes; j += LANES)
                *(WordLanes *)(panel + pair * lanes + j) = join_rows(from + j, width);
        }
    }
}

/// Rounds x [rows,columns] (stride floats from row to row, columns a multiple of LANES, rows even)
/// to pairs in both directions: neighbours in a row, [rows][stride / 2], and neighbouring rows,
/// [rows / 2][stride].
static inline void round_to_pairs(const float *x, int64_t rows, int64_t columns, int64_t stride,
                                  uint16_t *in_rows, float *across) {
    for (int64_t row = 0; row < rows; row++)
        bfloat16_from_floats(x + row * stride, columns, in_rows + row * stride);
    for (int64_t row = 0; row < rows; row += 2)
        for (int64_t j = 0; j < columns; j += LANES)
            *(WordLanes *)(across + row / 2 * stride + j) =
                join_rows(in_rows + row * stride + j, stride);
}
