// Losses. Partial sums belong to rows or chunks and are added in order, so they do not depend on
// the number of threads.
#include "ops/cpu/chunk.h"
#include "ops/cpu/cpu.h"
#include "ops/cpu/float_math.h"

#include <math.h>
#include <stdlib.h>

/// log sum e^x. *inverse becomes 1 over the sum of e^(x - max), which replace x if `keep`.
static double log_sum_exp(float *x, int64_t n, bool keep, float *inverse) {
    float max = -INFINITY;
#pragma omp simd reduction(max : max)
    for (int64_t i = 0; i < n; i++) max = x[i] > max ? x[i] : max;
    double sum = 0;
    for (int64_t first = 0; first < n; first += CHUNK) {
        int64_t length = n - first < CHUNK ? n - first : CHUNK;
        float *in = x + first, partial = 0;
        if (keep) {
#pragma omp simd reduction(+ : partial)
            for (int64_t i = 0; i < length; i++) partial += in[i] = fast_exp(in[i] - max);
        } else {
#pragma omp simd reduction(+ : partial)
            for (int64_t i = 0; i < length; i++) partial += fast_exp(in[i] - max);
        }
        sum += (double)partial;
    }
    *inverse = (float)(1.0 / sum);
    return (double)max + log(sum);
}

/// d(-log softmax(x)[t]) / dx = softmax(x) - onehot(t).
static void softmax_cross_entropy(Tensor *logits, const Tensor *targets, bool gradient,
                                  Tensor *loss_sum) {
    int64_t rows = tensor_rows(logits), n = tensor_columns(logits);
    const int32_t *target = targets->data;
    double *losses = checked_malloc((size_t)(rows + 1) * sizeof *losses);
    PARALLEL_FOR(rows * n)
    for (int64_t row = 0; row < rows; row++) {
        float *x = (float *)logits->data + row * n, inverse;
        CHECK(target[row] >= 0 && target[row] < n, "cross-entropy: target %d of %lld classes",
              target[row], (long long)n);
        double of_target = (double)x[target[row]];
        losses[row] = log_sum_exp(x, n, gradient, &inverse) - of_target;
        if (!gradient) continue;
#pragma omp simd
        for (int64_t i = 0; i < n; i++) x[i] *= inverse;
        x[target[row]] -= 1.0f;
    }
    double sum = 0;
    for (int64_t row = 0; row < rows; row++) sum += losses[row];
    *(float *)loss_sum->data += (float)sum;
    free(losses);
}

/// The sum of x (b NULL) or of (a - b)^2, in double over chunks.
static double chunked_sum(const Tensor *a, const Tensor *b) {
    int64_t n = tensor_numel(a), chunks = chunk_count(n, CHUNK);
    double *partial = checked_malloc((size_t)(chunks + 1) * sizeof *partial), total = 0;
    PARALLEL_FOR(n)
    for (int64_t chunk = 0; chunk < chunks; chunk++) {
        float a_buffer[CHUNK], b_buffer[CHUNK], sum = 0;
        int64_t first = chunk * CHUNK, length = chunk_length(n, CHUNK, chunk);
        const float *left = chunk_read(a, first, length, a_buffer);
        if (b) {
            const float *right = chunk_read(b, first, length, b_buffer);
#pragma omp simd reduction(+ : sum)
            for (int64_t i = 0; i < length; i++) sum += (left[i] - right[i]) * (left[i] - right[i]);
        } else {
#pragma omp simd reduction(+ : sum)
            for (int64_t i = 0; i < length; i++) sum += left[i];
        }
        partial[chunk] = (double)sum;
    }
    for (int64_t chunk = 0; chunk < chunks; chunk++) total += partial[chunk];
    free(partial);
    return total;
}

static void mean(const Tensor *x, Tensor *y) {
    *(float *)y->data = (float)(chunked_sum(x, NULL) / (double)tensor_numel(x));
}

static void mean_squared_error(const Tensor *a, const Tensor *b, Tensor *y) {
    *(float *)y->data = (float)(chunked_sum(a, b) / (double)tensor_numel(a));
}

FILL_FAMILY(loss)
