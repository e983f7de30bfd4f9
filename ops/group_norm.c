// Group norm with the SiLU that follows it nearly everywhere in the VAE and the U-Net: fused, the
// tensor between them is never written, and backward computes it again from x and the statistics.
#include "ops/kernels.h"
#include "ops/ops.h"

typedef struct GroupNormArguments {
    int groups;
    bool silu;
} GroupNormArguments;

static void group_norm_backward(Node *node, Tensor *grad_output) {
    const GroupNormArguments *arguments = NODE_ARGUMENTS(node, GroupNormArguments);
    Tensor *x = node->saved[0], *grad_x = node_new_grad(node, 0);
    kernels(x)->group_norm_gradient(x, node->saved[1], node->saved[2], arguments->groups,
                                    arguments->silu, node->saved[3], node->saved[4], grad_output,
                                    grad_x);
    node_add_grad(node, 0, grad_x);
}

Tensor *group_norm(Tensor *x, Tensor *weight, Tensor *bias, int groups, float eps, bool silu) {
    int64_t channels = tensor_columns(x);
    CHECK(x->rank >= 2 && groups > 0 && channels % groups == 0,
          "group_norm: %s in %d groups of channels", tensor_describe(x), groups);
    CHECK(tensor_numel(weight) == channels && tensor_numel(bias) == channels,
          "group_norm: weight %s, bias %s for %s", tensor_describe(weight), tensor_describe(bias),
          tensor_describe(x));
    bool wanted = requires_grad(x);
    Tensor *y = tensor_like(x);
    Tensor *mean = wanted ? tensor_new(x->device, FLOAT32, SHAPE(x->shape[0], groups)) : NULL;
    Tensor *rstd = wanted ? tensor_new(x->device, FLOAT32, SHAPE(x->shape[0], groups)) : NULL;
    kernels(x)->group_norm(x, weight, bias, groups, eps, silu, y, mean, rstd);
    Node *node = RECORD(y, group_norm_backward, x);
    if (!node) return y;
    Tensor *saved[] = {x, weight, bias, mean, rstd};
    for (int i = 0; i < 5; i++) node_save(node, i, saved[i]);
    NODE_SET_ARGUMENTS(node, ((GroupNormArguments){groups, silu}));
    return y;
}
