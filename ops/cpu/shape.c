// Moving rows and pixels. Gradients are gathered, never scattered with +=: each element of the
// result is written by one thread, which adds up its terms in a fixed order.
#include "ops/cpu/chunk.h"
#include "ops/cpu/cpu.h"

#include <stdlib.h>
#include <string.h>

static size_t row_bytes(const Tensor *x) {
    return (size_t)tensor_columns(x) * dtype_size(x->dtype);
}

static char *row_of(const Tensor *x, int64_t row) {
    return (char *)x->data + (size_t)row * row_bytes(x);
}

// ---- columns

static void concatenate(const Tensor *a, const Tensor *b, Tensor *y) {
    int64_t rows = tensor_rows(y);
    PARALLEL_FOR(tensor_numel(y))
    for (int64_t row = 0; row < rows; row++) {
        memcpy(row_of(y, row), row_of(a, row), row_bytes(a));
        memcpy(row_of(y, row) + row_bytes(a), row_of(b, row), row_bytes(b));
    }
}

static void split(const Tensor *y, Tensor *a, Tensor *b) {
    int64_t rows = tensor_rows(y);
    size_t to_b = a ? row_bytes(a) : b ? row_bytes(y) - row_bytes(b) : 0;
    PARALLEL_FOR(tensor_numel(y))
    for (int64_t row = 0; row < rows; row++) {
        if (a) memcpy(row_of(a, row), row_of(y, row), row_bytes(a));
        if (b) memcpy(row_of(b, row), row_of(y, row) + to_b, row_bytes(b));
    }
}

// ---- resizing. Along an axis, output o is (1 - fraction) x[low] + fraction x[high].

typedef struct Axis {
    /// of the output
    int64_t size;
    /// [size], both never falling, high - low at most 1
    int64_t *low, *high;
    /// [size]
    float *fraction;
    /// [input]: the outputs begin .. end - 1 read input i
    int64_t *begin, *end;
} Axis;

/// What reads input i, from low and high.
static void axis_invert(Axis *axis, int64_t input) {
    int64_t begin = 0, end = 0;
    for (int64_t i = 0; i < input; i++) {
        while (begin < axis->size && axis->high[begin] < i) begin++;
        while (end < axis->size && axis->low[end] <= i) end++;
        axis->begin[i] = begin;
        axis->end[i] = end;
    }
}

static Axis axis_new(int64_t input, int64_t output) {
    size_t o = (size_t)output, i = (size_t)input;
    return (Axis){.size = output,
                  .low = checked_malloc((o + 1) * sizeof(int64_t)),
                  .high = checked_malloc((o + 1) * sizeof(int64_t)),
                  .fraction = checked_malloc((o + 1) * sizeof(float)),
                  .begin = checked_malloc((i + 1) * sizeof(int64_t)),
                  .end = checked_malloc((i + 1) * sizeof(int64_t))};
}

static void axis_free(Axis *axis) {
    free(axis->low), free(axis->high), free(axis->fraction), free(axis->begin), free(axis->end);
}

static Axis axis_nearest(int64_t input, int64_t output) {
    Axis axis = axis_new(input, output);
    for (int64_t o = 0; o < output; o++) {
        axis.low[o] = axis.high[o] = o * input / output;
        axis.fraction[o] = 0;
    }
    axis_invert(&axis, input);
    return axis;
}

/// Pixels are squares: the centre of output o lies at (o + 1/2) input / output in the input, whose
/// pixel i has its centre at i + 1/2. What falls outside takes the border pixel.
static Axis axis_bilinear(int64_t input, int64_t output) {
    Axis axis = axis_new(input, output);
    for (int64_t o = 0; o < output; o++) {
        double place = ((double)o + 0.5) * (double)input / (double)output - 0.5;
        if (place < 0) place = 0;
        int64_t low = (int64_t)place;
        axis.low[o] = low;
        axis.high[o] = low + 1 < input ? low + 1 : low;
        axis.fraction[o] = (float)(place - (double)low);
    }
    axis_invert(&axis, input);
    return axis;
}

/// The share of input i in output o.
static float axis_weight(const Axis *axis, int64_t o, int64_t i) {
    return (axis->low[o] == i ? 1.0f - axis->fraction[o] : 0.0f) +
           (axis->high[o] == i ? axis->fraction[o] : 0.0f);
}

