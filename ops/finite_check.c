// A kernel table that passes every call on to the device's own and looks at what came out.
#include "ops/finite_check.h"

#include "ops/kernels.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const Kernels *real;
static Kernels checked;
static void (*real_accumulate)(const Tensor *x, Tensor *sum);
static char first[512];

enum { NUM_LOOKED_AT = 4 };

/// How many elements are not finite.
static int64_t count_not_finite(const Tensor *x) {
    if (!x || x->dtype == INT32) return 0;
    int64_t n = tensor_numel(x), found = 0;
    float *values = checked_malloc((size_t)n * sizeof *values + 1);
    tensor_to_host_float(x, values);
    for (int64_t i = 0; i < n; i++) found += !isfinite(values[i]);
    free(values);
    return found;
}

static void describe(const char *kernel, const Tensor *output, int64_t found,
                     const Tensor *const inputs[NUM_LOOKED_AT]) {
    size_t size = sizeof first;
    size_t used = (size_t)snprintf(first, size, "%lld of the values of %s, %s", (long long)found,
                                   kernel, tensor_describe(output));
    if (output->name && used < size)
        used += (size_t)snprintf(first + used, size - used, " '%s'", output->name);
    const char *named = NULL;
    for (int i = 0; i < NUM_LOOKED_AT; i++)
        if (inputs[i] && inputs[i]->name) named = inputs[i]->name;
    if (named && used < size)
        used += (size_t)snprintf(first + used, size - used, ", with '%s'", named);
    for (int i = 0; i < NUM_LOOKED_AT && used < size; i++) {
        bool overwritten = inputs[i] && inputs[i]->data == output->data;
        int64_t before = overwritten ? 0 : count_not_finite(inputs[i]);
        if (before)
            used +=
                (size_t)snprintf(first + used, size - used, "; its input %s%s%s has %lld already",
                                 tensor_describe(inputs[i]), inputs[i]->name ? " " : "",
                                 inputs[i]->name ? inputs[i]->name : "", (long long)before);
    }
}

static void look(const char *kernel, const Tensor *const outputs[NUM_LOOKED_AT],
                 const Tensor *const inputs[NUM_LOOKED_AT]) {
    for (int i = 0; i < NUM_LOOKED_AT && !first[0]; i++) {
        int64_t found = count_not_finite(outputs[i]);
        if (found) describe(kernel, outputs[i], found, inputs);
    }
}

#define LIST(...) ((const Tensor *const[NUM_LOOKED_AT]){__VA_ARGS__})
/// A kernel that calls the real one and looks at its outputs.
#define CHECKED(kernel, parameters, arguments, outputs, inputs) \
    static void checked_##kernel parameters {                   \
        real->kernel arguments;                                 \
        look(#kernel, outputs, inputs);                         \
    }

CHECKED(linear, (const Tensor *x, Tensor *weight, const Tensor *bias, bool accumulate, Tensor *y),
        (x, weight, bias, accumulate, y), LIST(y), LIST(x, weight, bias))
CHECKED(linear_input_gradient,
        (const Tensor *grad_y, Tensor *weight, bool accumulate, Tensor *grad_x),
        (grad_y, weight, accumulate, grad_x), LIST(grad_x), LIST(grad_y, weight))
CHECKED(linear_weight_gradient, (const Tensor *grad_y, const Tensor *x, Tensor *grad_weight),
        (grad_y, x, grad_weight), LIST(grad_weight), LIST(grad_y, x))
CHECKED(sum_rows, (const Tensor *x, Tensor *sum), (x, sum), LIST(sum), LIST(x))
CHECKED(conv2d,
        (const Tensor *x, Tensor *weight, const Tensor *bias, const Conv2d *shape, Tensor *y),
        (x, weight, bias, shape, y), LIST(y), LIST(x, weight, bias))
CHECKED(conv2d_input_gradient,
        (const Tensor *grad_y, Tensor *weight, const Conv2d *shape, Tensor *grad_x),
        (grad_y, weight, shape, grad_x), LIST(grad_x), LIST(grad_y, weight))
CHECKED(group_norm,
        (const Tensor *x, const Tensor *weight, const Tensor *bias, int groups, float eps,
         bool silu, Tensor *y, Tensor *mean, Tensor *rstd),
        (x, weight, bias, groups, eps, silu, y, mean, rstd), LIST(y), LIST(x, weight, bias))
