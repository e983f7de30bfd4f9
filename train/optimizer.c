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
    int count = 0;
    Tensor **gradients = checked_malloc((size_t)optimizer->parameters->count * sizeof *gradients);
    for (int i = 0; i < optimizer->parameters->count; i++) {
        Tensor *gradient = grad(optimizer->parameters->items[i].value);
        if (gradient) gradients[count++] = gradient;
    }
    double sum = count ? kernels(gradients[0])->sum_squares(count, gradients) : 0.0;
    free(gradients);
    return sqrt(sum) * gradient_scale;
}

/// The parameters of one learning rate and one weight decay, together.
static void step_group(Optimizer *optimizer, const OptimizerOptions *options, ParameterGroup group,
                       bool decay, double gradient_scale) {
    const ParameterSet *parameters = optimizer->parameters;
    AdamWTensors *tensors = checked_malloc((size_t)parameters->count * sizeof *tensors);
    int count = 0;
    for (int i = 0; i < parameters->count; i++) {
        const Parameter *parameter = &parameters->items[i];
        if (parameter->group != group || parameter->decay != decay) continue;
        tensors[count++] = (AdamWTensors){grad(parameter->value), optimizer->exp_avg[i],
                                          optimizer->exp_avg_sq[i], parameter->value};
    }
    AdamW step = {.learning_rate = (float)options->learning_rate[group],
                  .beta1 = (float)options->beta1,
                  .beta2 = (float)options->beta2,
                  .epsilon = (float)options->epsilon,
                  .weight_decay = decay ? (float)options->weight_decay : 0.0f,
                  .step = optimizer->steps,
                  .gradient_scale = (float)gradient_scale};
    if (count) kernels(tensors[0].parameter)->adamw(&step, count, tensors);
    free(tensors);
}

void optimizer_step(Optimizer *optimizer, const OptimizerOptions *options, double gradient_norm) {
    double clip = 1.0;
    if (options->max_grad_norm > 0)
        clip = fmin(1.0, options->max_grad_norm / (gradient_norm + 1e-6));
    optimizer->steps++;
    for (int group = 0; group < GROUP_COUNT; group++)
        for (int decay = 0; decay < 2; decay++)
            step_group(optimizer, options, (ParameterGroup)group, decay,
                       options->gradient_scale * clip);
    for (int i = 0; i < optimizer->parameters->count; i++)
        grad_clear(optimizer->parameters->items[i].value);
}
