/// AdamW over a set of parameters with a learning rate per group, and clipping by the global norm.
#pragma once
#include "autograd/parameters.h"

typedef struct OptimizerOptions {
    double learning_rate[GROUP_COUNT]; ///< of this update, schedule applied
    double beta1, beta2, epsilon, weight_decay;
    double max_grad_norm; ///< 0: no clipping
    double
        gradient_scale; ///< multiplies every gathered gradient first: 1 / supervised tokens of the global batch
} OptimizerOptions;

typedef struct Optimizer {
    ParameterSet *parameters;       ///< not owned
    Tensor **exp_avg, **exp_avg_sq; ///< one each per parameter
    int64_t steps;                  ///< updates done
} Optimizer;

/// Zero moments for every parameter registered so far.
Optimizer optimizer_new(ParameterSet *parameters);
void optimizer_free(Optimizer *optimizer);

/// The Euclidean norm of all gathered gradients times gradient_scale.
double optimizer_gradient_norm(const Optimizer *optimizer, double gradient_scale);

/// One update. A parameter to which no gradient came counts as gradient zero, so that every rank and every batch (text only,
/// say) makes the same update. `gradient_norm` is optimizer_gradient_norm(); gradients are scaled by
/// max_grad_norm / (norm + 1e-6) where that is below 1, as torch's clip_grad_norm_. Clears the gradients.
void optimizer_step(Optimizer *optimizer, const OptimizerOptions *options, double gradient_norm);