CHECKED(group_norm_gradient,
        (const Tensor *x, const Tensor *weight, const Tensor *bias, int groups, bool silu,
         const Tensor *mean, const Tensor *rstd, const Tensor *grad_y, Tensor *grad_x),
        (x, weight, bias, groups, silu, mean, rstd, grad_y, grad_x), LIST(grad_x),
        LIST(x, weight, grad_y))
CHECKED(layer_norm,
        (const Tensor *x, const Tensor *weight, const Tensor *bias, float eps, Tensor *y,
         Tensor *mean, Tensor *rstd),
        (x, weight, bias, eps, y, mean, rstd), LIST(y), LIST(x, weight, bias))
CHECKED(layer_norm_gradient,
        (const Tensor *x, const Tensor *weight, const Tensor *mean, const Tensor *rstd,
         const Tensor *grad_y, Tensor *grad_x, Tensor *grad_weight, Tensor *grad_bias),
        (x, weight, mean, rstd, grad_y, grad_x, grad_weight, grad_bias),
        LIST(grad_x, grad_weight, grad_bias), LIST(x, weight, grad_y))
CHECKED(rms_norm, (const Tensor *x, const Tensor *weight, float eps, Tensor *y, Tensor *rstd),
        (x, weight, eps, y, rstd), LIST(y), LIST(x, weight))
CHECKED(rms_norm_gradient,
        (const Tensor *x, const Tensor *weight, const Tensor *rstd, const Tensor *grad_y,
         Tensor *grad_x),
        (x, weight, rstd, grad_y, grad_x), LIST(grad_x), LIST(x, weight, grad_y))
CHECKED(add_layer_norm,
        (const Tensor *a, const Tensor *b, const Tensor *weight, const Tensor *bias, float eps,
         Tensor *sum, Tensor *y, Tensor *mean, Tensor *rstd),
        (a, b, weight, bias, eps, sum, y, mean, rstd), LIST(sum, y), LIST(a, b, weight, bias))
CHECKED(add_rms_norm,
        (const Tensor *a, const Tensor *b, const Tensor *weight, float eps, Tensor *sum, Tensor *y,
         Tensor *rstd),
        (a, b, weight, eps, sum, y, rstd), LIST(sum, y), LIST(a, b, weight))
CHECKED(attention,
        (const Tensor *q, const Tensor *k, const Tensor *v, const Attention *shape, Tensor *y,
         Tensor *log_sum_exp),
        (q, k, v, shape, y, log_sum_exp), LIST(y), LIST(q, k, v))
CHECKED(attention_gradient,
        (const Tensor *q, const Tensor *k, const Tensor *v, const Tensor *y,
         const Tensor *log_sum_exp, const Tensor *grad_y, const Attention *shape, Tensor *grad_q,
         Tensor *grad_k, Tensor *grad_v),
        (q, k, v, y, log_sum_exp, grad_y, shape, grad_q, grad_k, grad_v),
        LIST(grad_q, grad_k, grad_v), LIST(q, k, v, grad_y))
CHECKED(attention_rows,
        (const Tensor *q, const Tensor *k, const Attention *shape, const Tensor *rows,
         Tensor *probabilities),
        (q, k, shape, rows, probabilities), LIST(probabilities), LIST(q, k))
CHECKED(rope, (const Tensor *x, const Tensor *rotations, bool transposed, Tensor *y),
        (x, rotations, transposed, y), LIST(y), LIST(x, rotations))
CHECKED(activation, (Activation kind, const Tensor *x, Tensor *y), (kind, x, y), LIST(y), LIST(x))
CHECKED(activation_gradient,
        (Activation kind, const Tensor *x, const Tensor *grad_y, Tensor *grad_x),
        (kind, x, grad_y, grad_x), LIST(grad_x), LIST(x, grad_y))
CHECKED(geglu, (const Tensor *x, Tensor *y), (x, y), LIST(y), LIST(x))
CHECKED(geglu_gradient, (const Tensor *x, const Tensor *grad_y, Tensor *grad_x),
        (x, grad_y, grad_x), LIST(grad_x), LIST(x, grad_y))
