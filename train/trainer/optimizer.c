#include "train/trainer/optimizer.h"

#include "ops/kernels.h"

#include <math.h>
#include <stdlib.h>

static Tensor *zeros(const Tensor *parameter, int64_t count) {
    Tensor *y = tensor_new_persistent(parameter->device, FLOAT32, SHAPE(count), parameter->name);
    tensor_set_memory_kind(y, MEMORY_OPTIMIZER);
    y->device->fill_zero(y->device, y->data, (size_t)count * sizeof(float));
    return y;
}

static void add_part(Optimizer *optimizer, ParameterRange range) {
    const Tensor *parameter = optimizer->parameters->items[range.parameter].value;
    CHECK(range.first >= 0 && range.count > 0 &&
              range.first + range.count <= tensor_numel(parameter),
          "optimizer: elements %lld to %lld of %s", (long long)range.first,
          (long long)(range.first + range.count), tensor_describe(parameter));
    optimizer->parts[optimizer->part_count++] =
        (OptimizerPart){range, zeros(parameter, range.count), zeros(parameter, range.count)};
}

Optimizer optimizer_new(ParameterSet *parameters, const ParameterRange *ranges, int range_count) {
    int count = ranges ? range_count : parameters->count;
    Optimizer optimizer = {.parameters = parameters,
                           .parts = checked_calloc((size_t)count + 1, sizeof(OptimizerPart))};
    for (int i = 0; i < count; i++)
        add_part(&optimizer,
                 ranges ? ranges[i]
                        : (ParameterRange){i, 0, tensor_numel(parameters->items[i].value)});
    return optimizer;
}

void optimizer_free(Optimizer *optimizer) {
    for (int i = 0; i < optimizer->part_count; i++) {
        tensor_release(optimizer->parts[i].exp_avg);
        tensor_release(optimizer->parts[i].exp_avg_sq);
    }
    free(optimizer->parts);
    *optimizer = (Optimizer){0};
}

/// NULL of NULL.
static Tensor *slice_of(const Tensor *x, const ParameterRange *range) {
    return x ? tensor_slice(x, range->first, SHAPE(range->count)) : NULL;
}

double optimizer_sum_squares(const Optimizer *optimizer) {
    Tensor **gradients = checked_malloc((size_t)(optimizer->part_count + 1) * sizeof *gradients);
    int count = 0;
    scope_begin();
    for (int i = 0; i < optimizer->part_count; i++) {
        const ParameterRange *range = &optimizer->parts[i].range;
        Tensor *gradient = grad(optimizer->parameters->items[range->parameter].value);
        if (gradient) gradients[count++] = slice_of(gradient, range);
    }
    double sum = 0;
    if (count) kernels(gradients[0])->sum_squares(count, gradients, &sum);
    scope_end();
    free(gradients);
    return sum;
}

double optimizer_clip_factor(double norm, double max_norm) {
    return max_norm > 0 ? fmin(1.0, max_norm / (norm + 1e-6)) : 1.0;
}

/// The parts of one learning rate and one weight decay, together.
static void step_group(Optimizer *optimizer, const OptimizerOptions *options, ParameterGroup group,
                       bool decay) {
    AdamWTensors *tensors = checked_malloc((size_t)(optimizer->part_count + 1) * sizeof *tensors);
    int count = 0;
    scope_begin();
    for (int i = 0; i < optimizer->part_count; i++) {
        const OptimizerPart *part = &optimizer->parts[i];
        const Parameter *parameter = &optimizer->parameters->items[part->range.parameter];
        if (parameter->group != group || parameter->decay != decay) continue;
        tensors[count++] =
            (AdamWTensors){slice_of(grad(parameter->value), &part->range), part->exp_avg,
                           part->exp_avg_sq, slice_of(parameter->value, &part->range)};
    }
    AdamW step = {.learning_rate = (float)options->learning_rate[group],
                  .beta1 = (float)options->beta1,
                  .beta2 = (float)options->beta2,
                  .epsilon = (float)options->epsilon,
                  .weight_decay = decay ? (float)options->weight_decay : 0.0f,
                  .step = optimizer->steps,
                  .gradient_scale = (float)options->gradient_scale};
    if (count) kernels(tensors[0].parameter)->adamw(&step, count, tensors);
    scope_end();
    free(tensors);
}

void optimizer_step(Optimizer *optimizer, const OptimizerOptions *options) {
    optimizer->steps++;
    for (int group = 0; group < GROUP_COUNT; group++)
        for (int decay = 0; decay < 2; decay++)
            step_group(optimizer, options, (ParameterGroup)group, decay);
    parameters_clear_grad(optimizer->parameters);
}
