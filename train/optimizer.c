#include "train/optimizer.h"

#include "ops/kernels.h"

#include <math.h>
#include <stdlib.h>

static Tensor *zeros_like(const Tensor *x) {
    Tensor *y = tensor_new_persistent(x->device, FLOAT32, x->rank, x->shape, x->name);
    x->device->fill_zero(x->device, y->data, (size_t)tensor_numel(y) * sizeof(float));
    return y;
}

Optimizer optimizer_new(ParameterSet *parameters) {
    size_t count = (size_t)parameters->count;
    Optimizer optimizer = {parameters, checked_calloc(count, sizeof(Tensor *)),
                           checked_calloc(count, sizeof(Tensor *)), 0};
    for (size_t i = 0; i < count; i++) {
        optimizer.exp_avg[i] = zeros_like(parameters->items[i].value);
        optimizer.exp_avg_sq[i] = zeros_like(parameters->items[i].value);
    }
    return optimizer;
}

void optimizer_free(Optimizer *optimizer) {
    for (int i = 0; optimizer->exp_avg && i < optimizer->parameters->count; i++) {
        tensor_release(optimizer->exp_avg[i]);
        tensor_release(optimizer->exp_avg_sq[i]);
    }
    free(optimizer->exp_avg);
    free(optimizer->exp_avg_sq);
    *optimizer = (Optimizer){0};
}

double optimizer_gradient_norm(const Optimizer *optimizer, double gradient_scale) {
    double sum = 0;
    for (int i = 0; i < optimizer->parameters->count; i++) {
        Tensor *gradient = grad(optimizer->parameters->items[i].value);
        if (gradient) kernels(gradient)->sum_squares(gradient, &sum);
    }
    return sqrt(sum) * gradient_scale;
}

void optimizer_step(Optimizer *optimizer, const OptimizerOptions *options, double gradient_norm) {
    double clip = 1.0;
    if (options->max_grad_norm > 0)
        clip = fmin(1.0, options->max_grad_norm / (gradient_norm + 1e-6));
    optimizer->steps++;
    for (int i = 0; i < optimizer->parameters->count; i++) {
        Parameter *parameter = &optimizer->parameters->items[i];
        scope_begin();
        Tensor *value = parameter->value, *gradient = grad(value);
        if (!gradient) gradient = tensor_zeros(value->device, FLOAT32, value->rank, value->shape);
        AdamW step = {.learning_rate = (float)options->learning_rate[parameter->group],
                      .beta1 = (float)options->beta1,
                      .beta2 = (float)options->beta2,
                      .epsilon = (float)options->epsilon,
                      .weight_decay = parameter->decay ? (float)options->weight_decay : 0.0f,
                      .step = optimizer->steps,
                      .gradient_scale = (float)(options->gradient_scale * clip)};
        kernels(value)->adamw(&step, gradient, optimizer->exp_avg[i], optimizer->exp_avg_sq[i],
                              value);
        grad_clear(value);
        scope_end();
    }
}
