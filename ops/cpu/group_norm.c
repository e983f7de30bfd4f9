// Group norm, channels last. A sample's rows are cut into blocks of fixed size; each block gives
// per-channel sums, blocks are added in order, channels are joined to groups, and then every block
// is normalised. With at least as many samples as threads a thread takes whole samples, whose
// second pass finds them in its cache; with fewer the threads share a sample's blocks. The
// arithmetic is the same either way, so results do not depend on the number of threads.
#include "ops/cpu/chunk.h"
#include "ops/cpu/cpu.h"
#include "ops/cpu/float_math.h"
#include "ops/cpu/norm.h"

#include <omp.h>
#include <stdlib.h>
#include <string.h>

enum {
    /// what a thread does at a time, but ...
    BLOCK_ELEMENTS = 16384,
    /// ... at least so many rows, or the blocks' sums would outgrow the data
    BLOCK_ROWS = 32,
    /// floats in a buffer at a time (16 KiB), but at least a row
    STRIP_ELEMENTS = 4096,
};

/// One call: forward (grad_y NULL) or backward.
typedef struct GroupNorm {
    const Tensor *x, *grad_y;
    /// or grad_x
    Tensor *y;
    const float *weight, *bias;
    int64_t batch, rows, channels, groups;
    /// per sample
    int64_t block_rows, blocks;
    /// of a block at a time
    int64_t strip_rows;
    float eps;
    bool silu;
    /// [batch,groups]
    float *mean, *rstd;
} GroupNorm;

/// Coefficients of one sample, a float for each channel.
typedef struct Coefficients {
    float *mean, *rstd, *average, *slope;
} Coefficients;

/// Some of a sample's rows: elements first .. first + rows * channels of x.
typedef struct Strip {
    int64_t first, rows;
} Strip;

static int64_t strip_count(const GroupNorm *norm, int64_t block) {
    return chunk_count(chunk_length(norm->rows, norm->block_rows, block), norm->strip_rows);
}

static Strip strip_at(const GroupNorm *norm, int64_t sample, int64_t block, int64_t i) {
    int64_t block_rows = chunk_length(norm->rows, norm->block_rows, block);
    int64_t row = sample * norm->rows + block * norm->block_rows + i * norm->strip_rows;
    return (Strip){row * norm->channels, chunk_length(block_rows, norm->strip_rows, i)};
}

/// Adds over rows d and d^2 per channel, d = x - origin: with an origin inside the data nothing
/// cancels.
static void add_moments(const float *x, const float *origin, int64_t rows, int64_t channels,
                        float *restrict sum, float *restrict squares) {
    int64_t row = 0;
    for (; row + 4 <= rows; row += 4) {
        const float *x0 = x + row * channels, *x1 = x0 + channels, *x2 = x1 + channels,
                    *x3 = x2 + channels;
#pragma omp simd
        for (int64_t c = 0; c < channels; c++) {
            float d0 = x0[c] - origin[c], d1 = x1[c] - origin[c];
            float d2 = x2[c] - origin[c], d3 = x3[c] - origin[c];
            sum[c] += (d0 + d1) + (d2 + d3);
            squares[c] += (d0 * d0 + d1 * d1) + (d2 * d2 + d3 * d3);
        }
    }
    for (; row < rows; row++)
        for (int64_t c = 0; c < channels; c++) {
            float d = x[row * channels + c] - origin[c];
            sum[c] += d;
            squares[c] += d * d;
        }
}

/// The gradient behind the affine part and the SiLU of one element: with u = xhat w + b and y =
/// silu(u), g = grad_y silu'(u) w.
static inline float inner_gradient(float xhat, float w, float b, float grad, bool silu) {
    if (silu) {
        float u = xhat * w + b, s = fast_sigmoid(u);
        grad *= s + u * s * (1.0f - s);
    }
    return grad * w;
}

/// Adds over rows g and g xhat per channel.
static void add_gradient_sums(const GroupNorm *norm, Coefficients k, const float *x,
                              const float *grad, int64_t rows, float *restrict sum,
                              float *restrict product) {
    int64_t channels = norm->channels;
    for (int64_t row = 0; row < rows; row++, x += channels, grad += channels) {
        if (norm->silu) {
#pragma omp simd
            for (int64_t c = 0; c < channels; c++) {
                float xhat = (x[c] - k.mean[c]) * k.rstd[c];
                float g = inner_gradient(xhat, norm->weight[c], norm->bias[c], grad[c], true);
                sum[c] += g;
                product[c] += g * xhat;
            }
        } else {
#pragma omp simd
            for (int64_t c = 0; c < channels; c++) {
                float g = grad[c] * norm->weight[c];
                sum[c] += g;
                product[c] += g * ((x[c] - k.mean[c]) * k.rstd[c]);
            }
        }
    }
}

