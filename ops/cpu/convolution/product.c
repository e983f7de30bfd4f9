// A filter is stored [out,kh,kw,in], so with K = kh kw in a convolution is one product with a row
// of K elements ("columns") for each pixel of the output:
//   y [pixels,out] = columns(x) [pixels,K] W^T,     grad_columns [pixels,K] = grad_y [pixels,out]
//   W,
// and an element of grad_x is the sum of those of grad_columns whose place its copies had. For a
// few pixels the columns are smaller than the filter, which the product library packs at each call.
// grad_columns are FLOAT32: up to kh kw of them are added, and rounding each would make the sum
// worse than the library's; summing them takes 3% of the product's time.
#include "ops/cpu/convolution/product.h"

#include "ops/cpu/chunk.h"
#include "ops/cpu/convolution/window.h"
#include "ops/cpu/products/product.h"

#include <string.h>

/// With more, the library's faster product makes up for its packing: measured, equal at about 300
/// forward, 400 to 500 backward.
enum { MOST_PIXELS = 256 };

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

static int64_t pixels_of(const Convolution *s) { return s->batch * s->height_out * s->width_out; }

/// K
static int64_t columns_of(const Convolution *s) {
    return s->kernel_height * s->kernel_width * s->channels_in;
}

/// The columns are the image itself.
static bool is_plain(const Convolution *s) {
    return s->kernel_height == 1 && s->kernel_width == 1 && s->shape.stride == 1 &&
           s->height == s->height_out && s->width == s->width_out && s->shape.pad_top == 0 &&
           s->shape.pad_left == 0;
}

static size_t columns_bytes(const Convolution *s, bool gradient) {
    if (is_plain(s)) return 0;
    return (size_t)(pixels_of(s) * columns_of(s)) * dtype_size(gradient ? FLOAT32 : BFLOAT16);
}

static Matmul product_of(const Convolution *s, bool gradient) {
    return (Matmul){.m = pixels_of(s),
                    .n = gradient ? columns_of(s) : s->channels_out,
                    .k = gradient ? s->channels_out : columns_of(s),
                    .type = BFLOAT16,
                    .c_type = gradient && !is_plain(s) ? FLOAT32 : BFLOAT16,
                    .b_transposed = !gradient};
}

/// Columns may take no more memory than the packed filter would.
static bool is_used(const Convolution *s, bool gradient) {
    int64_t elements = s->channels_out * columns_of(s);
    return s->type == BFLOAT16 && elements > KEPT_FILTER_ELEMENTS && pixels_of(s) <= MOST_PIXELS &&
           columns_bytes(s, gradient) <= (size_t)elements * dtype_size(BFLOAT16) &&
           onednn_has_bfloat16();
}

static size_t product_bytes(const Convolution *shape, bool gradient, int threads) {
    Matmul product = product_of(shape, gradient);
    return columns_bytes(shape, gradient) + own_product()->bytes(&product, threads);
}

// ---- forward

/// One row of columns: what the kernel sees of x for a pixel of the output, zeros outside of the
/// image.
static void copy_window(const Convolution *s, const uint16_t *x, int64_t pixel, uint16_t *to) {
    ConvolutionWindow w = convolution_window(s, pixel);
    size_t tap_bytes = (size_t)s->channels_in * sizeof *to;
    for (int64_t i = 0; i < s->kernel_height; i++, to += s->kernel_width * s->channels_in) {
        if (i < w.first_row || i >= w.end_row || w.first_column == w.end_column) {
            memset(to, 0, (size_t)s->kernel_width * tap_bytes);
            continue;
        }
        memset(to, 0, (size_t)w.first_column * tap_bytes);
        memcpy(to + w.first_column * s->channels_in, x + convolution_window_element(s, &w, i),
               (size_t)(w.end_column - w.first_column) * tap_bytes);
        memset(to + w.end_column * s->channels_in, 0,
               (size_t)(s->kernel_width - w.end_column) * tap_bytes);
    }
}

static void forward(const Convolution *shape, const uint16_t *x, const uint16_t *weight,
                    const float *bias, uint16_t *y, Device *device) {
    Matmul product = product_of(shape, false);
    if (is_plain(shape)) {
        product_in_place(&product, x, weight, bias, y, device);
        return;
    }
    size_t bytes = columns_bytes(shape, false);
    uint16_t *columns = device->allocate(device, bytes);
    PARALLEL_FOR(product.m * product.k)
    for (int64_t pixel = 0; pixel < product.m; pixel++)
        copy_window(shape, x, pixel, columns + pixel * product.k);
    product_in_place(&product, columns, weight, bias, y, device);
    device->release(device, columns, bytes);
}

// ---- input gradient

typedef struct Range {
    int64_t first, end;
} Range;

/// Along one dimension, the windows that see a place; there may be none.
static Range windows_over(int64_t place, int64_t pad, int64_t kernel, int64_t stride,
                          int64_t windows) {
    int64_t last = place + pad,
            before = last - kernel; // a window that begins there ends just short
    return (Range){before < 0 ? 0 : before / stride + 1, least(last / stride + 1, windows)};
}

/// One pixel of grad_x: the terms are added in the order of the windows.
static void sum_windows(const Convolution *s, const float *columns, int64_t pixel,
                        uint16_t *grad_x) {
    int64_t line = pixel / s->width, image = line / s->height;
    int64_t row = line % s->height, column = pixel % s->width;
    Range rows =
        windows_over(row, s->shape.pad_top, s->kernel_height, s->shape.stride, s->height_out);
    Range places =
        windows_over(column, s->shape.pad_left, s->kernel_width, s->shape.stride, s->width_out);
    for (int64_t c = 0; c < s->channels_in; c += CHUNK) {
        float sums[CHUNK] = {0};
        int64_t length = least(CHUNK, s->channels_in - c);
        for (int64_t i = rows.first; i < rows.end; i++)
            for (int64_t j = places.first; j < places.end; j++) {
                int64_t window = (image * s->height_out + i) * s->width_out + j;
                int64_t tap = (row + s->shape.pad_top - i * s->shape.stride) * s->kernel_width +
                              column + s->shape.pad_left - j * s->shape.stride;
                const float *terms = columns + window * columns_of(s) + tap * s->channels_in + c;
                for (int64_t l = 0; l < length; l++) sums[l] += terms[l];
            }
        bfloat16_from_floats(sums, length, grad_x + pixel * s->channels_in + c);
    }
}

static void input_gradient(const Convolution *shape, const uint16_t *grad_y, const uint16_t *weight,
                           uint16_t *grad_x, Device *device) {
    Matmul product = product_of(shape, true);
    if (is_plain(shape)) {
        product_in_place(&product, grad_y, weight, NULL, grad_x, device);
        return;
    }
    size_t bytes = columns_bytes(shape, true);
    float *columns = device->allocate(device, bytes);
    product_in_place(&product, grad_y, weight, NULL, columns, device);
    PARALLEL_FOR(product.m * product.n)
    for (int64_t pixel = 0; pixel < shape->batch * shape->height * shape->width; pixel++)
        sum_windows(shape, columns, pixel, grad_x);
    device->release(device, columns, bytes);
}

const OwnConvolution convolution_product = {is_used, product_bytes, forward, input_gradient};
