/// Inside the CPU kernels: softmax over a row of scores, and attention row by row, for a single
/// query against a cache of keys and for the probabilities of chosen rows. Bound by reading keys
/// and values, which lie a row of all heads apart: each is read where it is, once.
#pragma once
#include "ops/cpu/attention_part.h"
#include "ops/cpu/float_math.h"

static inline float row_maximum(const float *x, int64_t n) {
    float maximum = -INFINITY;
#pragma omp simd reduction(max : maximum)
    for (int64_t i = 0; i < n; i++) maximum = x[i] > maximum ? x[i] : maximum;
    return maximum;
}

/// x = exp(x - shift); returns the sum.
static inline float exponentials(float *x, int64_t n, float shift) {
    float sum = 0.0f;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; i++) {
        x[i] = fast_exp(x[i] - shift);
        sum += x[i];
    }
    return sum;
}

static inline float dot(const float *a, const float *b, int64_t n) {
    float sum = 0.0f;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; i++) sum += a[i] * b[i];
    return sum;
}

/// Elements `at` and on of a tensor, as many as a vector has.
static inline __attribute__((always_inline)) Lanes lanes_at(const void *data, bool bfloat16,
                                                            int64_t at) {
    return bfloat16 ? lanes_of_bfloat16((const uint16_t *)data + at)
                    : *(const Lanes *)((const float *)data + at);
}

/// Rows that are worked on at once, and how far ahead of them rows are asked for.
enum { ROWS_AT_ONCE = 4, ROWS_AHEAD = 16 };

/// Rows of one head lie far apart, where the processor foresees nothing.
static inline void ask_for_row(Slice x, int64_t row, int64_t dim) {
    int64_t size = (int64_t)dtype_size(x.tensor->dtype);
    const char *begin = (const char *)x.tensor->data + (x.first + row * x.stride) * size;
    for (int64_t byte = 0; byte < dim * size; byte += 64) __builtin_prefetch(begin + byte, 0, 2);
}

/// Elements of each of four vectors, added one after the other as dot() does.
static inline Quad sums_in_order(const Lanes x[ROWS_AT_ONCE]) {
    Quad sums = {0.0f}, elements[4];
    for (int first = 0; first < LANES; first += 4) {
        transpose_quads((const float *)x + first, LANES, (float *)elements, 4);
        for (int i = 0; i < 4; i++) sums += elements[i];
    }
    return sums;
}

/// out[j] = query . row j, for rows first .. end of whole vectors: dot() of each.
static inline __attribute__((always_inline)) void dot_whole(bool bfloat16, const float *query,
                                                            Slice x, int64_t first, int64_t end,
                                                            int64_t dim, float *out) {
    const void *data = x.tensor->data;
    for (int64_t j = first; j < end; j += ROWS_AT_ONCE) {
        Lanes sum[ROWS_AT_ONCE] = {{0.0f}};
        int64_t count = end - j < ROWS_AT_ONCE ? end - j : ROWS_AT_ONCE, at[ROWS_AT_ONCE];
        for (int u = 0; u < ROWS_AT_ONCE; u++) {
            at[u] = x.first + (u < count ? j + u : j) * x.stride;
            if (j + u + ROWS_AHEAD < end) ask_for_row(x, j + u + ROWS_AHEAD, dim);
        }
        for (int64_t d = 0; d < dim; d += LANES) {
            Lanes left = *(const Lanes *)(query + d);
#pragma GCC unroll 4
            for (int u = 0; u < ROWS_AT_ONCE; u++)
                sum[u] += left * lanes_at(data, bfloat16, at[u] + d);
        }
        Quad products = sums_in_order(sum);
        for (int u = 0; u < count; u++) out[j + u] = products[u];
    }
}