static void normalise_rows(const GroupNorm *norm, Coefficients k, const float *x, int64_t rows,
                           float *y) {
    int64_t channels = norm->channels;
    const float *w = norm->weight, *b = norm->bias;
    for (int64_t row = 0; row < rows; row++, x += channels, y += channels) {
        if (norm->silu) {
#pragma omp simd
            for (int64_t c = 0; c < channels; c++) {
                float u = (x[c] - k.mean[c]) * k.rstd[c] * w[c] + b[c];
                y[c] = u * fast_sigmoid(u);
            }
        } else {
#pragma omp simd
            for (int64_t c = 0; c < channels; c++)
                y[c] = (x[c] - k.mean[c]) * k.rstd[c] * w[c] + b[c];
        }
    }
}

/// grad_x = rstd (g - average(g) - xhat average(g xhat)), averages over the group.
static void gradient_of_rows(const GroupNorm *norm, Coefficients k, const float *x,
                             const float *grad, int64_t rows, float *grad_x) {
    int64_t channels = norm->channels;
    const float *w = norm->weight, *b = norm->bias;
    for (int64_t row = 0; row < rows; row++, x += channels, grad += channels, grad_x += channels) {
        if (norm->silu) {
#pragma omp simd
            for (int64_t c = 0; c < channels; c++) {
                float xhat = (x[c] - k.mean[c]) * k.rstd[c];
                float g = inner_gradient(xhat, w[c], b[c], grad[c], true);
                grad_x[c] = k.rstd[c] * (g - k.average[c] - xhat * k.slope[c]);
            }
        } else {
#pragma omp simd
            for (int64_t c = 0; c < channels; c++) {
                float xhat = (x[c] - k.mean[c]) * k.rstd[c];
                grad_x[c] = k.rstd[c] * (grad[c] * w[c] - k.average[c] - xhat * k.slope[c]);
            }
        }
    }
}

/// Adds up the blocks' sums [blocks,2,C] in order, in double: first -> sum[C], second -> other[C].
static void add_blocks(const GroupNorm *norm, const float *partial, double *sum, double *other) {
    int64_t channels = norm->channels;
    for (int64_t c = 0; c < channels; c++) sum[c] = other[c] = 0;
    for (int64_t block = 0; block < norm->blocks; block++)
        for (int64_t c = 0; c < channels; c++) {
            sum[c] += (double)partial[block * 2 * channels + c];
            other[c] += (double)partial[(block * 2 + 1) * channels + c];
        }
}

/// Mean and 1/std of each group from the channels' sums of d and d^2, d = x - origin. The mean of a
/// group is that of its channels' means; its squared distances are those within channels and, times
/// rows, those between the channels' means.
static void statistics_of_groups(const GroupNorm *norm, int64_t sample, const float *origin,
                                 const double *sum, const double *squares) {
    int64_t width = norm->channels / norm->groups;
    double rows = (double)norm->rows;
    for (int64_t group = 0; group < norm->groups; group++) {
        double mean = 0, distances = 0;
        for (int64_t c = group * width; c < (group + 1) * width; c++)
            mean += (double)origin[c] + sum[c] / rows;
        mean /= (double)width;
        for (int64_t c = group * width; c < (group + 1) * width; c++) {
            double from_group = (double)origin[c] + sum[c] / rows - mean;
            distances += squares[c] - sum[c] * sum[c] / rows + rows * from_group * from_group;
        }
        double variance = distances / (rows * (double)width);
        norm->mean[sample * norm->groups + group] = (float)mean;
        norm->rstd[sample * norm->groups + group] =
            (float)(1.0 / sqrt((variance > 0 ? variance : 0) + (double)norm->eps));
    }
}

static void spread_statistics(const GroupNorm *norm, int64_t sample, Coefficients k) {
    int64_t width = norm->channels / norm->groups;
    for (int64_t c = 0; c < norm->channels; c++) {
        k.mean[c] = norm->mean[sample * norm->groups + c / width];
        k.rstd[c] = norm->rstd[sample * norm->groups + c / width];
    }
}

static void average_over_groups(const GroupNorm *norm, const double *sum, const double *product,
                                Coefficients k) {
    int64_t width = norm->channels / norm->groups;
    double count = (double)(norm->rows * width);
    for (int64_t group = 0; group < norm->groups; group++) {
        double total = 0, total_product = 0;
        for (int64_t c = group * width; c < (group + 1) * width; c++)
            total += sum[c], total_product += product[c];
        for (int64_t c = group * width; c < (group + 1) * width; c++) {
            k.average[c] = (float)(total / count);
            k.slope[c] = (float)(total_product / count);
        }
    }
}

/// First pass over one block: its sums into partial [2,C].
static void sum_block(const GroupNorm *norm, int64_t sample, int64_t block, const float *origin,
                      Coefficients k, float *partial) {
    float x_buffer[NORM_MAX_COLUMNS], grad_buffer[NORM_MAX_COLUMNS];
    int64_t channels = norm->channels;
    memset(partial, 0, (size_t)(2 * channels) * sizeof *partial);
    for (int64_t i = 0; i < strip_count(norm, block); i++) {
        Strip strip = strip_at(norm, sample, block, i);
        int64_t n = strip.rows * channels;
        const float *x = chunk_read(norm->x, strip.first, n, x_buffer);
        if (norm->grad_y)
            add_gradient_sums(norm, k, x, chunk_read(norm->grad_y, strip.first, n, grad_buffer),
                              strip.rows, partial, partial + channels);
        else
            add_moments(x, origin, strip.rows, channels, partial, partial + channels);
    }
}

