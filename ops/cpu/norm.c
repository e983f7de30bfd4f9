// Norms over rows: layer_norm and rms_norm, also of a residual sum. Each row is read once into a
// buffer in the first-level cache, where the statistics take two passes (mean, then squared
// distances from it), so nothing cancels. group_norm is in group_norm.c.
#include "ops/cpu/norm.h"
#include "ops/cpu/chunk.h"
#include "ops/cpu/cpu.h"

#include <math.h>
#include <stdlib.h>

/// Rows whose parameter gradients are summed before blocks are added up. Blocks depend on the shape
/// alone, so the sums do not depend on the number of threads.
static int64_t rows_per_block(int64_t rows) {
    enum { MIN_ROWS = 16, MAX_BLOCKS = 64 };
    int64_t least = chunk_count(rows, MAX_BLOCKS);
    return least > MIN_ROWS ? least : MIN_ROWS;
}

static float row_sum(const float *x, int64_t n) {
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; i++) sum += x[i];
    return sum;
}

static float row_squares(const float *x, float centre, int64_t n) {
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; i++) sum += (x[i] - centre) * (x[i] - centre);
    return sum;
}

/// (x - mean) rstd w + b; w and b may be NULL.
static void normalise_row(const float *x, float mean, float rstd, const float *w, const float *b,
                          int64_t n, float *y) {
    if (w && b) {
#pragma omp simd
        for (int64_t i = 0; i < n; i++) y[i] = (x[i] - mean) * rstd * w[i] + b[i];
    } else {
#pragma omp simd
        for (int64_t i = 0; i < n; i++)
            y[i] = (x[i] - mean) * rstd * (w ? w[i] : 1.0f) + (b ? b[i] : 0.0f);
    }
}

/// What is normalised: x, or a + b, which is stored first and read as stored.
typedef struct NormInput {
    /// or a
    const Tensor *x;
    /// NULL: x alone
    const Tensor *b;
    /// NULL: x alone
    Tensor *sum;
} NormInput;

/// Elements first .. first+n of the input as floats: a tensor's own memory, or `buffer`; `scratch`
/// is of that size too.
static const float *read_input(const NormInput *input, int64_t first, int64_t n, float *buffer,
                               float *scratch) {
    const float *left = chunk_read(input->x, first, n, buffer);
    if (!input->b) return left;
    const float *right = chunk_read(input->b, first, n, scratch);
    float *sum = chunk_target(input->sum, first, buffer);
#pragma omp simd
    for (int64_t i = 0; i < n; i++) sum[i] = left[i] + right[i];
    chunk_write(input->sum, first, n, sum);
    return chunk_read(input->sum, first, n, buffer);
}

static void layer_norm_of(const NormInput *input, const Tensor *weight, const Tensor *bias,
                          float eps, Tensor *y, Tensor *mean, Tensor *rstd) {
    int64_t rows = tensor_rows(y), n = norm_columns(y);
    const float *w = weight ? weight->data : NULL, *b = bias ? bias->data : NULL;
    PARALLEL_FOR(rows * n)
    for (int64_t row = 0; row < rows; row++) {
        float x_buffer[NORM_MAX_COLUMNS], y_buffer[NORM_MAX_COLUMNS];
        const float *in = read_input(input, row * n, n, x_buffer, y_buffer);
        float *out = chunk_target(y, row * n, y_buffer);
        float mu = row_sum(in, n) / (float)n;
        float r = 1.0f / sqrtf(row_squares(in, mu, n) / (float)n + eps);
        normalise_row(in, mu, r, w, b, n, out);
        chunk_write(y, row * n, n, out);
        if (mean) ((float *)mean->data)[row] = mu;
        if (rstd) ((float *)rstd->data)[row] = r;
    }
}

static void layer_norm(const Tensor *x, const Tensor *weight, const Tensor *bias, float eps,
                       Tensor *y, Tensor *mean, Tensor *rstd) {
    layer_norm_of(&(NormInput){.x = x}, weight, bias, eps, y, mean, rstd);
}

static void add_layer_norm(const Tensor *a, const Tensor *b, const Tensor *weight,
                           const Tensor *bias, float eps, Tensor *sum, Tensor *y, Tensor *mean,
                           Tensor *rstd) {
    layer_norm_of(&(NormInput){a, b, sum}, weight, bias, eps, y, mean, rstd);
}

/// What a row's backward reads. With xhat = (x - mean) rstd and g = grad_y weight:
///   grad_x = rstd (g - average(g) - xhat average(g xhat)).
/// rms_norm is the same with mean 0 and without average(g).
typedef struct NormRow {
    /// weight NULL: ones
    const float *x, *weight, *grad_y;
    float mean, rstd;
    bool centred;
} NormRow;

static void row_gradient(const NormRow *row, int64_t n, float *grad_x) {
    const float *x = row->x, *w = row->weight, *grad = row->grad_y;
    float mean = row->mean, rstd = row->rstd, sum = 0, product = 0;
    if (w) {
#pragma omp simd reduction(+ : sum, product)
        for (int64_t i = 0; i < n; i++) {
            sum += grad[i] * w[i];
            product += grad[i] * w[i] * ((x[i] - mean) * rstd);
        }
    } else {
#pragma omp simd reduction(+ : sum, product)
        for (int64_t i = 0; i < n; i++) {
            sum += grad[i];
            product += grad[i] * ((x[i] - mean) * rstd);
        }
    }
    float average = row->centred ? sum / (float)n : 0.0f, slope = product / (float)n;
    if (w) {
#pragma omp simd
        for (int64_t i = 0; i < n; i++)
            grad_x[i] = rstd * (grad[i] * w[i] - average - (x[i] - mean) * rstd * slope);
    } else {
#pragma omp simd
        for (int64_t i = 0; i < n; i++)
            grad_x[i] = rstd * (grad[i] - average - (x[i] - mean) * rstd * slope);
    }
}

