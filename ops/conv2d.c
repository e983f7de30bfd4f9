// Convolution of a frozen network: backward needs the weight and the geometry, no activation.
#include "ops/kernels.h"
#include "ops/ops.h"

static void conv2d_backward(Node *node, Tensor *grad_output) {
    Tensor *grad_x = node_new_grad(node, 0);
    kernels(grad_output)
        ->conv2d_input_gradient(grad_output, node->saved[0], NODE_ARGUMENTS(node, Conv2d), grad_x);
    node_add_grad(node, 0, grad_x);
}

Tensor *conv2d(Tensor *x, Tensor *weight, Tensor *bias, Conv2d shape) {
    CHECK(x->rank == 4 && weight->rank == 4 && x->shape[3] == weight->shape[3],
          "conv2d: x is %s, weight %s (%s)", tensor_describe(x), tensor_describe(weight),
          weight->name ? weight->name : "unnamed");
    CHECK(weight->dtype == x->dtype || weight->dtype == FLOAT32, "conv2d: x is %s, weight %s",
          tensor_describe(x), tensor_describe(weight));
    CHECK(!weight->gradient && !(bias && bias->gradient), "conv2d: weights are frozen");
    CHECK(!bias || (bias->dtype == FLOAT32 && tensor_numel(bias) == weight->shape[0]),
          "conv2d: weight is %s, bias %s", tensor_describe(weight), tensor_describe(bias));
    int64_t height = x->shape[1] + shape.pad_top + shape.pad_bottom - weight->shape[1];
    int64_t width = x->shape[2] + shape.pad_left + shape.pad_right - weight->shape[2];
    CHECK(shape.stride > 0 && height >= 0 && width >= 0,
          "conv2d: an image %s is smaller than the kernel %s", tensor_describe(x),
          tensor_describe(weight));
    Tensor *y = tensor_new(
        x->device, x->dtype,
        SHAPE(x->shape[0], height / shape.stride + 1, width / shape.stride + 1, weight->shape[0]));
    kernels(x)->conv2d(x, weight, bias, &shape, y);
    Node *node = RECORD(y, conv2d_backward, x);
    if (node) {
        node_save(node, 0, weight);
        NODE_SET_ARGUMENTS(node, shape);
    }
    return y;
}
