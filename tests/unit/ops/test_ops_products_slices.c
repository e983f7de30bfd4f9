// rooms: ops autograd
// Convolutions that a GPU cuts into slices of bounded scratch memory, operands at odd addresses,
// and what is rounded beside a bias. Sizes are such that the slices in ops/cuda/conv2d.cu (64 MiB)
// are more than one.
#include "ops/ops.h"
#include "tests/unit/op_cases.h"

// ---- convolution

typedef struct Image {
    int64_t batch, height, width, channels;
} Image;

static Image image_of(const Tensor *x) {
    return (Image){x->shape[0], x->shape[1], x->shape[2], x->shape[3]};
}

/// The double sums of one convolution and of its input gradient, with the sums of absolute values.
typedef struct Sums {
    double *y, *y_size, *grad_x, *grad_x_size;
} Sums;

/// One output pixel and one tap of the kernel: all channels.
static void add_tap(const Sums *sums, int64_t in, int64_t out, int64_t channels, int64_t outputs,
                    const double *x, const double *grad_y, const double *weight, int64_t k) {
    for (int64_t o = 0; o < outputs; o++)
        for (int64_t c = 0; c < channels; c++) {
            double w = weight[o * k + c], forward = w * x[in * channels + c];
            double back = w * grad_y[out * outputs + o];
            sums->y[out * outputs + o] += forward;
            sums->y_size[out * outputs + o] += fabs(forward);
            sums->grad_x[in * channels + c] += back;
            sums->grad_x_size[in * channels + c] += fabs(back);
        }
}

static void reference_convolution(const Tensor *x, const Tensor *weight, const Conv2d *shape,
                                  const Tensor *grad_y, const Sums *sums) {
    Image in = image_of(x), out = image_of(grad_y), kernel = image_of(weight);
    const double *from = case_doubles(x), *back = case_doubles(grad_y), *w = case_doubles(weight);
    int64_t k = kernel.height * kernel.width * in.channels;
    for (int64_t i = 0; i < out.batch * out.height * out.width; i++)
        for (int64_t tap = 0; tap < kernel.height * kernel.width; tap++) {
            int64_t image = i / (out.height * out.width), line = i / out.width % out.height;
            int64_t row = line * shape->stride - shape->pad_top + tap / kernel.width;
            int64_t column = i % out.width * shape->stride - shape->pad_left + tap % kernel.width;
            if (row < 0 || row >= in.height || column < 0 || column >= in.width) continue;
            int64_t pixel = (image * in.height + row) * in.width + column;
            add_tap(sums, pixel, i, in.channels, out.channels, from, back, w + tap * in.channels,
                    k);
        }
}

static void check_convolution(DType type, Image image, Conv2d shape) {
    case_begin();
    Tensor *x = case_normal(type, SHAPE(image.batch, image.height, image.width, image.channels));
    Tensor *weight = case_normal(type, SHAPE(1, 3, 3, image.channels));
    Tensor *y = conv2d(x, weight, NULL, shape);
    Tensor *grad_y = case_normal(type, y->rank, y->shape), *grad_x = tensor_like(x);
    kernels(x)->conv2d_input_gradient(grad_y, weight, &shape, grad_x);
    Sums sums = {case_zeros(tensor_numel(y)), case_zeros(tensor_numel(y)),
                 case_zeros(tensor_numel(x)), case_zeros(tensor_numel(x))};
    reference_convolution(x, weight, &shape, grad_y, &sums);
    case_expect("conv2d", y, sums.y, sums.y_size, 9.0 * (double)image.channels);
    case_expect("input gradient", grad_x, sums.grad_x, sums.grad_x_size, 9);
    case_end();
}

static void a_large_image_is_convolved_in_slices_of_rows(void **state) {
    (void)state;
    check_convolution(FLOAT32, (Image){1, 131, 159, 96}, (Conv2d){1, 1, 1, 1, 1});
    check_convolution(BFLOAT16, (Image){1, 259, 159, 96}, (Conv2d){1, 0, 1, 2, 0});
    check_convolution(FLOAT32, (Image){1, 119, 151, 512}, (Conv2d){2, 0, 0, 1, 1});
}

static void many_images_are_convolved_in_slices_of_images(void **state) {
    (void)state;
    check_convolution(FLOAT32, (Image){5, 40, 41, 256}, (Conv2d){1, 1, 1, 1, 1});
}

// ---- linear

