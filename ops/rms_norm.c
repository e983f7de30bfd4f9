// RMS norm, Llama's. With xhat = x rstd and g = grad_y weight: grad_x = rstd (g - xhat average(g xhat)).
#include "ops/kernels.h"
#include "ops/ops.h"

static void rms_norm_backward(Node *node, Tensor *grad_output) {
    Tensor *x = node->saved[0], *grad_x = node_new_grad(node, 0);
    kernels(x)->rms_norm_gradient(x, node->saved[1], node->saved[2], grad_output, grad_x);
    node_add_grad(node, 0, grad_x);
}

Tensor *rms_norm(Tensor *x, Tensor *weight, float eps) {
    CHECK(weight->dtype == FLOAT32 && tensor_numel(weight) == tensor_columns(x),
          "rms_norm: weight %s for %s", tensor_describe(weight), tensor_describe(x));
    bool wanted = requires_grad(x);
    Tensor *y = tensor_like(x);
    Tensor *rstd = wanted ? tensor_new(x->device, FLOAT32, SHAPE(tensor_rows(x))) : NULL;
    kernels(x)->rms_norm(x, weight, eps, y, rstd);
    Node *node = RECORD(y, rms_norm_backward, x);
    if (!node) return y;
    node_save(node, 0, x);
    node_save(node, 1, weight);
    node_save(node, 2, rstd);
    return y;
}