CHECKED(swiglu, (const Tensor *gate, const Tensor *up, Tensor *y), (gate, up, y), LIST(y),
        LIST(gate, up))
CHECKED(swiglu_gradient,
        (const Tensor *gate, const Tensor *up, const Tensor *grad_y, Tensor *grad_gate,
         Tensor *grad_up),
        (gate, up, grad_y, grad_gate, grad_up), LIST(grad_gate, grad_up), LIST(gate, up, grad_y))
CHECKED(add, (const Tensor *a, const Tensor *b, Tensor *y), (a, b, y), LIST(y), LIST(a, b))
CHECKED(multiply, (const Tensor *a, const Tensor *b, Tensor *y), (a, b, y), LIST(y), LIST(a, b))
CHECKED(scale, (const Tensor *x, float factor, Tensor *y), (x, factor, y), LIST(y), LIST(x))
CHECKED(convert, (const Tensor *x, Tensor *y), (x, y), LIST(y), LIST(x))
CHECKED(dropout,
        (const Tensor *x, float probability, RandomStream stream, const Tensor *rows, Tensor *y),
        (x, probability, stream, rows, y), LIST(y), LIST(x))
CHECKED(gaussian_sample, (const Tensor *moments, const Tensor *noise, Tensor *y),
        (moments, noise, y), LIST(y), LIST(moments, noise))
CHECKED(concatenate, (const Tensor *a, const Tensor *b, Tensor *y), (a, b, y), LIST(y), LIST(a, b))
CHECKED(upsample_nearest, (const Tensor *x, Tensor *y), (x, y), LIST(y), LIST(x))
CHECKED(resize_bilinear, (const Tensor *x, Tensor *y), (x, y), LIST(y), LIST(x))
CHECKED(gather_rows, (const Tensor *table, const Tensor *index, Tensor *y), (table, index, y),
        LIST(y), LIST(table))
CHECKED(softmax_cross_entropy,
        (Tensor * logits, const Tensor *targets, bool gradient, Tensor *loss_sum),
        (logits, targets, gradient, loss_sum), LIST(loss_sum), LIST(logits))
CHECKED(mean, (const Tensor *x, Tensor *y), (x, y), LIST(y), LIST(x))
CHECKED(mean_squared_error, (const Tensor *a, const Tensor *b, Tensor *y), (a, b, y), LIST(y),
        LIST(a, b))

static void checked_accumulate(const Tensor *x, Tensor *sum) {
    real_accumulate(x, sum);
    look("gathering gradients", LIST(sum), LIST(x));
}

#define PUT(kernel) checked.kernel = checked_##kernel

void finite_check_begin(Device *device) {
    CHECK(!real, "finite_check_begin twice");
    first[0] = 0;
    real = device->kernels;
    real_accumulate = device->accumulate;
    checked = *real; // what only moves values about stays as it is
    PUT(linear), PUT(linear_input_gradient), PUT(linear_weight_gradient), PUT(sum_rows);
    PUT(conv2d), PUT(conv2d_input_gradient), PUT(group_norm), PUT(group_norm_gradient);
    PUT(layer_norm), PUT(layer_norm_gradient), PUT(rms_norm), PUT(rms_norm_gradient);
    PUT(add_layer_norm), PUT(add_rms_norm);
    PUT(attention), PUT(attention_gradient), PUT(attention_rows), PUT(rope);
    PUT(activation), PUT(activation_gradient), PUT(geglu), PUT(geglu_gradient);
    PUT(swiglu), PUT(swiglu_gradient), PUT(add), PUT(multiply), PUT(scale), PUT(convert);
    PUT(dropout), PUT(gaussian_sample), PUT(concatenate), PUT(upsample_nearest);
    PUT(resize_bilinear), PUT(gather_rows), PUT(softmax_cross_entropy), PUT(mean);
    PUT(mean_squared_error);
    device->kernels = &checked;
    device->accumulate = checked_accumulate;
}

bool finite_check_end(Device *device, char *what, size_t size) {
    CHECK(real, "finite_check_end without finite_check_begin");
    device->kernels = real;
    device->accumulate = real_accumulate;
    real = NULL;
    if (first[0]) snprintf(what, size, "%s", first);
    return !first[0];
}