static void upsample_nearest(const Tensor *x, Tensor *y) {
    Axis vertical = axis_nearest(x->shape[1], y->shape[1]);
    Axis horizontal = axis_nearest(x->shape[2], y->shape[2]);
    int64_t height = y->shape[1], width = y->shape[2];
    PARALLEL_FOR(tensor_numel(y))
    for (int64_t row = 0; row < y->shape[0] * height; row++) {
        int64_t source = row / height * x->shape[1] + vertical.low[row % height];
        for (int64_t column = 0; column < width; column++)
            memcpy(row_of(y, row * width + column),
                   row_of(x, source * x->shape[2] + horizontal.low[column]), row_bytes(x));
    }
    axis_free(&vertical);
    axis_free(&horizontal);
}

/// `length` channels from `channel` of one output pixel of the row that mixes the input rows top
/// and bottom.
static void blend_pixel(const Tensor *x, Tensor *y, int64_t top, int64_t bottom, float down,
                        const Axis *horizontal, int64_t pixel, int64_t channel, int64_t length) {
    float buffers[4][CHUNK], y_buffer[CHUNK];
    int64_t channels = tensor_columns(x), column = pixel % horizontal->size;
    int64_t left = horizontal->low[column], right = horizontal->high[column];
    float over = horizontal->fraction[column];
    int64_t top_row = top * x->shape[2], bottom_row = bottom * x->shape[2];
    const float *a = chunk_read(x, (top_row + left) * channels + channel, length, buffers[0]);
    const float *b = chunk_read(x, (top_row + right) * channels + channel, length, buffers[1]);
    const float *c = chunk_read(x, (bottom_row + left) * channels + channel, length, buffers[2]);
    const float *d = chunk_read(x, (bottom_row + right) * channels + channel, length, buffers[3]);
    float *out = chunk_target(y, pixel * channels + channel, y_buffer);
#pragma omp simd
    for (int64_t i = 0; i < length; i++)
        out[i] = (1.0f - down) * ((1.0f - over) * a[i] + over * b[i]) +
                 down * ((1.0f - over) * c[i] + over * d[i]);
    chunk_write(y, pixel * channels + channel, length, out);
}

static void resize_bilinear(const Tensor *x, Tensor *y) {
    Axis vertical = axis_bilinear(x->shape[1], y->shape[1]);
    Axis horizontal = axis_bilinear(x->shape[2], y->shape[2]);
    int64_t height = y->shape[1], width = y->shape[2], channels = tensor_columns(x);
    PARALLEL_FOR(tensor_numel(y))
    for (int64_t row = 0; row < y->shape[0] * height; row++) {
        int64_t image = row / height * x->shape[1], o = row % height;
        for (int64_t column = 0; column < width; column++)
            for (int64_t channel = 0; channel < channels; channel += CHUNK)
                blend_pixel(x, y, image + vertical.low[o], image + vertical.high[o],
                            vertical.fraction[o], &horizontal, row * width + column, channel,
                            channels - channel < CHUNK ? channels - channel : CHUNK);
    }
    axis_free(&vertical);
    axis_free(&horizontal);
}

/// The gradient of input pixel (i, j) of an image: the weighted sum of its readers' gradients.
/// `first` is the image's first row in grad_y, `pixel` the input pixel's number in grad_x.
static void gather_pixel(const Tensor *grad_y, Tensor *grad_x, const Axis *vertical,
                         const Axis *horizontal, int64_t first, int64_t pixel, int64_t channel,
                         int64_t length) {
    float sum[CHUNK], buffer[CHUNK];
    int64_t channels = tensor_columns(grad_x);
    int64_t i = pixel / grad_x->shape[2] % grad_x->shape[1], j = pixel % grad_x->shape[2];
    memset(sum, 0, (size_t)length * sizeof sum[0]);
    for (int64_t o = vertical->begin[i]; o < vertical->end[i]; o++)
        for (int64_t p = horizontal->begin[j]; p < horizontal->end[j]; p++) {
            float weight = axis_weight(vertical, o, i) * axis_weight(horizontal, p, j);
            int64_t source = ((first + o) * horizontal->size + p) * channels + channel;
            const float *in = chunk_read(grad_y, source, length, buffer);
#pragma omp simd
            for (int64_t c = 0; c < length; c++) sum[c] += weight * in[c];
        }
    if (grad_x->dtype == FLOAT32)
        memcpy((float *)grad_x->data + pixel * channels + channel, sum,
               (size_t)length * sizeof sum[0]);
    else
        chunk_write(grad_x, pixel * channels + channel, length, sum);
}

