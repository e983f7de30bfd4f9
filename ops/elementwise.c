// Sums, products, conversions and dropout.
#include "ops/elementwise.h"
#include "ops/kernels.h"
#include "ops/ops.h"

/// Whether b's shape is a's or the end of it.
static bool is_trailing_shape(const Tensor *a, const Tensor *b) {
    if (b->rank > a->rank) return false;
    for (int i = 1; i <= b->rank; i++)
        if (b->shape[b->rank - i] != a->shape[a->rank - i]) return false;
    return true;
}

/// b's gradient where b was repeated along a: the sum over the repeats, in FLOAT32.
static void add_repeated_grad(Node *node, Tensor *grad_output) {
    bool leaf = node_input_is_leaf(node, 1);
    const NodeEnd *b = &node->inputs[1];
    Tensor *sum = leaf ? node_leaf_grad(node, 1)
                       : tensor_zeros(grad_output->device, FLOAT32, b->rank, b->shape);
    int64_t period = tensor_numel(sum);
    Tensor *rows = reshape(grad_output, SHAPE(tensor_numel(grad_output) / period, period));
    kernels(grad_output)->sum_rows(rows, reshape(sum, SHAPE(period)));
    if (!leaf) node_add_grad(node, 1, sum);
}

static void add_backward(Node *node, Tensor *grad_output) {
    if (node_wants(node, 0)) node_add_grad(node, 0, grad_output);
    if (!node_wants(node, 1)) return;
    int64_t numel = 1;
    for (int i = 0; i < node->inputs[1].rank; i++) numel *= node->inputs[1].shape[i];
    if (numel == tensor_numel(grad_output))
        node_add_grad(node, 1, grad_output);
    else
        add_repeated_grad(node, grad_output);
}

void record_sum(Tensor *sum, Tensor *a, Tensor *b) { RECORD(sum, add_backward, a, b); }

Tensor *add(Tensor *a, Tensor *b) {
    CHECK(is_trailing_shape(a, b) && (b->dtype == a->dtype || b->dtype == FLOAT32),
          "add: %s is not of the shape (or its end) and type of %s", tensor_describe(b),
          tensor_describe(a));
    Tensor *y = tensor_like(a);
    kernels(a)->add(a, b, y);
    record_sum(y, a, b);
    return y;
}

static void multiply_backward(Node *node, Tensor *grad_output) {
    for (int input = 0; input < 2; input++) {
        if (!node_wants(node, input)) continue;
        Tensor *grad_input = node_new_grad(node, input);
        kernels(grad_output)->multiply(grad_output, node->saved[1 - input], grad_input);
        node_add_grad(node, input, grad_input);
    }
}

Tensor *multiply(Tensor *a, Tensor *b) {
    CHECK(same_shape(a, b) && a->dtype == b->dtype, "multiply: %s and %s", tensor_describe(a),
          tensor_describe(b));
    Tensor *y = tensor_like(a);
    kernels(a)->multiply(a, b, y);
    Node *node = RECORD(y, multiply_backward, a, b);
    if (!node) return y;
    node_save(node, 0, requires_grad(b) ? a : NULL);
    node_save(node, 1, requires_grad(a) ? b : NULL);
    return y;
}

static void scale_backward(Node *node, Tensor *grad_output) {
    Tensor *grad_x = node_new_grad(node, 0);
    kernels(grad_output)->scale(grad_output, *NODE_ARGUMENTS(node, float), grad_x);
    node_add_grad(node, 0, grad_x);
}

Tensor *scale(Tensor *x, float factor) {
    Tensor *y = tensor_like(x);
    kernels(x)->scale(x, factor, y);
    Node *node = RECORD(y, scale_backward, x);
    if (node) NODE_SET_ARGUMENTS(node, factor);
    return y;
}

static void convert_backward(Node *node, Tensor *grad_output) {
    if (node_input_is_leaf(node, 0)) { // gathers gradients of any type
        node_add_grad(node, 0, grad_output);
        return;
    }
    Tensor *grad_x = node_new_grad(node, 0);
    kernels(grad_output)->convert(grad_output, grad_x);
    node_add_grad(node, 0, grad_x);
}

Tensor *convert(Tensor *x, DType dtype) {
    if (x->dtype == dtype) return x;
    CHECK(x->dtype != INT32 && dtype != INT32, "convert: %s to %s", tensor_describe(x),
          dtype_name(dtype));
    Tensor *y = tensor_new(x->device, dtype, x->rank, x->shape);
    kernels(x)->convert(x, y);
    RECORD(y, convert_backward, x);
    return y;
}

typedef struct DropoutArguments {
    RandomStream stream;
    float probability;
} DropoutArguments;

/// The mask is drawn again rather than kept.
static void dropout_backward(Node *node, Tensor *grad_output) {
    const DropoutArguments *arguments = NODE_ARGUMENTS(node, DropoutArguments);
    Tensor *grad_x = node_new_grad(node, 0);
    kernels(grad_output)
        ->dropout(grad_output, arguments->probability, arguments->stream, NULL, grad_x);
    node_add_grad(node, 0, grad_x);
}

Tensor *dropout(Tensor *x, float p, RandomStream stream) {
    CHECK(p >= 0.0f && p < 1.0f, "dropout: probability %g", (double)p);
    if (p == 0.0f) return x;
    Tensor *y = tensor_like(x);
    kernels(x)->dropout(x, p, stream, NULL, y);
    Node *node = RECORD(y, dropout_backward, x);
    if (node) NODE_SET_ARGUMENTS(node, ((DropoutArguments){stream, p}));
    return y;
}
