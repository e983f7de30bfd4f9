// Products of few rows, which are bound by reading the matrix: generation reads every weight once a
// token. Columns are taken four at a time; while all rows are multiplied with them, the next four,
// which follow in memory, are asked for, so that memory is read in one stream whatever the number
// of rows. (Four streams a row of the matrix apart, as the products themselves read, come in at two
// thirds of that: they fall into the same sets of the cache.)
//
// An element of y is one vector of sums that runs through k from its beginning to its end, and is
// added up in a fixed order: it does not matter with how many rows and columns it shares a tile.
#include "ops/cpu/converted.h"
#include "ops/cpu/cpu.h"
#include "ops/cpu/tile_product.h"

#ifdef __F16C__
#include <immintrin.h>
#endif
#include <omp.h>

enum {
    FEW_COLUMNS = 4,
    // Sums, four vectors of the matrix and one of x must fit in the registers.
    FEW_ROWS = LANES == 16 ? 6 : 2,
    /// pieces of columns per thread, so that one that is held up holds up no other
    FEW_PIECES = 4,
    /// multiplications below which waking the threads costs more
    FEW_SERIAL_BELOW = 1 << 18
};

/// How elements of the matrix meet those of x.
typedef enum FewKind {
    /// x FLOAT32
    FLOATS_BY_FLOATS,
    /// x FLOAT32, the matrix BFLOAT16
    FLOATS_BY_BFLOAT16,
    /// x FLOAT32, the matrix FLOAT8
    FLOATS_BY_FLOAT8,
    /// both BFLOAT16, two at a time
    PAIRS_BY_PAIRS,
    /// x BFLOAT16, the matrix FLOAT32 and rounded on the way
    PAIRS_BY_FLOATS,
} FewKind;

typedef struct Few {
    const char *x, *weight;
    int64_t rows, k, n;
    const float *bias;
    /// of the matrix's rows, NULL: none
    const float *scales;
    bool accumulate, float32;
    /// FLOAT32 or BFLOAT16
    void *y;
} Few;

/// Bits of LANES floats, or of LANES pairs, anywhere in memory.
typedef float AnyLanes __attribute__((vector_size(LANES * sizeof(float)), aligned(1), may_alias));

#define INLINE static inline __attribute__((always_inline))

INLINE int64_t weight_size(FewKind kind) {
    return kind == FLOATS_BY_FLOATS || kind == PAIRS_BY_FLOATS ? 4
           : kind == FLOATS_BY_FLOAT8                          ? 1
                                                               : 2;
}
INLINE bool of_pairs(FewKind kind) { return kind == PAIRS_BY_PAIRS || kind == PAIRS_BY_FLOATS; }
/// Elements of k in a vector.
INLINE int64_t step_of(FewKind kind) { return of_pairs(kind) ? 2 * LANES : LANES; }
INLINE int64_t x_size(FewKind kind) { return of_pairs(kind) ? 2 : 4; }

// With a sign, an exponent of four bits and a mantissa of three, FLOAT8 is a half-precision number
// of wider fields; the biases differ by 8.
#if defined(__AVX512F__)
enum { FLOAT8_UNIT = 1 << 8 };
INLINE Lanes lanes_of_float8(const char *from) {
    __m256i wide = _mm256_slli_epi16(
        _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(const void *)from)), 7);
    return (Lanes)_mm512_cvtph_ps(_mm256_and_si256(wide, _mm256_set1_epi16((short)0xbf80)));
}
#elif defined(__F16C__)
enum { FLOAT8_UNIT = 1 << 8 };
INLINE Lanes lanes_of_float8(const char *from) {
    __m128i wide =
        _mm_slli_epi16(_mm_cvtepi8_epi16(_mm_loadl_epi64((const __m128i *)(const void *)from)), 7);
    return (Lanes)_mm256_cvtph_ps(_mm_and_si128(wide, _mm_set1_epi16((short)0xbf80)));
}
#else
enum { FLOAT8_UNIT = 1 };
INLINE Lanes lanes_of_float8(const char *from) {
    Lanes lanes;
    for (int i = 0; i < LANES; i++) lanes[i] = float8_to_float((uint8_t)from[i]);
    return lanes;
}
#endif

