// Matrix products. Most weights are frozen, and then backward needs the weight alone: no activation
// is kept. A trainable weight is a FLOAT32 master; its gradient is added up in FLOAT32 straight
// into the leaf's buffer.
//
// A matrix of FLOAT8 is multiplied with rows rounded to FLOAT8. Backward takes the rounding of the
// rows for the identity, and multiplies the gradient, in its own type, with the matrix as it is.
//
//   y = x W^T + b:   grad_x = grad_y W,   grad_W += grad_y^T x,   grad_b += sum over rows of grad_y
#include "ops/kernels.h"
#include "ops/ops.h"

static Tensor *new_like_with_columns(const Tensor *x, int64_t columns) {
    int64_t shape[MAX_RANK];
    memcpy(shape, x->shape, sizeof shape);
    shape[x->rank - 1] = columns;
    return tensor_new(x->device, x->dtype, x->rank, shape);
}

static void check_linear(const Tensor *x, const Tensor *weight, const Tensor *bias) {
    CHECK(weight->rank == 2 && tensor_columns(x) == weight->shape[1],
          "linear: x is %s, weight %s (%s)", tensor_describe(x), tensor_describe(weight),
          weight->name ? weight->name : "unnamed");
    CHECK(weight->dtype == x->dtype || weight->dtype == FLOAT32 ||
              (weight->dtype == FLOAT8 && x->dtype != INT32),
          "linear: x is %s, weight %s (%s)", tensor_describe(x), tensor_describe(weight),
          weight->name ? weight->name : "unnamed");
    CHECK(!bias || (bias->dtype == FLOAT32 && tensor_numel(bias) == weight->shape[0]),
          "linear: weight is %s, bias %s", tensor_describe(weight), tensor_describe(bias));
}

Tensor *quantize_rows(const Tensor *x) {
    CHECK(x->dtype == FLOAT32 || x->dtype == BFLOAT16, "quantize_rows: x is %s",
          tensor_describe(x));
    Tensor *y = tensor_new(x->device, FLOAT8, x->rank, x->shape);
    kernels(x)->quantize_rows(x, y);
    return y;
}

typedef void (*LinearKernel)(const Tensor *x, Tensor *weight, const Tensor *bias, bool accumulate,
                             Tensor *y);

/// y = x W^T + b
static void apply_weight(LinearKernel kernel, const Tensor *x, Tensor *weight, const Tensor *bias,
                         Tensor *y) {
    scope_begin();
    kernel(weight->dtype == FLOAT8 ? quantize_rows(x) : x, weight, bias, false, y);
    scope_end();
}

/// Adds a product's gradient of a weight to input `input`, a leaf or not.
static void add_weight_grad(Node *node, int input, const Tensor *grad_y, const Tensor *x) {
    if (!node_wants(node, input)) return;
    const int64_t *shape = node->inputs[input].shape;
    Tensor *sum = node_input_is_leaf(node, input)
                      ? node_leaf_grad(node, input)
                      : tensor_zeros(x->device, FLOAT32, node->inputs[input].rank, shape);
    kernels(x)->linear_weight_gradient(grad_y, x, sum);
    if (!node_input_is_leaf(node, input)) node_add_grad(node, input, sum);
}

static void add_bias_grad(Node *node, int input, const Tensor *grad_y) {
    if (!node_wants(node, input)) return;
    const NodeEnd *end = &node->inputs[input];
    Tensor *sum = node_input_is_leaf(node, input)
                      ? node_leaf_grad(node, input)
                      : tensor_zeros(grad_y->device, FLOAT32, end->rank, end->shape);
    kernels(grad_y)->sum_rows(grad_y, sum);
    if (!node_input_is_leaf(node, input)) node_add_grad(node, input, sum);
}

// ---- linear

enum { LINEAR_X, LINEAR_WEIGHT, LINEAR_BIAS };

