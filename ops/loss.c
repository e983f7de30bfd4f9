// Losses. The cross-entropy is fused with the projection to the vocabulary: with 32,000 words the
// logits of a batch are larger than all else, so they exist for supervised rows only and for a
// chunk of those at a time. The gradient of the hidden states is computed on the way (logits would
// have to be computed twice otherwise) and only scaled in backward.
#include "ops/kernels.h"
#include "ops/ops.h"

/// Bytes of logits at a time: large enough for efficient products, small beside a batch's
/// activations.
enum { LOGIT_BYTES = 64 << 20 };

/// Rows first .. first+count of x as a tensor of the innermost scope.
static Tensor *rows_of(const Tensor *x, int64_t first, int64_t count) {
    int64_t shape[MAX_RANK];
    memcpy(shape, x->shape, sizeof shape);
    shape[0] = count;
    return tensor_slice(x, first * (tensor_numel(x) / x->shape[0]), x->rank, shape);
}

/// What one chunk of supervised rows adds to the loss and, if wanted, the gradient of its hidden
/// states (into grad, the chunk's rows of it): d(sum)/d(hidden) = (softmax - onehot) W.
static void cross_entropy_chunk(const Tensor *hidden, Tensor *weight, const Tensor *rows,
                                const Tensor *targets, Tensor *loss, Tensor *grad) {
    const Kernels *kernel = kernels(hidden);
    int64_t n = tensor_numel(rows);
    Tensor *chosen = tensor_new(hidden->device, hidden->dtype, SHAPE(n, tensor_columns(hidden)));
    Tensor *logits = tensor_new(hidden->device, FLOAT32, SHAPE(n, weight->shape[0]));
    kernel->gather_rows(hidden, rows, chosen);
    kernel->linear(chosen, weight, NULL, false, logits);
    kernel->softmax_cross_entropy(logits, targets, grad != NULL, loss);
    if (!grad) return;
    Tensor *grad_logits = logits;
    if (hidden->dtype != FLOAT32) {
        grad_logits = tensor_new(hidden->device, hidden->dtype, logits->rank, logits->shape);
        kernel->convert(logits, grad_logits);
    }
    kernel->linear_input_gradient(grad_logits, weight, false, grad);
}

static void linear_cross_entropy_backward(Node *node, Tensor *grad_output) {
    Tensor *grad_rows = node->saved[0], *grad_hidden = node_new_grad(node, 0);
    Tensor *scaled = tensor_like(grad_rows);
    kernels(grad_output)->multiply(grad_rows, grad_output, scaled);
    kernels(grad_output)->scatter_rows(scaled, node->saved[1], grad_hidden);
    node_add_grad(node, 0, grad_hidden);
}

Tensor *linear_cross_entropy(Tensor *hidden, Tensor *weight, Tensor *rows, Tensor *targets) {
    int64_t n = tensor_numel(rows), vocabulary = weight->shape[0], width = tensor_columns(hidden);
    CHECK(weight->rank == 2 && weight->shape[1] == width && vocabulary > 0,
          "linear_cross_entropy: weight %s for %s", tensor_describe(weight),
          tensor_describe(hidden));
    CHECK(rows->dtype == INT32 && targets->dtype == INT32 && tensor_numel(targets) == n,
          "linear_cross_entropy: rows %s, targets %s", tensor_describe(rows),
          tensor_describe(targets));
    Tensor *loss = tensor_zeros(hidden->device, FLOAT32, SHAPE(1));
    Tensor *grad =
        requires_grad(hidden) ? tensor_new(hidden->device, hidden->dtype, SHAPE(n, width)) : NULL;
    int64_t chunk = LOGIT_BYTES / (vocabulary * (int64_t)sizeof(float));
    if (chunk < 1) chunk = 1;
    for (int64_t first = 0; first < n; first += chunk) {
        int64_t count = n - first < chunk ? n - first : chunk;
        scope_begin();
        cross_entropy_chunk(hidden, weight, rows_of(rows, first, count),
                            rows_of(targets, first, count), loss,
                            grad ? rows_of(grad, first, count) : NULL);
        scope_end();
    }
    Node *node = RECORD(loss, linear_cross_entropy_backward, hidden);
    if (!node) return loss;
    node_save(node, 0, grad);
    node_save(node, 1, rows);
    return loss;
}

/// Every element's gradient is grad_output / n.
static void mean_backward(Node *node, Tensor *grad_output) {
    const NodeEnd *x = &node->inputs[0];
    const Kernels *kernel = kernels(grad_output);
    Tensor *zeros = tensor_zeros(grad_output->device, x->dtype, x->rank, x->shape);
    Tensor *share = tensor_like(grad_output);
    kernel->scale(grad_output, 1.0f / (float)tensor_numel(zeros), share);
    kernel->add(zeros, share, zeros);
    node_add_grad(node, 0, zeros);
}

Tensor *mean(Tensor *x) {
    CHECK(tensor_numel(x) > 0, "mean of no elements: %s", tensor_describe(x));
    Tensor *y = tensor_new(x->device, FLOAT32, SHAPE(1));
    kernels(x)->mean(x, y);
    RECORD(y, mean_backward, x);
    return y;
}

/// d/da mean((a - b)^2) = 2 (a - b) / n, and its negative for b.
static void mean_squared_error_backward(Node *node, Tensor *grad_output) {
    const Kernels *kernel = kernels(grad_output);
    Tensor *a = node->saved[0], *b = node->saved[1], *difference = tensor_like(a);
    kernel->scale(b, -1.0f, difference);
    kernel->add(a, difference, difference);
    Tensor *factor = tensor_like(grad_output);
    for (int input = 0; input < 2; input++) {
        if (!node_wants(node, input)) continue;
        Tensor *grad_input = node_new_grad(node, input);
        kernel->scale(grad_output, (input == 0 ? 2.0f : -2.0f) / (float)tensor_numel(a), factor);
        kernel->multiply(difference, factor, grad_input);
        node_add_grad(node, input, grad_input);
    }
}

Tensor *mean_squared_error(Tensor *a, Tensor *b) {
    CHECK(same_shape(a, b) && a->dtype == b->dtype && tensor_numel(a) > 0,
          "mean_squared_error: %s and %s", tensor_describe(a), tensor_describe(b));
    Tensor *y = tensor_new(a->device, FLOAT32, SHAPE(1));
    kernels(a)->mean_squared_error(a, b, y);
    Node *node = RECORD(y, mean_squared_error_backward, a, b);
    if (!node) return y;
    node_save(node, 0, a);
    node_save(node, 1, b);
    return y;
}
