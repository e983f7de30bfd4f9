// A kernel table that passes calls on to the device's own and adds up what they cost.
#include "ops/flop_count.h"

#include "autograd/clock.h"
#include "ops/kernels.h"

static Device *counted;
/// of that device
static const Kernels *real;
static Kernels counting;
static double operations;

static double of_product(const Tensor *rows, const Tensor *matrix) {
    return 2.0 * (double)tensor_rows(rows) * (double)tensor_numel(matrix);
}

/// Each pair of a query and a key that it sees takes `products` dot products of head_dim.
static double of_attention(const Attention *shape, int products) {
    return 2.0 * products * (double)shape->pairs * shape->heads * shape->head_dim;
}

#define FAMILIES_THAT_MULTIPLY(F, x) \
    F(linear, x) F(few_rows, x) F(conv2d, x) F(attention, x) F(attention_gradient, x)
_Static_assert(KERNEL_COUNT == 49, "a kernel came or went; if it multiplies, it is counted here");

#define OPERATIONS_OF_linear of_product(x, weight)
#define OPERATIONS_OF_linear_gelu_tanh of_product(x, weight)
#define OPERATIONS_OF_linear_few_rows of_product(x, weight)
#define OPERATIONS_OF_linear_input_gradient of_product(grad_y, weight)
#define OPERATIONS_OF_linear_weight_gradient of_product(grad_y, grad_weight)
#define OPERATIONS_OF_sum_rows 0
#define OPERATIONS_OF_conv2d of_product(y, weight)
#define OPERATIONS_OF_conv2d_input_gradient of_product(grad_y, weight)
#define OPERATIONS_OF_attention of_attention(shape, 2)
#define OPERATIONS_OF_attention_gradient \
    of_attention(shape, 2 + (grad_q != NULL) + (grad_k != NULL) + (grad_v != NULL))

#define COUNTING_KERNEL(kernel, parameters, arguments) \
    static void counting_##kernel parameters {         \
        operations += OPERATIONS_OF_##kernel;          \
        real->kernel arguments;                        \
    }
FAMILIES_THAT_MULTIPLY(KERNELS_OF_FAMILY, COUNTING_KERNEL)

void flop_count_begin(Device *device) {
    operations = 0;
    if (device->kernels == &counting) return;
    if (counted && counted->kernels == &counting) counted->kernels = real;
    counted = device;
    real = device->kernels;
    counting = *real;
#define PUT(kernel, parameters, arguments) counting.kernel = counting_##kernel;
    FAMILIES_THAT_MULTIPLY(KERNELS_OF_FAMILY, PUT)
#undef PUT
    device->kernels = &counting;
}

double flop_count(void) { return operations; }

/// Seconds of one product of n x n matrices, the least of a few.
static double seconds_of_product(Device *device, DType dtype, int64_t n) {
    enum { TIMES = 4 };
    double least = 1e9;
    scope_begin();
    Tensor *x = tensor_zeros(device, dtype, SHAPE(n, n)), *y = tensor_like(x);
    Tensor *weight = tensor_zeros(device, dtype, SHAPE(n, n));
    for (int i = 0; i < TIMES; i++) {
        device->synchronize(device);
        double begin = clock_seconds();
        device->kernels->linear(x, weight, NULL, false, y);
        device->synchronize(device);
        double seconds = clock_seconds() - begin;
        if (seconds < least) least = seconds;
    }
    scope_end();
    return least;
}

double flop_rate_of_products(Device *device, DType dtype) {
    static const double LONG_ENOUGH = 0.01;
    int64_t n = 512;
    double seconds = seconds_of_product(device, dtype, n);
    while (seconds < LONG_ENOUGH && n < 16384) {
        n *= 2;
        seconds = seconds_of_product(device, dtype, n);
    }
    device_trim(device); // the measurement leaves no trace in what the run is said to need
    device_reset_peak(device);
    return 2.0 * (double)n * (double)n * (double)n / seconds;
}
