// Element by element: sums, products, conversions, dropout.
#include "ops/cpu/chunk.h"
#include "ops/cpu/cpu.h"
#include "ops/cpu/float_math.h"
#include "ops/cpu/random.h"

#include <string.h>

/// b repeats along a. A short b is laid out several times in a row, so that the inner loop is never
/// short; a long b is cut into pieces.
typedef struct Repeat {
    const Tensor *b;
    /// elements of b
    int64_t period;
    /// a short b, repeated
    float tile[CHUNK];
    /// 0: b is long
    int64_t tile_length;
    /// for a long b
    int64_t pieces_per_b;
} Repeat;

static void repeat_begin(const Tensor *b, Repeat *repeat) {
    repeat->b = b;
    repeat->period = tensor_numel(b);
    repeat->tile_length = 0;
    repeat->pieces_per_b = chunk_count(repeat->period, CHUNK);
    if (repeat->period > CHUNK / 2) return;
    float buffer[CHUNK];
    const float *values = chunk_read(b, 0, repeat->period, buffer);
    int64_t copies = CHUNK / repeat->period;
    for (int64_t i = 0; i < copies; i++)
        memcpy(repeat->tile + i * repeat->period, values,
               (size_t)repeat->period * sizeof repeat->tile[0]);
    repeat->tile_length = copies * repeat->period;
}

static int64_t repeat_pieces(const Repeat *repeat, int64_t n) {
    return repeat->tile_length ? chunk_count(n, repeat->tile_length)
                               : n / repeat->period * repeat->pieces_per_b;
}

/// Piece p of a covers `length` elements from `first`; returns b's values beside them.
static const float *repeat_piece(const Repeat *repeat, int64_t n, int64_t p, float *buffer,
                                 int64_t *first, int64_t *length) {
    if (repeat->tile_length) {
        *first = p * repeat->tile_length;
        *length = chunk_length(n, repeat->tile_length, p);
        return repeat->tile;
    }
    int64_t copy = p / repeat->pieces_per_b, i = p % repeat->pieces_per_b;
    *first = copy * repeat->period + i * CHUNK;
    *length = chunk_length(repeat->period, CHUNK, i);
    return chunk_read(repeat->b, i * CHUNK, *length, buffer);
}

/// y = a + b, or a b.
static void combine(const Tensor *a, const Tensor *b, bool product, Tensor *y) {
    int64_t n = tensor_numel(a);
    if (n == 0) return;
    Repeat repeat;
    repeat_begin(b, &repeat);
    PARALLEL_FOR(n)
    for (int64_t p = 0; p < repeat_pieces(&repeat, n); p++) {
        float a_buffer[CHUNK], b_buffer[CHUNK], y_buffer[CHUNK];
        int64_t first, length;
        const float *right = repeat_piece(&repeat, n, p, b_buffer, &first, &length);
        const float *left = chunk_read(a, first, length, a_buffer);
        float *out = chunk_target(y, first, y_buffer);
        if (product) {
#pragma omp simd
            for (int64_t i = 0; i < length; i++) out[i] = left[i] * right[i];
        } else {
#pragma omp simd
            for (int64_t i = 0; i < length; i++) out[i] = left[i] + right[i];
        }
        chunk_write(y, first, length, out);
    }
}

static void add(const Tensor *a, const Tensor *b, Tensor *y) { combine(a, b, false, y); }

static void multiply(const Tensor *a, const Tensor *b, Tensor *y) { combine(a, b, true, y); }

static void scale(const Tensor *x, float factor, Tensor *y) {
    int64_t n = tensor_numel(x);
    PARALLEL_FOR(n)
    for (int64_t chunk = 0; chunk < chunk_count(n, CHUNK); chunk++) {
        float x_buffer[CHUNK], y_buffer[CHUNK];
        int64_t first = chunk * CHUNK, length = chunk_length(n, CHUNK, chunk);
        const float *in = chunk_read(x, first, length, x_buffer);
        float *out = chunk_target(y, first, y_buffer);
#pragma omp simd
        for (int64_t i = 0; i < length; i++) out[i] = in[i] * factor;
        chunk_write(y, first, length, out);
    }
}