static void gather_gradient(const Tensor *grad_y, Tensor *grad_x, Axis vertical, Axis horizontal) {
    int64_t width = grad_x->shape[2], channels = tensor_columns(grad_x);
    PARALLEL_FOR(tensor_numel(grad_y))
    for (int64_t row = 0; row < grad_x->shape[0] * grad_x->shape[1]; row++)
        for (int64_t column = 0; column < width; column++)
            for (int64_t channel = 0; channel < channels; channel += CHUNK)
                gather_pixel(grad_y, grad_x, &vertical, &horizontal,
                             row / grad_x->shape[1] * grad_y->shape[1], row * width + column,
                             channel, channels - channel < CHUNK ? channels - channel : CHUNK);
    axis_free(&vertical);
    axis_free(&horizontal);
}

static void upsample_nearest_gradient(const Tensor *grad_y, Tensor *grad_x) {
    gather_gradient(grad_y, grad_x, axis_nearest(grad_x->shape[1], grad_y->shape[1]),
                    axis_nearest(grad_x->shape[2], grad_y->shape[2]));
}

static void resize_bilinear_gradient(const Tensor *grad_y, Tensor *grad_x) {
    gather_gradient(grad_y, grad_x, axis_bilinear(grad_x->shape[1], grad_y->shape[1]),
                    axis_bilinear(grad_x->shape[2], grad_y->shape[2]));
}

// ---- rows

static void check_row(int64_t row, const Tensor *table) {
    CHECK(row >= 0 && row < tensor_rows(table), "row %lld of %s", (long long)row,
          tensor_describe(table));
}

static void zero(Tensor *x) {
    if (x && tensor_numel(x)) memset(x->data, 0, (size_t)tensor_numel(x) * dtype_size(x->dtype));
}

static void gather_rows(const Tensor *table, const Tensor *index, Tensor *y) {
    const int32_t *from = index->data;
    PARALLEL_FOR(tensor_numel(y))
    for (int64_t row = 0; row < tensor_numel(index); row++) {
        check_row(from[row], table);
        memcpy(row_of(y, row), row_of(table, from[row]), row_bytes(y));
    }
}

static void write_rows(const Tensor *rows, const Tensor *index, Tensor *y) {
    const int32_t *to = index->data;
    PARALLEL_FOR(tensor_numel(rows))
    for (int64_t row = 0; row < tensor_numel(index); row++) {
        check_row(to[row], y);
        memcpy(row_of(y, to[row]), row_of(rows, row), row_bytes(y));
    }
}

static void scatter_rows(const Tensor *rows, const Tensor *index, Tensor *y) {
    zero(y);
    write_rows(rows, index, y);
}

static void merge_rows(const Tensor *a, const Tensor *b, const Tensor *index, Tensor *y) {
    const int32_t *from = index->data;
    PARALLEL_FOR(tensor_numel(y))
    for (int64_t row = 0; row < tensor_numel(index); row++) {
        const Tensor *source = from[row] >= 0 ? a : b;
        int64_t place = from[row] >= 0 ? from[row] : ~from[row];
        CHECK(source, "merge_rows: index %d, but there is no second table", from[row]);
        check_row(place, source);
        memcpy(row_of(y, row), row_of(source, place), row_bytes(y));
    }
}

static void merge_rows_gradient(const Tensor *grad_y, const Tensor *index, Tensor *grad_a,
                                Tensor *grad_b) {
    const int32_t *from = index->data;
    zero(grad_a);
    zero(grad_b);
    PARALLEL_FOR(tensor_numel(grad_y))
    for (int64_t row = 0; row < tensor_numel(index); row++) {
        Tensor *target = from[row] >= 0 ? grad_a : grad_b;
        int64_t place = from[row] >= 0 ? from[row] : ~from[row];
        if (!target) continue;
        check_row(place, target);
        memcpy(row_of(target, place), row_of(grad_y, row), row_bytes(grad_y));
    }
}

FILL_FAMILY(shape)
