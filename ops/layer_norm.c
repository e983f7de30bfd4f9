// Layer norm. With xhat = (x - mean) rstd and g = grad_y weight, where averages are over a row:
//   grad_x = rstd (g - average(g) - xhat average(g xhat)),
//   grad_weight = sum over rows of grad_y xhat,  grad_bias = sum over rows of grad_y.
#include "ops/elementwise.h"
#include "ops/kernels.h"
#include "ops/ops.h"

/// Where a kernel adds a parameter's gradient: a leaf's own buffer, or zeros to be handed on; NULL
/// if nobody wants it.
static Tensor *parameter_grad(Node *node, int input) {
    if (!node_wants(node, input)) return NULL;
    if (node_input_is_leaf(node, input)) return node_leaf_grad(node, input);
    const NodeEnd *end = &node->inputs[input];
    return tensor_zeros(node->saved[0]->device, FLOAT32, end->rank, end->shape);
}

static void layer_norm_backward(Node *node, Tensor *grad_output) {
    Tensor *x = node->saved[0];
    Tensor *grad_x = node_wants(node, 0) ? node_new_grad(node, 0) : NULL;
    Tensor *grad_weight = parameter_grad(node, 1), *grad_bias = parameter_grad(node, 2);
    kernels(x)->layer_norm_gradient(x, node->saved[1], node->saved[2], node->saved[3], grad_output,
                                    grad_x, grad_weight, grad_bias);
    if (grad_x) node_add_grad(node, 0, grad_x);
    if (grad_weight && !node_input_is_leaf(node, 1)) node_add_grad(node, 1, grad_weight);
    if (grad_bias && !node_input_is_leaf(node, 2)) node_add_grad(node, 2, grad_bias);
}

static void check_parameter(const char *name, const Tensor *parameter, const Tensor *x) {
    CHECK(!parameter ||
              (parameter->dtype == FLOAT32 && tensor_numel(parameter) == tensor_columns(x)),
          "layer_norm: %s %s for %s", name, tensor_describe(parameter), tensor_describe(x));
}

static void check_parameters(const Tensor *weight, const Tensor *bias, const Tensor *x) {
    check_parameter("weight", weight, x);
    check_parameter("bias", bias, x);
}

/// What backward reads besides x and the weight: NULL if there will be none.
typedef struct Statistics {
    Tensor *mean, *rstd;
} Statistics;

static Statistics new_statistics(const Tensor *x, const Tensor *weight, const Tensor *bias) {
    if (!requires_grad(x) && !requires_grad(weight) && !requires_grad(bias)) return (Statistics){0};
    return (Statistics){.mean = tensor_new(x->device, FLOAT32, SHAPE(tensor_rows(x))),
                        .rstd = tensor_new(x->device, FLOAT32, SHAPE(tensor_rows(x)))};
}

static void record_layer_norm(Tensor *y, Tensor *x, Tensor *weight, Tensor *bias,
                              Statistics statistics) {
    Node *node = RECORD(y, layer_norm_backward, x, weight, bias);
    if (!node) return;
    node_save(node, 0, x);
    node_save(node, 1, weight);
    node_save(node, 2, statistics.mean);
    node_save(node, 3, statistics.rstd);
}

Tensor *layer_norm(Tensor *x, Tensor *weight, Tensor *bias, float eps) {
    check_parameters(weight, bias, x);
    Tensor *y = tensor_like(x);
    Statistics statistics = new_statistics(x, weight, bias);
    kernels(x)->layer_norm(x, weight, bias, eps, y, statistics.mean, statistics.rstd);
    record_layer_norm(y, x, weight, bias, statistics);
    return y;
}

Tensor *add_layer_norm(Tensor *a, Tensor *b, Tensor *weight, Tensor *bias, float eps,
                       Tensor **sum) {
    CHECK(same_shape(a, b) && a->dtype == b->dtype, "add_layer_norm: %s and %s", tensor_describe(a),
          tensor_describe(b));
    check_parameters(weight, bias, a);
    Tensor *x = tensor_like(a);
    record_sum(x, a, b);
    Tensor *y = tensor_like(x);
    Statistics statistics = new_statistics(x, weight, bias);
    kernels(x)->add_layer_norm(a, b, weight, bias, eps, x, y, statistics.mean, statistics.rstd);
    record_layer_norm(y, x, weight, bias, statistics);
    *sum = x;
    return y;
}
