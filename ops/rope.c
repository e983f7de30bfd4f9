// Rotary embedding is a rotation of pairs, so its backward is the rotation back.
#include "ops/kernels.h"
#include "ops/ops.h"

typedef struct RopeArguments {
    int head_dim;
    float theta;
} RopeArguments;

static void rope_backward(Node *node, Tensor *grad_output) {
    const RopeArguments *arguments = NODE_ARGUMENTS(node, RopeArguments);
    Tensor *grad_x = node_new_grad(node, 0);
    kernels(grad_output)
        ->rope(grad_output, node->saved[0], arguments->head_dim, arguments->theta, true, grad_x);
    node_add_grad(node, 0, grad_x);
}

Tensor *rope(Tensor *x, Tensor *positions, int head_dim, float theta) {
    CHECK(head_dim > 0 && head_dim <= 1024 && head_dim % 2 == 0 &&
              tensor_columns(x) % head_dim == 0,
          "rope: x is %s, head_dim %d", tensor_describe(x), head_dim);
    CHECK(positions->dtype == INT32 && tensor_numel(positions) == tensor_rows(x),
          "rope: x is %s, positions %s", tensor_describe(x), tensor_describe(positions));
    RopeArguments arguments = {head_dim, theta};
    Tensor *y = tensor_like(x);
    kernels(x)->rope(x, positions, head_dim, theta, false, y);
    Node *node = RECORD(y, rope_backward, x);
    if (node) {
        node_save(node, 0, positions);
        NODE_SET_ARGUMENTS(node, arguments);
    }
    return y;
}