/// Rounded once, from the sum in FLOAT32; a GPU's library may round the product too
/// (case_product_unit()).
static void a_bias_is_added_before_rounding(void **state) {
    (void)state;
    for (int columns = 3; columns < 5; columns++) {
        case_begin();
        Tensor *x = tensor_new(case_device(), BFLOAT16, SHAPE(2, 2));
        Tensor *weight = tensor_new(case_device(), BFLOAT16, SHAPE(columns, 2));
        Tensor *bias = tensor_new(case_device(), FLOAT32, SHAPE(columns));
        // The product 2^-8 + 2^-17 is 2^-8 in bfloat16, and 1 + 2^-8 then 1; but 1 + 2^-8 + 2^-17
        // is 1 + 2^-7.
        const float ones[] = {1, 1, 1, 1};
        const float weights[] = {0x1p-8f, 0x1p-17f, 0x1p-8f, 0x1p-17f,
                                 0x1p-8f, 0x1p-17f, 0x1p-8f, 0x1p-17f};
        tensor_fill_from_float(x, ones);
        tensor_fill_from_float(weight, weights);
        tensor_fill_from_float(bias, ones);
        const double *y = case_doubles(linear(x, weight, bias));
        bool product_may_be_rounded = case_product_unit(BFLOAT16) > 0;
        for (int i = 0; i < 2 * columns; i++)
            assert_true(y[i] == 1 + 0x1p-7 || (product_may_be_rounded && y[i] == 1));
        case_end();
    }
}

/// Numbers that bfloat16 does not have.
static Tensor *wide_bias(int64_t n) {
    float *values = case_memory(n, sizeof *values);
    for (int64_t i = 0; i < n; i++) values[i] = 3.0f * sinf((float)(i + 1));
    return tensor_from_host(case_device(), FLOAT32, SHAPE(n), values);
}

/// y [rows,n] = product + bias against the same without a bias in FLOAT32: the sum's one rounding,
/// and on a GPU the bias's own (it is taken in y's type) and the product's.
static void check_wide_bias(const Tensor *y, const Tensor *product, const Tensor *bias) {
    const double *got = case_doubles(y), *sum = case_doubles(product), *b = case_doubles(bias);
    double bias_unit = case_on_cpu() ? case_unit(FLOAT32) : case_unit(y->dtype);
    double product_unit = case_product_unit(y->dtype);
    int64_t n = tensor_numel(bias);
    for (int64_t i = 0; i < tensor_numel(y); i++) {
        double want = sum[i] + b[i % n], size = fabs(sum[i]) + fabs(b[i % n]);
        double before = bias_unit * fabs(b[i % n]) + product_unit * fabs(sum[i]);
        double allowed =
            case_unit(y->dtype) * (fabs(want) + before) + before + 8 * case_unit(FLOAT32) * size;
        if (!(fabs(got[i] - want) <= allowed))
            fail_msg("%s: element %lld is %.9g, expected %.9g +- %.2g", tensor_describe(y),
                     (long long)i, got[i], want, allowed);
    }
}

static void a_bias_between_two_numbers_of_the_output_is_rounded_at_most(void **state) {
    (void)state;
    for (int t = 0; t < 2; t++)
        for (int64_t n = 31; n < 33; n++) {
            DType type = t ? BFLOAT16 : FLOAT32;
            case_begin();
            Tensor *bias = wide_bias(n);
            Tensor *x = case_normal(type, SHAPE(9, 4)), *weight = case_normal(type, SHAPE(n, 4));
            Tensor *product = tensor_new(x->device, FLOAT32, SHAPE(9, n));
            kernels(x)->linear(x, weight, NULL, false, product);
            check_wide_bias(linear(x, weight, bias), product, bias);

            Conv2d shape = {1, 1, 1, 1, 1};
            Tensor *image = case_normal(type, SHAPE(1, 5, 4, 3));
            Tensor *kernel = case_normal(type, SHAPE(n, 3, 3, 3));
            product =
                conv2d(case_convert(image, FLOAT32), case_convert(kernel, FLOAT32), NULL, shape);
            check_wide_bias(conv2d(image, kernel, bias, shape), product, bias);
            case_end();
        }
}

// ---- addresses

/// The elements of x from `first` on under another shape: no copy, at an address that only the
/// element type aligns.
static Tensor *elements_from(const Tensor *x, int64_t first, int rank, const int64_t *shape) {
    char *data = (char *)x->data + (size_t)first * dtype_size(x->dtype);
    return scope_adopt(tensor_over(x->device, x->dtype, rank, shape, data, NULL));
}

