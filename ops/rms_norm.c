// RMS norm, Llama's. With xhat = x rstd and g = grad_y weight: grad_x = rstd (g - xhat average(g
// xhat)).
#include "ops/elementwise.h"
#include "ops/kernels.h"
#include "ops/ops.h"

static void rms_norm_backward(Node *node, Tensor *grad_output) {
    Tensor *x = node->saved[0], *grad_x = node_new_grad(node, 0);
    kernels(x)->rms_norm_gradient(x, node->saved[1], node->saved[2], grad_output, grad_x);
    node_add_grad(node, 0, grad_x);
}

static void check_weight(const Tensor *weight, const Tensor *x) {
    CHECK(weight->dtype == FLOAT32 && tensor_numel(weight) == tensor_columns(x),
          "rms_norm: weight %s for %s", tensor_describe(weight), tensor_describe(x));
}

/// Where the kernel leaves what backward reads: NULL if there will be none.
static Tensor *new_rstd(const Tensor *x) {
    return requires_grad(x) ? tensor_new(x->device, FLOAT32, SHAPE(tensor_rows(x))) : NULL;
}

static void record_rms_norm(Tensor *y, Tensor *x, Tensor *weight, Tensor *rstd) {
    Node *node = RECORD(y, rms_norm_backward, x);
    if (!node) return;
    node_save(node, 0, x);
    node_save(node, 1, weight);
    node_save(node, 2, rstd);
}

Tensor *rms_norm(Tensor *x, Tensor *weight, float eps) {
    check_weight(weight, x);
    Tensor *y = tensor_like(x), *rstd = new_rstd(x);
    kernels(x)->rms_norm(x, weight, eps, y, rstd);
    record_rms_norm(y, x, weight, rstd);
    return y;
}

Tensor *add_rms_norm(Tensor *a, Tensor *b, Tensor *weight, float eps, Tensor **sum) {
    CHECK(same_shape(a, b) && a->dtype == b->dtype, "add_rms_norm: %s and %s", tensor_describe(a),
          tensor_describe(b));
    check_weight(weight, a);
    Tensor *x = tensor_like(a);
    record_sum(x, a, b);
    Tensor *y = tensor_like(x), *rstd = new_rstd(x);
    kernels(x)->add_rms_norm(a, b, weight, eps, x, y, rstd);
    record_rms_norm(y, x, weight, rstd);
    *sum = x;
    return y;
}
