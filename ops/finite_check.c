// A kernel table that passes every call on to the device's own and looks at what came out.
#include "ops/finite_check.h"

#include "ops/kernels.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const Kernels *real;
static void (*real_accumulate)(const Tensor *x, Tensor *sum);
static char first[512];
/// of kernels that call kernels
static int depth;

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
#define NOTHING LIST(NULL), LIST(NULL)

// Of each kernel: the outputs that are looked at, and the inputs that may be to blame. Nothing
// where values are only moved about or drawn, and of the optimizer, which does not run meanwhile.

#define LOOK_AT_linear LIST(y), LIST(x, weight, bias)
#define LOOK_AT_linear_gelu_tanh LIST(y), LIST(x, weight, bias)
#define LOOK_AT_linear_few_rows LIST(y), LIST(x, weight, bias)
#define LOOK_AT_linear_input_gradient LIST(grad_x), LIST(grad_y, weight)
#define LOOK_AT_linear_weight_gradient LIST(grad_weight), LIST(grad_y, x)
#define LOOK_AT_sum_rows LIST(sum), LIST(x)
#define LOOK_AT_quantize_rows LIST(y), LIST(x)
#define LOOK_AT_conv2d LIST(y), LIST(x, weight, bias)
#define LOOK_AT_conv2d_input_gradient LIST(grad_x), LIST(grad_y, weight)
#define LOOK_AT_group_norm LIST(y), LIST(x, weight, bias)
#define LOOK_AT_group_norm_gradient LIST(grad_x), LIST(x, weight, grad_y)
#define LOOK_AT_layer_norm LIST(y), LIST(x, weight, bias)
#define LOOK_AT_layer_norm_gradient LIST(grad_x, grad_weight, grad_bias), LIST(x, weight, grad_y)
#define LOOK_AT_rms_norm LIST(y), LIST(x, weight)
#define LOOK_AT_rms_norm_gradient LIST(grad_x), LIST(x, weight, grad_y)
#define LOOK_AT_add_layer_norm LIST(sum, y), LIST(a, b, weight, bias)
#define LOOK_AT_add_rms_norm LIST(sum, y), LIST(a, b, weight)
#define LOOK_AT_attention LIST(y), LIST(q, k, v)
#define LOOK_AT_attention_rows LIST(probabilities), LIST(q, k)
#define LOOK_AT_attention_gradient LIST(grad_q, grad_k, grad_v), LIST(q, k, v, grad_y)
#define LOOK_AT_rope LIST(y), LIST(x, rotations)
#define LOOK_AT_activation LIST(y), LIST(x)
#define LOOK_AT_activation_gradient LIST(grad_x), LIST(x, grad_y)
#define LOOK_AT_geglu LIST(y), LIST(x)
#define LOOK_AT_geglu_gradient LIST(grad_x), LIST(x, grad_y)
#define LOOK_AT_swiglu LIST(y), LIST(gate, up)
#define LOOK_AT_swiglu_gradient LIST(grad_gate, grad_up), LIST(gate, up, grad_y)
#define LOOK_AT_add LIST(y), LIST(a, b)
#define LOOK_AT_multiply LIST(y), LIST(a, b)
#define LOOK_AT_scale LIST(y), LIST(x)
#define LOOK_AT_convert LIST(y), LIST(x)
#define LOOK_AT_dropout LIST(y), LIST(x)
#define LOOK_AT_gaussian_sample LIST(y), LIST(moments, noise)
#define LOOK_AT_concatenate LIST(y), LIST(a, b)
#define LOOK_AT_split NOTHING
#define LOOK_AT_upsample_nearest LIST(y), LIST(x)
#define LOOK_AT_upsample_nearest_gradient LIST(grad_x), LIST(grad_y)
#define LOOK_AT_resize_bilinear LIST(y), LIST(x)
#define LOOK_AT_resize_bilinear_gradient LIST(grad_x), LIST(grad_y)
#define LOOK_AT_gather_rows LIST(y), LIST(table)
#define LOOK_AT_scatter_rows NOTHING
#define LOOK_AT_write_rows NOTHING
#define LOOK_AT_merge_rows NOTHING
#define LOOK_AT_merge_rows_gradient NOTHING
#define LOOK_AT_softmax_cross_entropy LIST(loss_sum), LIST(logits)
#define LOOK_AT_mean LIST(y), LIST(x)
#define LOOK_AT_mean_squared_error LIST(y), LIST(a, b)
#define LOOK_AT_sum_squares NOTHING
#define LOOK_AT_adamw NOTHING

/// A kernel that calls the real one and looks at its outputs; those that the real one calls are its
/// own affair.
#define CHECKED_KERNEL(kernel, parameters, arguments)      \
    static void checked_##kernel parameters {              \
        depth++;                                           \
        real->kernel arguments;                            \
        if (--depth == 0) look(#kernel, LOOK_AT_##kernel); \
    }
KERNELS(CHECKED_KERNEL)

#define CHECKED_POINTER(kernel, parameters, arguments) .kernel = checked_##kernel,
static const Kernels CHECKED = {.name = "finite check", KERNELS(CHECKED_POINTER)};

static void checked_accumulate(const Tensor *x, Tensor *sum) {
    real_accumulate(x, sum);
    look("gathering gradients", LIST(sum), LIST(x));
}

void finite_check_begin(Device *device) {
    CHECK(!real, "finite_check_begin twice");
    first[0] = 0;
    real = device->kernels;
    real_accumulate = device->accumulate;
    device->kernels = &CHECKED;
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
