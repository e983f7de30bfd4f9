// Rotary embedding turns pairs, so its backward turns them back. The angles come from outside:
// every layer and every head asks for the same ones, and what a model does to its frequencies is
// the model's affair.
#include "ops/kernels.h"
#include "ops/ops.h"

static void rope_backward(Node *node, Tensor *grad_output) {
    Tensor *grad_x = node_new_grad(node, 0);
    kernels(grad_output)->rope(grad_output, node->saved[0], true, grad_x);
    node_add_grad(node, 0, grad_x);
}

Tensor *rope(Tensor *x, Tensor *rotations) {
    int64_t head_dim = tensor_columns(rotations);
    CHECK(rotations->dtype == FLOAT32 && head_dim > 0 && head_dim <= ATTENTION_MAX_HEAD_DIM &&
              head_dim % 2 == 0 && tensor_columns(x) % head_dim == 0 &&
              tensor_rows(rotations) == tensor_rows(x),
          "rope: x is %s, rotations %s", tensor_describe(x), tensor_describe(rotations));
    Tensor *y = tensor_like(x);
    kernels(x)->rope(x, rotations, false, y);
    Node *node = RECORD(y, rope_backward, x);
    if (node) node_save(node, 0, rotations);
    return y;
}
