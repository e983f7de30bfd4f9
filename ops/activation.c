// Activations and gates keep their inputs, not their outputs: the slope is a function of the input.
#include "ops/kernels.h"
#include "ops/ops.h"

static void activation_backward(Node *node, Tensor *grad_output) {
    Tensor *x = node->saved[0], *grad_x = node_new_grad(node, 0);
    kernels(x)->activation_gradient(*NODE_ARGUMENTS(node, Activation), x, grad_output, grad_x);
    node_add_grad(node, 0, grad_x);
}

Tensor *activation(Activation kind, Tensor *x) {
    Tensor *y = tensor_like(x);
    kernels(x)->activation(kind, x, y);
    Node *node = RECORD(y, activation_backward, x);
    if (!node) return y;
    node_save(node, 0, x);
    NODE_SET_ARGUMENTS(node, kind);
    return y;
}

Tensor *gelu(Tensor *x) { return activation(GELU, x); }
Tensor *gelu_tanh(Tensor *x) { return activation(GELU_TANH, x); }
Tensor *quick_gelu(Tensor *x) { return activation(QUICK_GELU, x); }
Tensor *silu(Tensor *x) { return activation(SILU, x); }
Tensor *relu(Tensor *x) { return activation(RELU, x); }

static void geglu_backward(Node *node, Tensor *grad_output) {
    Tensor *x = node->saved[0], *grad_x = node_new_grad(node, 0);
    kernels(x)->geglu_gradient(x, grad_output, grad_x);
    node_add_grad(node, 0, grad_x);
}

Tensor *geglu(Tensor *x) {
    CHECK(tensor_columns(x) % 2 == 0, "geglu: %s has no two halves", tensor_describe(x));
    int64_t shape[MAX_RANK];
    memcpy(shape, x->shape, sizeof shape);
    shape[x->rank - 1] /= 2;
    Tensor *y = tensor_new(x->device, x->dtype, x->rank, shape);
    kernels(x)->geglu(x, y);
    Node *node = RECORD(y, geglu_backward, x);
    if (node) node_save(node, 0, x);
    return y;
}

static void swiglu_backward(Node *node, Tensor *grad_output) {
    Tensor *gate = node->saved[0], *up = node->saved[1];
    Tensor *grad_gate = node_wants(node, 0) ? node_new_grad(node, 0) : NULL;
    Tensor *grad_up = node_wants(node, 1) ? node_new_grad(node, 1) : NULL;
    kernels(gate)->swiglu_gradient(gate, up, grad_output, grad_gate, grad_up);
    if (grad_gate) node_add_grad(node, 0, grad_gate);
    if (grad_up) node_add_grad(node, 1, grad_up);
}

Tensor *swiglu(Tensor *gate, Tensor *up) {
    CHECK(same_shape(gate, up) && gate->dtype == up->dtype, "swiglu: gate %s, up %s",
          tensor_describe(gate), tensor_describe(up));
    Tensor *y = tensor_like(gate);
    kernels(gate)->swiglu(gate, up, y);
    Node *node = RECORD(y, swiglu_backward, gate, up);
    if (!node) return y;
    node_save(node, 0, gate);
    node_save(node, 1, up);
    return y;
}