/// Adds one block of rows' parameter gradients to weight_sum and bias_sum (C floats each).
static void add_parameter_gradient(const NormRow *row, int64_t n, float *restrict weight_sum,
                                   float *restrict bias_sum) {
    for (int64_t i = 0; i < n; i++) {
        weight_sum[i] += row->grad_y[i] * ((row->x[i] - row->mean) * row->rstd);
        bias_sum[i] += row->grad_y[i];
    }
}

static void add_blocks(const float *partial, int64_t blocks, int64_t stride, Tensor *sum) {
    if (!sum) return;
    float *out = sum->data;
    int64_t n = tensor_numel(sum);
    for (int64_t block = 0; block < blocks; block++)
        for (int64_t i = 0; i < n; i++) out[i] += partial[block * stride + i];
}

static void layer_norm_gradient(const Tensor *x, const Tensor *weight, const Tensor *mean,
                                const Tensor *rstd, const Tensor *grad_y, Tensor *grad_x,
                                Tensor *grad_weight, Tensor *grad_bias) {
    int64_t rows = tensor_rows(x), n = norm_columns(x);
    int64_t block_rows = rows_per_block(rows), blocks = chunk_count(rows, block_rows);
    bool parameters = grad_weight || grad_bias;
    float *partial =
        parameters ? checked_calloc((size_t)(blocks * 2 * n + 1), sizeof *partial) : NULL;
    PARALLEL_FOR(rows * n)
    for (int64_t block = 0; block < blocks; block++) {
        float x_buffer[NORM_MAX_COLUMNS], grad_buffer[NORM_MAX_COLUMNS], out[NORM_MAX_COLUMNS];
        int64_t first = block * block_rows, count = chunk_length(rows, block_rows, block);
        for (int64_t row = first; row < first + count; row++) {
            NormRow in = {.x = chunk_read(x, row * n, n, x_buffer),
                          .weight = weight ? weight->data : NULL,
                          .grad_y = chunk_read(grad_y, row * n, n, grad_buffer),
                          .mean = ((const float *)mean->data)[row],
                          .rstd = ((const float *)rstd->data)[row],
                          .centred = true};
            if (parameters)
                add_parameter_gradient(&in, n, partial + block * 2 * n,
                                       partial + block * 2 * n + n);
            if (!grad_x) continue;
            float *target = chunk_target(grad_x, row * n, out);
            row_gradient(&in, n, target);
            chunk_write(grad_x, row * n, n, target);
        }
    }
    add_blocks(partial, blocks, 2 * n, grad_weight);
    add_blocks(partial + (parameters ? n : 0), blocks, 2 * n, grad_bias);
    free(partial);
}

static void rms_norm_of(const NormInput *input, const Tensor *weight, float eps, Tensor *y,
                        Tensor *rstd) {
    int64_t rows = tensor_rows(y), n = norm_columns(y);
    const float *w = weight->data;
    PARALLEL_FOR(rows * n)
    for (int64_t row = 0; row < rows; row++) {
        float x_buffer[NORM_MAX_COLUMNS], y_buffer[NORM_MAX_COLUMNS];
        const float *in = read_input(input, row * n, n, x_buffer, y_buffer);
        float *out = chunk_target(y, row * n, y_buffer);
        float r = 1.0f / sqrtf(row_squares(in, 0.0f, n) / (float)n + eps);
#pragma omp simd
        for (int64_t i = 0; i < n; i++) out[i] = in[i] * r * w[i];
        chunk_write(y, row * n, n, out);
        if (rstd) ((float *)rstd->data)[row] = r;
    }
}

static void rms_norm(const Tensor *x, const Tensor *weight, float eps, Tensor *y, Tensor *rstd) {
    rms_norm_of(&(NormInput){.x = x}, weight, eps, y, rstd);
}

static void add_rms_norm(const Tensor *a, const Tensor *b, const Tensor *weight, float eps,
                         Tensor *sum, Tensor *y, Tensor *rstd) {
    rms_norm_of(&(NormInput){a, b, sum}, weight, eps, y, rstd);
}

static void rms_norm_gradient(const Tensor *x, const Tensor *weight, const Tensor *rstd,
                              const Tensor *grad_y, Tensor *grad_x) {
    int64_t rows = tensor_rows(x), n = norm_columns(x);
    PARALLEL_FOR(rows * n)
    for (int64_t row = 0; row < rows; row++) {
        float x_buffer[NORM_MAX_COLUMNS], grad_buffer[NORM_MAX_COLUMNS], out[NORM_MAX_COLUMNS];
        NormRow in = {.x = chunk_read(x, row * n, n, x_buffer),
                      .weight = weight->data,
                      .grad_y = chunk_read(grad_y, row * n, n, grad_buffer),
                      .rstd = ((const float *)rstd->data)[row]};
        float *target = chunk_target(grad_x, row * n, out);
        row_gradient(&in, n, target);
        chunk_write(grad_x, row * n, n, target);
    }
}

FILL_FAMILY(norm)