static void linear_backward(Node *node, Tensor *grad_output) {
    Tensor *weight = node->saved[LINEAR_WEIGHT];
    if (node_wants(node, LINEAR_X)) {
        Tensor *grad_x = node_new_grad(node, LINEAR_X);
        kernels(grad_output)->linear_input_gradient(grad_output, weight, false, grad_x);
        node_add_grad(node, LINEAR_X, grad_x);
    }
    add_weight_grad(node, LINEAR_WEIGHT, grad_output, node->saved[LINEAR_X]);
    add_bias_grad(node, LINEAR_BIAS, grad_output);
}

Tensor *linear(Tensor *x, Tensor *weight, Tensor *bias) {
    check_linear(x, weight, bias);
    Tensor *y = new_like_with_columns(x, weight->shape[0]);
    apply_weight(kernels(x)->linear, x, weight, bias, y);
    Node *node = RECORD(y, linear_backward, x, weight, bias);
    if (node) {
        if (node_wants(node, LINEAR_X)) node_save(node, LINEAR_WEIGHT, weight);
        if (node_wants(node, LINEAR_WEIGHT)) node_save(node, LINEAR_X, x);
    }
    return y;
}

Tensor *linear_gelu_tanh(Tensor *x, Tensor *weight, Tensor *bias) {
    bool wanted = x->gradient || weight->gradient || (bias && bias->gradient);
    if (wanted || weight->dtype == FLOAT8)
        return gelu_tanh(linear(x, weight, bias)); // backward reads what is between
    check_linear(x, weight, bias);
    Tensor *y = new_like_with_columns(x, weight->shape[0]);
    kernels(x)->linear_gelu_tanh(x, weight, bias, y);
    return y;
}

// ---- linear with a low-rank update: y = x W^T + b + s h B^T with h = d A^T, d = dropout(x).
//
//   grad_h = s grad_y B,   grad_B += s grad_y^T h,   grad_A += grad_h^T d,   grad_x = grad_y W +
//   dropout(grad_h A)
//
// x and h are kept. The dropped d is made again from its stream, and dropout is its own adjoint. s
// is put on the small h.

enum { LORA_X, LORA_WEIGHT, LORA_A, LORA_B, LORA_HIDDEN, LORA_ROWS };

typedef struct LoRAArguments {
    float scale, dropout;
    RandomStream stream;
} LoRAArguments;

static const Tensor *dropped(const Tensor *x, const LoRAArguments *arguments, const Tensor *rows) {
    if (arguments->dropout <= 0.0f) return x;
    Tensor *y = tensor_like(x);
    kernels(x)->dropout(x, arguments->dropout, arguments->stream, rows, y);
    return y;
}

/// grad_x = grad_y W + dropout(grad_h A).
static void add_lora_input_grad(Node *node, const Tensor *grad_y, const Tensor *grad_hidden,
                                const LoRAArguments *arguments) {
    const Kernels *kernel = kernels(grad_y);
    Tensor *weight = node->saved[LORA_WEIGHT], *a = node->saved[LORA_A];
    Tensor *grad_x = node_new_grad(node, LORA_X);
    kernel->linear_input_gradient(grad_y, weight, false, grad_x);
    if (arguments->dropout > 0.0f) {
        Tensor *through_a = tensor_like(grad_x);
        kernel->linear_input_gradient(grad_hidden, a, false, through_a);
        kernel->dropout(through_a, arguments->dropout, arguments->stream, node->saved[LORA_ROWS],
                        through_a);
        kernel->add(grad_x, through_a, grad_x);
    } else {
        kernel->linear_input_gradient(grad_hidden, a, true, grad_x);
    }
    node_add_grad(node, LORA_X, grad_x);
}

