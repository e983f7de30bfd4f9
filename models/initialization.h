/// PyTorch's default initialisation of parameters. The numbers of a parameter depend on the seed
/// and its name alone: adding or leaving out another parameter changes nothing.
#pragma once
#include "autograd/tensor.h"

#include <stdint.h>

/// nn.Linear's and nn.Conv2d's weight, kaiming_uniform_(a = sqrt(5)): uniform within
/// 1/sqrt(fan_in), fan_in the product of all dimensions but the first. `weight` must have a name.
void initialize_linear_weight(Tensor *weight, uint64_t seed);
/// nn.Linear's bias: uniform within 1/sqrt(fan_in).
void initialize_linear_bias(Tensor *bias, int64_t fan_in, uint64_t seed);
/// N(0, std^2).
void initialize_normal(Tensor *x, double std, uint64_t seed);
void initialize_constant(Tensor *x, float value);