INLINE Lanes load_weights(FewKind kind, const char *from) {
#ifdef __AVX512BF16__
    if (kind == PAIRS_BY_FLOATS)
        return (Lanes)_mm512_cvtne2ps_pbh(_mm512_loadu_ps(from + 64), _mm512_loadu_ps(from));
#endif
    if (kind == FLOATS_BY_FLOAT8) return lanes_of_float8(from);
    if (kind == FLOATS_BY_BFLOAT16) return lanes_of_bfloat16((const uint16_t *)(const void *)from);
    return *(const AnyLanes *)from;
}

INLINE Lanes multiply_add(FewKind kind, Lanes sum, Lanes weights, Lanes x) {
#ifdef __AVX512BF16__
    if (of_pairs(kind)) return (Lanes)_mm512_dpbf16_ps((__m512)sum, (__m512bh)weights, (__m512bh)x);
#else
    (void)kind;
#endif
    return sum + weights * x;
}

static inline void write_element(const Few *f, int64_t row, int64_t column, float sum) {
    int64_t at = row * f->n + column;
    if (f->scales) sum *= f->scales[column] * FLOAT8_UNIT;
    if (f->bias) sum += f->bias[column];
    if (f->float32) {
        float *y = (float *)f->y + at;
        *y = f->accumulate ? *y + sum : sum;
    } else {
        uint16_t *y = (uint16_t *)f->y + at;
        *y = round_to_bfloat16(f->accumulate ? bfloat16_to_float(*y) + sum : sum);
    }
}

/// Adds one vector's worth of k to the sums of a tile.
INLINE void add_step(FewKind kind, const int rows, const int columns, const char *w, int64_t w_row,
                     const char *x, int64_t x_row, Lanes sum[FEW_ROWS][FEW_COLUMNS]) {
    Lanes right[FEW_COLUMNS];
#pragma GCC unroll 4
    for (int c = 0; c < columns; c++) right[c] = load_weights(kind, w + c * w_row);
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++) {
        Lanes left = *(const AnyLanes *)(x + r * x_row);
#pragma GCC unroll 4
        for (int c = 0; c < columns; c++) sum[r][c] = multiply_add(kind, sum[r][c], right[c], left);
    }
}

/// Adds the end of k, of fewer elements than a vector has, zero behind them.
INLINE void add_end(FewKind kind, const int rows, const int columns, int64_t elements,
                    const char *w, int64_t w_row, const char *x, int64_t x_row,
                    Lanes sum[FEW_ROWS][FEW_COLUMNS]) {
    enum { SPACE = 2 * sizeof(Lanes) };
    char w_end[FEW_COLUMNS * SPACE] = {0}, x_end[FEW_ROWS * SPACE] = {0};
    for (int c = 0; c < columns; c++)
        memcpy(w_end + c * SPACE, w + c * w_row, (size_t)(elements * weight_size(kind)));
    for (int r = 0; r < rows; r++)
        memcpy(x_end + r * SPACE, x + r * x_row, (size_t)(elements * x_size(kind)));
    add_step(kind, rows, columns, w_end, SPACE, x_end, SPACE, sum);
}

/// `rows` x `columns` elements of y (constants where this is inlined); asks for as much memory from
/// `ahead` on as the columns take.
INLINE void few_tile(FewKind kind, const int rows, const int columns, const Few *f, int64_t row,
                     int64_t column, const char *ahead) {
    const int64_t step = step_of(kind), k = f->k;
    const int64_t w_row = k * weight_size(kind), x_row = k * x_size(kind);
    const int64_t w_step = step * weight_size(kind), x_step = step * x_size(kind);
    const char *w = f->weight + column * w_row, *x = f->x + row * x_row;
    Lanes sum[FEW_ROWS][FEW_COLUMNS] = {{{0.0f}}};
    for (int64_t left = k / step; left > 0; left--) {
#pragma GCC unroll 4
        for (int c = 0; c < columns; c++) __builtin_prefetch(ahead + c * w_step, 0, 2);
        add_step(kind, rows, columns, w, w_row, x, x_row, sum);
        w += w_step;
        x += x_step;
        ahead += columns * w_step;
    }
    if (k % step) add_end(kind, rows, columns, k % step, w, w_row, x, x_row, sum);
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
        for (int c = 0; c < columns; c++)
            write_element(f, row + r, column + c, sum_of_lanes(sum[r][c]));
}

