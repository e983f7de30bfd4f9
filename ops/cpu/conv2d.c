// Convolutions of frozen networks: oneDNN's, on channels-last images as they are, with the weight in a packed layout that is kept
// beside it. Where oneDNN has no BFLOAT16, images pass through FLOAT32.
#include "ops/cpu/converted.h"
#include "ops/cpu/cpu.h"
#include "ops/cpu/onednn.h"

static Convolution describe(DType type, const Tensor *x, const Tensor *weight, const Conv2d *shape,
                            const Tensor *y) {
    return (Convolution){
        .type = type,
        .batch = x->shape[0],
        .height = x->shape[1],
        .width = x->shape[2],
        .channels_in = x->shape[3],
        .height_out = y->shape[1],
        .width_out = y->shape[2],
        .channels_out = y->shape[3],
        .kernel_height = weight->shape[1],
        .kernel_width = weight->shape[2],
        .shape = *shape,
    };
}

static DType product_type(DType x) { return onednn_has_bfloat16() ? x : FLOAT32; }

static void conv2d(const Tensor *x, Tensor *weight, const Tensor *bias, const Conv2d *shape,
                   Tensor *y) {
    if (tensor_numel(y) == 0) return;
    DType type = product_type(x->dtype);
    Convolution convolution = describe(type, x, weight, shape, y);
    Converted from = converted_read(x, type), to = converted_space(y, type);
    onednn_convolution(&convolution, from.data, weight, bias ? bias->data : NULL, to.data);
    converted_release(x, &from);
    converted_write(y, type, &to);
}

static void conv2d_input_gradient(const Tensor *grad_y, Tensor *weight, const Conv2d *shape,
                                  Tensor *grad_x) {
    if (tensor_numel(grad_x) == 0) return;
    DType type = product_type(grad_y->dtype);
    // oneDNN 2.6 is wrong here in BFLOAT16: with an odd number of channels its last pair reads past the pixel.
    if (weight->shape[1] == 1 && weight->shape[2] == 1 && weight->shape[0] % 2 == 1) type = FLOAT32;
    Convolution convolution = describe(type, grad_x, weight, shape, grad_y);
    Converted from = converted_read(grad_y, type), to = converted_space(grad_x, type);
    onednn_convolution_input_gradient(&convolution, from.data, weight, to.data);
    converted_release(grad_y, &from);
    converted_write(grad_x, type, &to);
}

void LEVEL_NAME(fill_conv2d)(Kernels *table) {
    table->conv2d = conv2d;
    table->conv2d_input_gradient = conv2d_input_gradient;
}