static void linear_lora_backward(Node *node, Tensor *grad_output) {
    const LoRAArguments *arguments = NODE_ARGUMENTS(node, LoRAArguments);
    Tensor *x = node->saved[LORA_X], *b = node->saved[LORA_B], *hidden = node->saved[LORA_HIDDEN];
    Tensor *grad_hidden = tensor_like(hidden);
    kernels(x)->linear_input_gradient(grad_output, b, false, grad_hidden);
    kernels(x)->scale(grad_hidden, arguments->scale, grad_hidden);
    add_weight_grad(node, LORA_B, grad_output, hidden); // hidden holds s h
    if (node_wants(node, LORA_A))
        add_weight_grad(node, LORA_A, grad_hidden, dropped(x, arguments, node->saved[LORA_ROWS]));
    if (node_wants(node, LORA_X)) add_lora_input_grad(node, grad_output, grad_hidden, arguments);
}

static void check_lora(const Tensor *x, const Tensor *weight, const LoRA *lora) {
    check_linear(x, lora->a, NULL);
    CHECK(lora->b->rank == 2 && lora->b->shape[0] == weight->shape[0] &&
              lora->b->shape[1] == lora->a->shape[0],
          "linear_lora: weight is %s, A %s, B %s", tensor_describe(weight),
          tensor_describe(lora->a), tensor_describe(lora->b));
    CHECK(!lora->dropout_rows || tensor_numel(lora->dropout_rows) == 2 * tensor_rows(x),
          "linear_lora: x is %s, dropout_rows %s", tensor_describe(x),
          tensor_describe(lora->dropout_rows));
}

Tensor *linear_lora(Tensor *x, Tensor *weight, Tensor *bias, const LoRA *lora) {
    if (!lora) return linear(x, weight, bias);
    check_linear(x, weight, bias);
    check_lora(x, weight, lora);
    CHECK(!bias || !bias->gradient, "linear_lora: the bias of a frozen layer is frozen");
    LoRAArguments arguments = {lora->scale, lora->dropout, lora->stream};
    Tensor *hidden = new_like_with_columns(x, lora->a->shape[0]);
    Tensor *y = new_like_with_columns(x, weight->shape[0]);
    kernels(x)->linear(dropped(x, &arguments, lora->dropout_rows), lora->a, NULL, false, hidden);
    kernels(x)->scale(hidden, lora->scale, hidden);
    apply_weight(kernels(x)->linear, x, weight, bias, y);
    kernels(x)->linear(hidden, lora->b, NULL, true, y);
    Node *node = RECORD(y, linear_lora_backward, x, NULL, lora->a, lora->b);
    if (node) {
        NODE_SET_ARGUMENTS(node, arguments);
        node_save(node, LORA_X, x);
        node_save(node, LORA_WEIGHT, weight);
        node_save(node, LORA_A, lora->a);
        node_save(node, LORA_B, lora->b);
        node_save(node, LORA_HIDDEN, hidden);
        node_save(node, LORA_ROWS, lora->dropout_rows);
    }
    return y;
}

// ---- of few rows

Tensor *linear_few_rows(Tensor *x, Tensor *weight, Tensor *bias, const LoRA *lora) {
    check_linear(x, weight, bias);
    CHECK(!requires_grad(x) && !requires_grad(weight), "linear_few_rows: has no gradient");
    Tensor *y = new_like_with_columns(x, weight->shape[0]);
    apply_weight(kernels(x)->linear_few_rows, x, weight, bias, y);
    if (!lora) return y;
    check_lora(x, weight, lora);
    CHECK(!requires_grad(lora->a) && !requires_grad(lora->b) && lora->dropout <= 0.0f,
          "linear_few_rows: has no gradient and no dropout");
    Tensor *hidden = new_like_with_columns(x, lora->a->shape[0]);
    kernels(x)->linear_few_rows(x, lora->a, NULL, false, hidden);
    kernels(x)->scale(hidden, lora->scale, hidden);
    kernels(x)->linear_few_rows(hidden, lora->b, NULL, true, y);
    return y;
}