INLINE void tile_of_rows(FewKind kind, int64_t rows, const Few *f, int64_t row, int64_t column,
                         const char *ahead) {
    switch (rows) {
    case 1:
        few_tile(kind, 1, FEW_COLUMNS, f, row, column, ahead);
        return;
#if defined(__AVX512F__)
    case 3:
        few_tile(kind, 3, FEW_COLUMNS, f, row, column, ahead);
        return;
    case 4:
        few_tile(kind, 4, FEW_COLUMNS, f, row, column, ahead);
        return;
    case 5:
        few_tile(kind, 5, FEW_COLUMNS, f, row, column, ahead);
        return;
    case 6:
        few_tile(kind, 6, FEW_COLUMNS, f, row, column, ahead);
        return;
#endif
    default:
        few_tile(kind, 2, FEW_COLUMNS, f, row, column, ahead);
        return;
    }
}

/// Columns begin .. end of y. Rows are cut into groups of nearly equal size.
INLINE void multiply_columns(FewKind kind, const Few *f, int64_t begin, int64_t end) {
    int64_t groups = chunk_count(f->rows, FEW_ROWS), column = begin;
    int64_t tile_bytes = FEW_COLUMNS * f->k * weight_size(kind);
    for (; column + FEW_COLUMNS <= end; column += FEW_COLUMNS) {
        const char *tile = f->weight + column * f->k * weight_size(kind);
        // Nothing is asked for twice, nor what another thread will read.
        bool last = column + 2 * FEW_COLUMNS > end;
        for (int64_t group = 0; group < groups; group++) {
            int64_t row = f->rows * group / groups, next = f->rows * (group + 1) / groups;
            tile_of_rows(kind, next - row, f, row, column,
                         group || last ? tile : tile + tile_bytes);
        }
    }
    for (; column < end; column++)
        for (int64_t row = 0; row < f->rows; row++)
            few_tile(kind, 1, 1, f, row, column, f->weight + column * f->k * weight_size(kind));
}

INLINE void multiply_all(FewKind kind, const Few *f) {
    int64_t tiles = chunk_count(f->n, FEW_COLUMNS), threads = omp_get_max_threads();
    bool serial = f->rows * f->n * f->k < FEW_SERIAL_BELOW;
    int64_t pieces = serial ? 1 : FEW_PIECES * threads;
    if (pieces > tiles) pieces = tiles;
#pragma omp parallel for schedule(dynamic) if (!serial)
    for (int64_t piece = 0; piece < pieces; piece++) {
        int64_t begin = tiles * piece / pieces * FEW_COLUMNS;
        int64_t end = tiles * (piece + 1) / pieces * FEW_COLUMNS;
        multiply_columns(kind, f, begin, end < f->n ? end : f->n);
    }
}

static void linear_few_rows(const Tensor *x, Tensor *weight, const Tensor *bias, bool accumulate,
                            Tensor *y) {
    if (tensor_numel(y) == 0) return;
    bool pairs = HAS_PAIRS && x->dtype == BFLOAT16;
    Converted left = converted_read(x, pairs ? BFLOAT16 : FLOAT32);
    Few few = {.x = left.data,
               .weight = weight->data,
               .rows = tensor_rows(x),
               .k = tensor_columns(x),
               .n = tensor_columns(y),
               .bias = bias ? bias->data : NULL,
               .scales = weight->scales ? weight->scales->data : NULL,
               .accumulate = accumulate,
               .float32 = y->dtype == FLOAT32,
               .y = y->data};
    if (weight->dtype == FLOAT8)
        multiply_all(FLOATS_BY_FLOAT8, &few);
    else if (pairs && weight->dtype == BFLOAT16)
        multiply_all(PAIRS_BY_PAIRS, &few);
    else if (pairs)
        multiply_all(PAIRS_BY_FLOATS, &few);
    else if (weight->dtype == BFLOAT16)
        multiply_all(FLOATS_BY_BFLOAT16, &few);
    else
        multiply_all(FLOATS_BY_FLOATS, &few);
    converted_release(x, &left);
}

FILL_FAMILY(few_rows)