/// A copy where tensors are aligned.
static Tensor *aligned(const Tensor *x) { return case_convert(x, x->dtype); }

/// The same within the rounding of two orders of summation and of storing.
static void expect_close(const char *what, const Tensor *a, const Tensor *b, double terms) {
    double allowed = 2 * case_unit(a->dtype) + (4 + sqrt(terms)) * case_unit(FLOAT32);
    double error = case_relative_error(a, b);
    if (!(error <= allowed)) fail_msg("%s: off by %.2g, allowed %.2g", what, error, allowed);
}

static void check_linear_from(DType type, int64_t first) {
    enum { ROWS = 24, K = 32, N = 16 };
    case_begin();
    Tensor *x = elements_from(case_normal(type, SHAPE(2000)), first, SHAPE(ROWS, K));
    Tensor *weight = elements_from(case_normal(type, SHAPE(2000)), first, SHAPE(N, K));
    Tensor *bias = elements_from(case_normal(FLOAT32, SHAPE(100)), first, SHAPE(N));
    Tensor *y = elements_from(case_normal(type, SHAPE(2000)), first, SHAPE(ROWS, N));
    kernels(x)->linear(x, weight, bias, false, y);
    expect_close("linear", y, linear(aligned(x), aligned(weight), aligned(bias)), K);
    Tensor *grad_x = tensor_like(x), *grad_x_aligned = tensor_like(x);
    kernels(x)->linear_input_gradient(y, weight, false, grad_x);
    kernels(x)->linear_input_gradient(aligned(y), aligned(weight), false, grad_x_aligned);
    expect_close("input gradient", grad_x, grad_x_aligned, N);
    Tensor *grad = tensor_zeros(case_device(), FLOAT32, SHAPE(N, K));
    Tensor *grad_aligned = tensor_zeros(case_device(), FLOAT32, SHAPE(N, K));
    kernels(x)->linear_weight_gradient(y, x, grad);
    kernels(x)->linear_weight_gradient(aligned(y), aligned(x), grad_aligned);
    expect_close("weight gradient", grad, grad_aligned, ROWS);
    Tensor *sum = tensor_zeros(case_device(), FLOAT32, SHAPE(N));
    Tensor *sum_aligned = tensor_zeros(case_device(), FLOAT32, SHAPE(N));
    kernels(x)->sum_rows(y, sum);
    kernels(x)->sum_rows(aligned(y), sum_aligned);
    expect_close("sum of rows", sum, sum_aligned, ROWS);
    case_end();
}

static void check_convolution_from(DType type, int64_t first) {
    case_begin();
    Conv2d shape = {1, 1, 1, 1, 1};
    Tensor *x = elements_from(case_normal(type, SHAPE(1200)), first, SHAPE(1, 6, 8, 16));
    Tensor *weight = elements_from(case_normal(FLOAT32, SHAPE(1200)), first, SHAPE(4, 3, 3, 16));
    Tensor *y = conv2d(x, weight, NULL, shape);
    expect_close("conv2d", y, conv2d(aligned(x), aligned(weight), NULL, shape), 9 * 16);
    Tensor *grad_x = tensor_like(x), *grad_x_there = elements_from(x, 0, x->rank, x->shape);
    kernels(x)->conv2d_input_gradient(y, weight, &shape, grad_x);
    kernels(x)->conv2d_input_gradient(y, weight, &shape, grad_x_there);
    expect_close("input gradient", grad_x_there, grad_x, 9 * 4);
    case_end();
}

static void operands_at_odd_addresses_give_the_same(void **state) {
    (void)state;
    for (int64_t first = 1; first < 9; first++)
        for (int t = 0; t < 2; t++) {
            check_linear_from(t ? BFLOAT16 : FLOAT32, first);
            check_convolution_from(t ? BFLOAT16 : FLOAT32, first);
        }
}

static int run(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_large_image_is_convolved_in_slices_of_rows),
        cmocka_unit_test(many_images_are_convolved_in_slices_of_images),
        cmocka_unit_test(a_bias_is_added_before_rounding),
        cmocka_unit_test(a_bias_between_two_numbers_of_the_output_is_rounded_at_most),
        cmocka_unit_test(operands_at_odd_addresses_give_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(void) { return case_run_devices(run); }
