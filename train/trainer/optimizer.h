/// AdamW over a set of parameters with a learning rate per group, and clipping by the global norm.
/// A process keeps moments of, and updates, all parameters or its own parts of them (ZeRO stage 1;
/// Rajbhandari et al. 2020, arXiv 1910.02054).
#pragma once
#include "autograd/parameters.h"

typedef struct OptimizerOptions {
    /// of this update, schedule applied
    double learning_rate[GROUP_COUNT];
    double beta1, beta2, epsilon, weight_decay;
    /// multiplies every gathered gradient: 1 / supervised tokens of the global batch, and clipping
    double gradient_scale;
} OptimizerOptions;

/// Elements first .. first+count of a parameter, in row-major order.
typedef struct ParameterRange {
    /// its place in the set
    int parameter;
    int64_t first, count;
} ParameterRange;

/// What this process updates of one parameter.
typedef struct OptimizerPart {
    ParameterRange range;
    /// [count]
    Tensor *exp_avg, *exp_avg_sq;
} OptimizerPart;

typedef struct Optimizer {
    /// not owned
    ParameterSet *parameters;
    OptimizerPart *parts;
    int part_count;
    /// updates done
    int64_t steps;
} Optimizer;

/// Zero moments for the ranges (NULL: for every parameter registered so far, whole).
Optimizer optimizer_new(ParameterSet *parameters, const ParameterRange *ranges, int range_count);
void optimizer_free(Optimizer *optimizer);

/// The sum of the squares of the gathered gradients in this process's parts.
double optimizer_sum_squares(const Optimizer *optimizer);

/// What gradients of norm `norm` are multiplied by: max_norm / (norm + 1e-6) where that is below 1,
/// as torch's clip_grad_norm_. 0: no clipping.
double optimizer_clip_factor(double norm, double max_norm);

/// One update of this process's parts. A parameter to which no gradient came counts as gradient
/// zero, so that every rank and every batch (text only, say) makes the same update. Forgets the
/// gradients.
void optimizer_step(Optimizer *optimizer, const OptimizerOptions *options);
