/// A weight and its bias as a linear layer, a convolution or a norm has them: read under one name,
/// applied, released.
#pragma once
#include "models/weights.h"
#include "ops/ops.h"

typedef struct Affine {
    Tensor *weight;
    /// FLOAT32, or NULL: none
    Tensor *bias;
} Affine;

/// `name`.weight [out,in] (or a 1x1 convolution) and `name`.bias [out].
Affine affine_linear(Weights *weights, const char *name, int out, int in);
/// The same without a bias.
Affine affine_matrix(Weights *weights, const char *name, int out, int in);
/// `name`.weight, a kernel x kernel convolution, and `name`.bias [out].
Affine affine_conv(Weights *weights, const char *name, int out, int in, int kernel);
/// `name`.weight and `name`.bias, [channels].
Affine affine_norm(Weights *weights, const char *name, int channels);
/// The same for a group norm: fails if the groups do not divide the channels.
Affine affine_group_norm(Weights *weights, const char *name, int channels, int groups);
void affine_release(Affine *affine);

static inline Tensor *apply_linear(const Affine *affine, Tensor *x) {
    return linear(x, affine->weight, affine->bias);
}
/// A 3x3 convolution that keeps the size.
static inline Tensor *apply_conv3x3(const Affine *affine, Tensor *x) {
    return conv2d(x, affine->weight, affine->bias, (Conv2d){1, 1, 1, 1, 1});
}
static inline Tensor *apply_layer_norm(const Affine *affine, Tensor *x, float eps) {
    return layer_norm(x, affine->weight, affine->bias, eps);
}
/// The layer norm of a + b; *sum receives a + b.
static inline Tensor *apply_add_layer_norm(const Affine *affine, Tensor *a, Tensor *b, float eps,
                                           Tensor **sum) {
    return add_layer_norm(a, b, affine->weight, affine->bias, eps, sum);
}
static inline Tensor *apply_group_norm(const Affine *affine, Tensor *x, int groups, float eps,
                                       bool silu) {
    return group_norm(x, affine->weight, affine->bias, groups, eps, silu);
}
