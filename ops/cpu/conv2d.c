// Convolutions of frozen networks: oneDNN's, on channels-last images as they are, with the weight
// in a packed layout that is kept beside it, or the level's own with a filter as it is. Gradients
// of windows that lie apart are products as well. Where oneDNN has no BFLOAT16, images pass through
// FLOAT32.
#include "ops/cpu/converted.h"
#include "ops/cpu/convolution/convolution.h"
#include "ops/cpu/convolution/patches.h"
#include "ops/cpu/cpu.h"
#include "ops/cpu/onednn.h"

static DType product_type(DType x) { return onednn_has_bfloat16() ? x : FLOAT32; }

static void conv2d(const Tensor *x, Tensor *weight, const Tensor *bias, const Conv2d *shape,
                   Tensor *y) {
    if (tensor_numel(y) == 0) return;
    DType type = product_type(x->dtype);
    Convolution convolution = convolution_of(type, x, weight, shape, y);
    const float *bias_data = bias ? bias->data : NULL;
    if (weight->dtype == type && own_convolution()->is_used(&convolution, false)) {
        own_convolution()->forward(&convolution, x->data, weight->data, bias_data, y->data,
                                   x->device);
        return;
    }
    Converted from = converted_read(x, type), to = converted_space(y, type);
    onednn_convolution(&convolution, from.data, weight, bias_data, to.data);
    converted_release(x, &from);
    converted_write(y, type, &to);
}

static void conv2d_input_gradient(const Tensor *grad_y, Tensor *weight, const Conv2d *shape,
                                  Tensor *grad_x) {
    if (tensor_numel(grad_x) == 0) return;
    DType type = product_type(grad_y->dtype);
    Convolution convolution = convolution_of(type, grad_x, weight, shape, grad_y);
    if (weight->dtype == type && own_convolution()->is_used(&convolution, true)) {
        own_convolution()->input_gradient(&convolution, grad_y->data, weight->data, grad_x->data,
                                          grad_y->device);
        return;
    }
    bool patches = convolution_patches_are_used(&convolution);
    // oneDNN 2.6 is wrong here in BFLOAT16: with an odd number of channels its last pair reads past
    // the pixel.
    if (!patches && weight->shape[1] == 1 && weight->shape[2] == 1 && weight->shape[0] % 2 == 1)
        type = FLOAT32;
    convolution.type = type;
    Converted from = converted_read(grad_y, type), to = converted_space(grad_x, type);
    if (patches)
        convolution_patches_input_gradient(&convolution, from.data, weight, to.data);
    else
        onednn_convolution_input_gradient(&convolution, from.data, weight, to.data);
    converted_release(grad_y, &from);
    converted_write(grad_x, type, &to);
}

FILL_FAMILY(conv2d)