/// Second pass over one block: y or grad_x.
static void write_block(const GroupNorm *norm, int64_t sample, int64_t block, Coefficients k) {
    float x_buffer[NORM_MAX_COLUMNS], grad_buffer[NORM_MAX_COLUMNS], y_buffer[NORM_MAX_COLUMNS];
    for (int64_t i = 0; i < strip_count(norm, block); i++) {
        Strip strip = strip_at(norm, sample, block, i);
        int64_t n = strip.rows * norm->channels;
        const float *x = chunk_read(norm->x, strip.first, n, x_buffer);
        float *y = chunk_target(norm->y, strip.first, y_buffer);
        if (norm->grad_y)
            gradient_of_rows(norm, k, x, chunk_read(norm->grad_y, strip.first, n, grad_buffer),
                             strip.rows, y);
        else
            normalise_rows(norm, k, x, strip.rows, y);
        chunk_write(norm->y, strip.first, n, y);
    }
}

static void norm_sample(const GroupNorm *norm, int64_t sample, bool share) {
    int64_t channels = norm->channels, elements = share ? norm->rows * channels : 0;
    float *floats = checked_malloc((size_t)((5 + 2 * norm->blocks) * channels) * sizeof *floats);
    double *sums = checked_malloc((size_t)(2 * channels) * sizeof *sums);
    Coefficients k = {floats, floats + channels, floats + 2 * channels, floats + 3 * channels};
    float *origin_buffer = floats + 4 * channels, *partial = floats + 5 * channels;
    const float *origin =
        chunk_read(norm->x, sample * norm->rows * channels, channels, origin_buffer);
    if (norm->grad_y) spread_statistics(norm, sample, k);
    PARALLEL_FOR(elements)
    for (int64_t block = 0; block < norm->blocks; block++)
        sum_block(norm, sample, block, origin, k, partial + block * 2 * channels);
    add_blocks(norm, partial, sums, sums + channels);
    if (norm->grad_y) {
        average_over_groups(norm, sums, sums + channels, k);
    } else {
        statistics_of_groups(norm, sample, origin, sums, sums + channels);
        spread_statistics(norm, sample, k);
    }
    PARALLEL_FOR(elements)
    for (int64_t block = 0; block < norm->blocks; block++) write_block(norm, sample, block, k);
    free(sums);
    free(floats);
}

static void run(GroupNorm norm) {
    norm.batch = norm.x->shape[0];
    norm.channels = norm_columns(norm.x);
    norm.rows = norm.batch ? tensor_rows(norm.x) / norm.batch : 0;
    if (norm.rows == 0) return;
    norm.block_rows = BLOCK_ELEMENTS / norm.channels;
    if (norm.block_rows < BLOCK_ROWS) norm.block_rows = BLOCK_ROWS;
    norm.strip_rows = STRIP_ELEMENTS / norm.channels;
    if (norm.strip_rows < 1) norm.strip_rows = 1;
    norm.blocks = chunk_count(norm.rows, norm.block_rows);
    // Two loops, for a shared sample's blocks must not be in a region of this one's, even if one
    // thread alone runs it: the region within would start threads of its own, at every call.
    if (norm.batch < omp_get_max_threads()) {
        for (int64_t sample = 0; sample < norm.batch; sample++) norm_sample(&norm, sample, true);
        return;
    }
    PARALLEL_FOR(tensor_numel(norm.x))
    for (int64_t sample = 0; sample < norm.batch; sample++) norm_sample(&norm, sample, false);
}

static void group_norm(const Tensor *x, const Tensor *weight, const Tensor *bias, int groups,
                       float eps, bool silu, Tensor *y, Tensor *mean, Tensor *rstd) {
    size_t count = (size_t)(x->shape[0] * groups + 1);
    float *own = mean && rstd ? NULL : checked_malloc(2 * count * sizeof *own);
    run((GroupNorm){.x = x,
                    .y = y,
                    .weight = weight->data,
                    .bias = bias->data,
                    .groups = groups,
                    .eps = eps,
                    .silu = silu,
                    .mean = mean ? mean->data : own,
                    .rstd = rstd ? rstd->data : own + count});
    free(own);
}

static void group_norm_gradient(const Tensor *x, const Tensor *weight, const Tensor *bias,
                                int groups, bool silu, const Tensor *mean, const Tensor *rstd,
                                const Tensor *grad_y, Tensor *grad_x) {
    run((GroupNorm){.x = x,
                    .grad_y = grad_y,
                    .y = grad_x,
                    .weight = weight->data,
                    .bias = bias->data,
                    .groups = groups,
                    .silu = silu,
                    .mean = mean->data,
                    .rstd = rstd->data});
}

FILL_FAMILY(group_norm)