static inline void dot_rows(const float *query, Slice x, int64_t first, int64_t end, int64_t dim,
                            float *out) {
    float buffer[ATTENTION_MAX_HEAD_DIM];
    if (dim % LANES == 0 && x.tensor->dtype == BFLOAT16)
        dot_whole(true, query, x, first, end, dim, out);
    else if (dim % LANES == 0)
        dot_whole(false, query, x, first, end, dim, out);
    else
        for (int64_t j = first; j < end; j++)
            out[j] = dot(query, chunk_read(x.tensor, x.first + j * x.stride, dim, buffer), dim);
}

enum { COLUMNS_AT_ONCE = 8 * LANES };

/// sums[d] += weights[j] times element d of row j, columns d .. d + vectors * LANES of rows first
/// .. end.
static inline __attribute__((always_inline)) void add_columns(bool bfloat16, int vectors,
                                                              const float *weights, Slice x,
                                                              int64_t first, int64_t end, int64_t d,
                                                              float *sums) {
    Lanes sum[COLUMNS_AT_ONCE / LANES];
#pragma GCC unroll 8
    for (int v = 0; v < vectors; v++) sum[v] = *(const Lanes *)(sums + d + v * LANES);
    for (int64_t j = first; j < end; j++) {
        int64_t at = x.first + j * x.stride + d;
        if (j + ROWS_AHEAD < end)
            ask_for_row((Slice){x.tensor, x.first + d, x.stride}, j + ROWS_AHEAD, vectors * LANES);
#pragma GCC unroll 8
        for (int v = 0; v < vectors; v++)
            sum[v] += weights[j] * lanes_at(x.tensor->data, bfloat16, at + v * LANES);
    }
#pragma GCC unroll 8
    for (int v = 0; v < vectors; v++) *(Lanes *)(sums + d + v * LANES) = sum[v];
}

static inline __attribute__((always_inline)) void add_whole(bool bfloat16, const float *weights,
                                                            Slice x, int64_t first, int64_t end,
                                                            int64_t dim, float *sums) {
    int64_t d = 0;
    for (; d + COLUMNS_AT_ONCE <= dim; d += COLUMNS_AT_ONCE)
        add_columns(bfloat16, COLUMNS_AT_ONCE / LANES, weights, x, first, end, d, sums);
    for (; d < dim; d += LANES) add_columns(bfloat16, 1, weights, x, first, end, d, sums);
}

/// sums += rows first .. end, times their weights, one after the other.
static inline void add_weighted_rows(const float *weights, Slice x, int64_t first, int64_t end,
                                     int64_t dim, float *sums) {
    float buffer[ATTENTION_MAX_HEAD_DIM];
    if (dim % LANES == 0 && x.tensor->dtype == BFLOAT16)
        add_whole(true, weights, x, first, end, dim, sums);
    else if (dim % LANES == 0)
        add_whole(false, weights, x, first, end, dim, sums);
    else
        for (int64_t j = first; j < end; j++) {
            const float *row = chunk_read(x.tensor, x.first + j * x.stride, dim, buffer);
            for (int64_t d = 0; d < dim; d++) sums[d] += weights[j] * row[d];
        }
}

/// A row's softmax: exponentials of its scores from `first` to `end` under their maximum, and the
/// sum of them.
typedef struct RowSoftmax {
    int64_t first, end;
    float highest, total;
} RowSoftmax;

static inline RowSoftmax row_softmax(const Tensor *q, const Tensor *k, const Part *part,
                                     int64_t member, int64_t query, float *out) {
    float scaled[ATTENTION_MAX_HEAD_DIM];
    Slice queries = query_slice(q, part, member);
    int64_t first = hidden_keys(part, query), end = visible_keys(part, query);
    read_scaled(q, queries.first + query * queries.stride, part->dim, part->shape->scale, scaled);
    dot_rows(scaled, key_slice(k, part), first, end, part->dim, out);
    float highest = row_maximum(out + first, end - first);
    return (RowSoftmax){first, end, highest, exponentials(out + first, end - first, highest)};
}