static void convert(const Tensor *x, Tensor *y) {
    int64_t n = tensor_numel(x);
    PARALLEL_FOR(n)
    for (int64_t chunk = 0; chunk < chunk_count(n, CHUNK); chunk++) {
        float x_buffer[CHUNK];
        int64_t first = chunk * CHUNK, length = chunk_length(n, CHUNK, chunk);
        const float *in = chunk_read(x, first, length, x_buffer);
        if (y->dtype == FLOAT32)
            memmove((float *)y->data + first, in, (size_t)length * sizeof *in);
        else
            chunk_write(y, first, length, in);
    }
}

/// factor[i] = 1/(1-p) or 0. uniform_from_bits() is a whole multiple of 2^-24, so comparing whole
/// numbers is exact.
static void keep_factors(const PhiloxChunk *bits, int blocks, float probability, float *factors) {
    float kept = 1.0f / (1.0f - probability);
    int32_t threshold = (int32_t)ceilf(probability * 0x1p24f);
    for (int i = 0; i < blocks; i++)
        for (int lane = 0; lane < 4; lane++)
            factors[4 * i + lane] = (int32_t)(bits->lanes[lane][i] >> 8) >= threshold ? kept : 0.0f;
}

/// Elements first .. first+length of x, of which the first is number 4 `block` of the stream.
static void drop_some(const Tensor *x, int64_t first, int64_t length, float probability,
                      RandomStream stream, uint64_t block, Tensor *y) {
    float x_buffer[CHUNK], y_buffer[CHUNK], factors[CHUNK];
    PhiloxChunk bits;
    int blocks = (int)((length + 3) / 4);
    philox_blocks(stream, block, blocks, &bits);
    keep_factors(&bits, blocks, probability, factors);
    const float *in = chunk_read(x, first, length, x_buffer);
    float *out = chunk_target(y, first, y_buffer);
    // A choice, not a product: a dropped infinity is 0.
#pragma omp simd
    for (int64_t i = 0; i < length; i++) out[i] = factors[i] > 0.0f ? in[i] * factors[i] : 0.0f;
    chunk_write(y, first, length, out);
}

static void dropout_by_row(const Tensor *x, float probability, RandomStream stream,
                           const int32_t (*rows)[2], Tensor *y) {
    int64_t columns = tensor_columns(x), pieces = chunk_count(columns, CHUNK);
    PARALLEL_FOR(tensor_numel(x))
    for (int64_t i = 0; i < tensor_rows(x) * pieces; i++) {
        int64_t row = i / pieces, piece = i % pieces;
        uint64_t position = (uint32_t)rows[row][1];
        RandomStream of_row = {stream.key + random_number_key(rows[row][0]), stream.index};
        drop_some(x, row * columns + piece * CHUNK, chunk_length(columns, CHUNK, piece),
                  probability, of_row, position << 32 | (uint64_t)(piece * (CHUNK / 4)), y);
    }
}

static void dropout(const Tensor *x, float probability, RandomStream stream, const Tensor *rows,
                    Tensor *y) {
    if (rows) {
        dropout_by_row(x, probability, stream, rows->data, y);
        return;
    }
    int64_t n = tensor_numel(x);
    PARALLEL_FOR(n)
    for (int64_t chunk = 0; chunk < chunk_count(n, CHUNK); chunk++)
        drop_some(x, chunk * CHUNK, chunk_length(n, CHUNK, chunk), probability, stream,
                  (uint64_t)(chunk * CHUNK / 4), y);
}

static void gaussian_sample(const Tensor *moments, const Tensor *noise, Tensor *y) {
    int64_t rows = tensor_rows(y), columns = tensor_columns(y);
    const float *in = moments->data, *random = noise->data;
    float *out = y->data;
    PARALLEL_FOR(rows * columns)
    for (int64_t row = 0; row < rows; row++) {
        const float *mean = in + row * 2 * columns, *log_variance = mean + columns;
#pragma omp simd
        for (int64_t c = 0; c < columns; c++) {
            float v = log_variance[c] < -30.0f ? -30.0f : log_variance[c];
            v = v > 20.0f ? 20.0f : v;
            out[row * columns + c] = mean[c] + fast_exp(0.5f * v) * random[row * columns + c];
        }
    }
}

FILL_FAMILY(elementwise)
