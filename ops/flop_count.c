// A kernel table that passes calls on to the device's own and adds up what they cost.
#include "ops/flop_count.h"

#include "autograd/clock.h"
#include "ops/kernels.h"

static Device *counted;
static const Kernels *real; ///< of that device
static Kernels counting;
static double operations;

static void count_product(const Tensor *rows, const Tensor *matrix) {
    operations += 2.0 * (double)tensor_rows(rows) * (double)tensor_numel(matrix);
}

static void linear(const Tensor *x, Tensor *weight, const Tensor *bias, bool accumulate,
                   Tensor *y) {
    count_product(x, weight);
    real->linear(x, weight, bias, accumulate, y);
}

static void linear_gelu_tanh(const Tensor *x, Tensor *weight, const Tensor *bias, Tensor *y) {
    count_product(x, weight);
    real->linear_gelu_tanh(x, weight, bias, y);
}

static void linear_input_gradient(const Tensor *grad_y, Tensor *weight, bool accumulate,
                                  Tensor *grad_x) {
    count_product(grad_y, weight);
    real->linear_input_gradient(grad_y, weight, accumulate, grad_x);
}

static void linear_weight_gradient(const Tensor *grad_y, const Tensor *x, Tensor *grad_weight) {
    count_product(grad_y, grad_weight);
    real->linear_weight_gradient(grad_y, x, grad_weight);
}

static void conv2d(const Tensor *x, Tensor *weight, const Tensor *bias, const Conv2d *shape,
                   Tensor *y) {
    count_product(y, weight);
    real->conv2d(x, weight, bias, shape, y);
}

static void conv2d_input_gradient(const Tensor *grad_y, Tensor *weight, const Conv2d *shape,
                                  Tensor *grad_x) {
    count_product(grad_y, weight);
    real->conv2d_input_gradient(grad_y, weight, shape, grad_x);
}

/// Each pair of a query and a key that it sees takes `products` dot products of head_dim.
static void count_attention(const Attention *shape, int products) {
    operations += 2.0 * products * (double)shape->pairs * shape->heads * shape->head_dim;
}

static void attention(const Tensor *q, const Tensor *k, const Tensor *v, const Attention *shape,
                      Tensor *y, Tensor *log_sum_exp) {
    count_attention(shape, 2);
    real->attention(q, k, v, shape, y, log_sum_exp);
}

static void attention_gradient(const Tensor *q, const Tensor *k, const Tensor *v, const Tensor *y,
                               const Tensor *log_sum_exp, const Tensor *grad_y,
                               const Attention *shape, Tensor *grad_q, Tensor *grad_k,
                               Tensor *grad_v) {
    count_attention(shape, 2 + (grad_q != NULL) + (grad_k != NULL) + (grad_v != NULL));
    real->attention_gradient(q, k, v, y, log_sum_exp, grad_y, shape, grad_q, grad_k, grad_v);
}

void flop_count_begin(Device *device) {
    operations = 0;
    if (device->kernels == &counting) return;
    if (counted && counted->kernels == &counting) counted->kernels = real;
    counted = device;
    real = device->kernels;
    counting = *real;
    counting.linear = linear;
    counting.linear_gelu_tanh = linear_gelu_tanh;
    counting.linear_input_gradient = linear_input_gradient;
    counting.linear_weight_gradient = linear_weight_gradient;
    counting.conv2d = conv2d;
    counting.conv2d_input_gradient = conv2d_input_gradient;
    counting.attention = attention;
    counting.attention_gradient = attention_gradient;
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
