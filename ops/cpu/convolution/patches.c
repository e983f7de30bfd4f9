// An element of grad_x belongs to one window or to none, so there is nothing to add: a row of
//   grad_columns [pixels,K] = grad_y [pixels,out] W     (K = kh kw in, the filter as it is stored)
// is what the window of that pixel gets, and elements between the windows get zero.
#include "ops/cpu/convolution/patches.h"

#include "ops/cpu/converted.h"
#include "ops/cpu/convolution/window.h"
#include "ops/cpu/products/product.h"

#include <string.h>

/// Of a window: with fewer the product is too narrow, measured on Zen 4 half as fast with 16 and a
/// fifth with 4 (Segment Anything's masks).
enum { FEWEST_COLUMNS = 64 };

bool convolution_patches_are_used(const Convolution *s) {
    int64_t stride = s->shape.stride;
    return stride > 1 && stride >= s->kernel_height && stride >= s->kernel_width &&
           s->kernel_height * s->kernel_width * s->channels_in >= FEWEST_COLUMNS;
}

static Matmul product_of(const Convolution *s) {
    return (Matmul){.m = s->batch * s->height_out * s->width_out,
                    .n = s->kernel_height * s->kernel_width * s->channels_in,
                    .k = s->channels_out,
                    .type = s->type,
                    .c_type = s->type};
}

static size_t columns_bytes(const Matmul *product) {
    return (size_t)(product->m * product->n) * dtype_size(product->type);
}

size_t convolution_patches_bytes(const Convolution *shape, const Tensor *weight, int threads) {
    Matmul product = product_of(shape);
    size_t converted =
        weight->dtype == shape->type ? 0 : (size_t)tensor_numel(weight) * dtype_size(shape->type);
    return columns_bytes(&product) + converted + own_product()->bytes(&product, threads);
}

static bool windows_cover_the_image(const Convolution *s) {
    int64_t stride = s->shape.stride;
    return stride == s->kernel_height && stride == s->kernel_width &&
           s->height_out * stride >= s->height + s->shape.pad_top &&
           s->width_out * stride >= s->width + s->shape.pad_left;
}

static void copy_to_window(const Convolution *s, const char *columns, int64_t pixel, char *grad_x) {
    ConvolutionWindow w = convolution_window(s, pixel);
    int64_t element = (int64_t)dtype_size(s->type), tap = s->channels_in * element;
    size_t bytes = (size_t)((w.end_column - w.first_column) * tap);
    for (int64_t row = w.first_row; bytes && row < w.end_row; row++)
        memcpy(grad_x + convolution_window_element(s, &w, row) * element,
               columns + (row * s->kernel_width + w.first_column) * tap, bytes);
}

void convolution_patches_input_gradient(const Convolution *shape, const void *grad_y,
                                        const Tensor *weight, void *grad_x) {
    Device *device = weight->device;
    Matmul product = product_of(shape);
    size_t bytes = columns_bytes(&product);
    int64_t row = product.n * (int64_t)dtype_size(shape->type);
    char *columns = device->allocate(device, bytes);
    Converted filter = converted_read(weight, shape->type);
    product_in_place(&product, grad_y, filter.data, NULL, columns, device);
    converted_release(weight, &filter);
    if (!windows_cover_the_image(shape))
        memset(grad_x, 0,
               (size_t)(shape->batch * shape->height * shape->width * shape->channels_in) *
                   dtype_size(shape->type));
    PARALLEL_FOR(product.m * product.n)
    for (int64_t pixel = 0; pixel < product.m; pixel++)
        copy_to_window(shape, columns + pixel * row, pixel, grad_x);
    device->release(device, columns, bytes);
}
