// rooms: ops autograd
// Norms against float64, their gradients against differences, and what a naive variance would get
// wrong.
#include "ops/ops.h"
#include "tests/unit/op_cases.h"

#include <omp.h>

/// x, weight, bias as inputs of an op under test; weight and bias may be NULL.
typedef struct NormCase {
    int rank;
    int64_t shape[MAX_RANK];
    /// group_norm only
    int groups;
    bool silu, affine;
} NormCase;

static const float eps = 1e-5f;

static int64_t channels_of(const NormCase *c) { return c->shape[c->rank - 1]; }

static Tensor *group_norm_op(const void *context, DType dtype, Tensor *const *inputs) {
    const NormCase *c = context;
    return group_norm(convert(inputs[0], dtype), inputs[1], inputs[2], c->groups, eps, c->silu);
}

static Tensor *layer_norm_op(const void *context, DType dtype, Tensor *const *inputs) {
    (void)context;
    return layer_norm(convert(inputs[0], dtype), inputs[1], inputs[2], eps);
}

static Tensor *rms_norm_op(const void *context, DType dtype, Tensor *const *inputs) {
    (void)context;
    return rms_norm(convert(inputs[0], dtype), inputs[1], eps);
}

// ---- references

/// Normalises the elements `at(i)` = first + (i / width) * stride + i % width, i < count, of x.
/// `size` receives the magnitude of what is subtracted, in units of the result.
static void reference_set(const double *x, int64_t first, int64_t width, int64_t stride,
                          int64_t count, bool centred, double *xhat, double *size) {
    double mean = 0, squares = 0;
    for (int64_t i = 0; i < count; i++) mean += x[first + i / width * stride + i % width];
    mean = centred ? mean / (double)count : 0;
    for (int64_t i = 0; i < count; i++) {
        double d = x[first + i / width * stride + i % width] - mean;
        squares += d * d;
    }
    double rstd = 1 / sqrt(squares / (double)count + (double)eps);
    for (int64_t i = 0; i < count; i++) {
        int64_t at = first + i / width * stride + i % width;
        xhat[at] = (x[at] - mean) * rstd;
        size[at] = (fabs(x[at]) + fabs(mean)) * rstd;
    }
}

/// The affine part and the SiLU, in place; `size` follows.
static void reference_affine(const double *weight, const double *bias, bool silu, int64_t n,
                             int64_t channels, double *y, double *size) {
    for (int64_t i = 0; i < n; i++) {
        double w = weight ? weight[i % channels] : 1, b = bias ? bias[i % channels] : 0;
        y[i] = y[i] * w + b;
        size[i] = size[i] * fabs(w) + fabs(b);
        if (!silu) continue;
        // The SiLU's slope is at most 1.1; its own error is 4 units of its result.
        size[i] = 1.1 * size[i] + 4 * fabs(y[i] / (1 + exp(-y[i])));
        y[i] /= 1 + exp(-y[i]);
    }
}

static void expect_group_norm(const NormCase *c, const Tensor *x, const Tensor *weight,
                              const Tensor *bias, const Tensor *got) {
    int64_t n = tensor_numel(x), channels = channels_of(c), width = channels / c->groups;
    int64_t rows = n / c->shape[0] / channels;
    const double *in = case_doubles(x);
    double *want = case_zeros(n), *size = case_zeros(n);
    for (int64_t sample = 0; sample < c->shape[0]; sample++)
        for (int64_t group = 0; group < c->groups; group++)
            reference_set(in, sample * rows * channels + group * width, width, channels,
                          rows * width, true, want, size);
    reference_affine(case_doubles(weight), case_doubles(bias), c->silu, n, channels, want, size);
    case_expect("group_norm", got, want, size, (double)(rows * width));
}

static void expect_row_norm(const char *name, bool centred, const Tensor *x, const Tensor *weight,
                            const Tensor *bias, const Tensor *got) {
    int64_t n = tensor_numel(x), channels = tensor_columns(x);
    const double *in = case_doubles(x);
    double *want = case_zeros(n), *size = case_zeros(n);
    for (int64_t row = 0; row < tensor_rows(x); row++)
        reference_set(in, row * channels, channels, channels, channels, centred, want, size);
    reference_affine(weight ? case_doubles(weight) : NULL, bias ? case_doubles(bias) : NULL, false,
                     n, channels, want, size);
    case_expect(name, got, want, size, (double)channels);
}

// ---- group norm

static const NormCase group_cases[] = {
    {4, {2, 3, 5, 6}, 3, false, true},    {4, {2, 3, 5, 6}, 3, true, true},
    {4, {1, 4, 4, 8}, 8, true, true},     // one channel per group
    {4, {3, 3, 1, 7}, 1, true, true},     // one group
    {3, {2, 7, 10}, 5, false, true},      // tokens
    {2, {5, 12}, 3, true, true},          // one row per sample
    {4, {1, 31, 17, 96}, 32, true, true}, // several blocks, more threads than samples
    {4, {5, 13, 7, 40}, 8, false, true},  // more samples than threads
    {3, {1, 35, 4128}, 32, true, true},   // a row is longer than a strip
};

static void group_norm_agrees_with_float64(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof group_cases / sizeof *group_cases; i++)
        for (DType dtype = FLOAT32; dtype <= BFLOAT16; dtype++) {
            const NormCase *c = &group_cases[i];
            case_begin();
            Tensor *x = case_normal(dtype, c->rank, c->shape);
            Tensor *weight = case_normal(FLOAT32, SHAPE(channels_of(c)));
            Tensor *bias = case_normal(FLOAT32, SHAPE(channels_of(c)));
            expect_group_norm(c, x, weight, bias,
                              group_norm(x, weight, bias, c->groups, eps, c->silu));
            case_end();
        }
}

static void group_norm_of_values_far_from_zero_does_not_cancel(void **state) {
    (void)state;
    const NormCase c = {4, {1, 40, 40, 64}, 4, false, true};
    case_begin();
    Tensor *x = case_normal(FLOAT32, c.rank, c.shape);
    float *values = case_host(x);
    for (int64_t i = 0; i < tensor_numel(x); i++) values[i] += 4096.0f;
    case_write(x, values);
    Tensor *weight = case_normal(FLOAT32, SHAPE(channels_of(&c)));
    Tensor *bias = case_normal(FLOAT32, SHAPE(channels_of(&c)));
    expect_group_norm(&c, x, weight, bias, group_norm(x, weight, bias, c.groups, eps, c.silu));
    case_end();
}

static void check_gradients(const char *name, CaseOp op, const NormCase *c, bool parameters) {
    case_begin();
    Tensor *inputs[3] = {case_normal(FLOAT32, c->rank, c->shape)};
    require_grad(inputs[0]);
    for (int i = 1; i < 3 && c->affine; i++) {
        inputs[i] = case_normal(FLOAT32, SHAPE(channels_of(c)));
        if (parameters) require_grad(inputs[i]);
    }
    case_check_gradient(name, op, c, 3, inputs);
    // Rounded to bfloat16: x, y, the gradient of y is exact, the gradient of x; each changes the
    // result by its own share.
    case_check_bfloat16(name, op, c, 3, inputs, 6);
    case_end();
}

static void group_norm_gradient_agrees_with_differences(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof group_cases / sizeof *group_cases; i++)
        check_gradients("group_norm", group_norm_op, &group_cases[i], false);
}

// ---- layer norm, rms norm

static const NormCase row_cases[] = {
    {2, {1, 64}, 0, false, true},    {2, {5, 13}, 0, false, true},  {3, {2, 9, 32}, 0, false, true},
    {2, {3, 4096}, 0, false, true},  {2, {301, 7}, 0, false, true}, // several blocks of rows
    {2, {17, 1031}, 0, false, true}, {2, {4, 33}, 0, false, false}, {2, {1, 8200}, 0, false, true},
};

static void layer_norm_and_rms_norm_agree_with_float64(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof row_cases / sizeof *row_cases; i++)
        for (DType dtype = FLOAT32; dtype <= BFLOAT16; dtype++) {
            const NormCase *c = &row_cases[i];
            case_begin();
            Tensor *x = case_normal(dtype, c->rank, c->shape);
            Tensor *weight = c->affine ? case_normal(FLOAT32, SHAPE(channels_of(c))) : NULL;
            Tensor *bias = c->affine ? case_normal(FLOAT32, SHAPE(channels_of(c))) : NULL;
            expect_row_norm("layer_norm", true, x, weight, bias, layer_norm(x, weight, bias, eps));
            if (weight) {
                expect_row_norm("rms_norm", false, x, weight, NULL, rms_norm(x, weight, eps));
                expect_row_norm("layer_norm without bias", true, x, weight, NULL,
                                layer_norm(x, weight, NULL, eps));
            }
            case_end();
        }
}

static void norms_of_rows_that_start_anywhere_in_memory(void **state) {
    (void)state;
    for (DType dtype = FLOAT32; dtype <= BFLOAT16; dtype++) {
        case_begin();
        Tensor *whole = case_normal(dtype, SHAPE(3 * 64 + 1));
        char *second = (char *)whole->data + dtype_size(dtype);
        Tensor *x = scope_adopt(tensor_over(case_device(), dtype, SHAPE(3, 64), second, NULL));
        Tensor *weight = case_normal(FLOAT32, SHAPE(64)), *bias = case_normal(FLOAT32, SHAPE(64));
        expect_row_norm("layer_norm", true, x, weight, bias, layer_norm(x, weight, bias, eps));
        const NormCase c = {2, {3, 64}, 4, true, true};
        expect_group_norm(&c, x, weight, bias, group_norm(x, weight, bias, 4, eps, true));
        case_end();
    }
}

static void layer_norm_of_values_far_from_zero_does_not_cancel(void **state) {
    (void)state;
    case_begin();
    Tensor *x = case_normal(FLOAT32, SHAPE(5, 1280));
    float *values = case_host(x);
    for (int64_t i = 0; i < tensor_numel(x); i++) values[i] += 4096.0f;
    case_write(x, values);
    expect_row_norm("layer_norm", true, x, NULL, NULL, layer_norm(x, NULL, NULL, eps));
    case_end();
}

static void layer_norm_gradient_agrees_with_differences(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof row_cases / sizeof *row_cases; i++)
        check_gradients("layer_norm", layer_norm_op, &row_cases[i], true);
    check_gradients("layer_norm, frozen", layer_norm_op, &row_cases[1], false);
}

static void rms_norm_gradient_agrees_with_differences(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof row_cases / sizeof *row_cases; i++)
        if (row_cases[i].affine) check_gradients("rms_norm", rms_norm_op, &row_cases[i], false);
}

static Tensor *layer_norm_of_scaled(const void *context, DType dtype, Tensor *const *inputs) {
    (void)context;
    return layer_norm(convert(inputs[0], dtype), scale(inputs[1], 2.0f), scale(inputs[2], 0.5f),
                      eps);
}

static void layer_norm_weights_may_be_results_of_other_ops(void **state) {
    (void)state;
    check_gradients("layer_norm", layer_norm_of_scaled, &row_cases[1], true);
}

static void layer_norm_of_equal_values_is_the_bias(void **state) {
    (void)state;
    case_begin();
    Tensor *x = tensor_zeros(case_device(), FLOAT32, SHAPE(3, 1));
    Tensor *weight = case_normal(FLOAT32, SHAPE(1)), *bias = case_normal(FLOAT32, SHAPE(1));
    const double *b = case_doubles(bias);
    case_expect("one channel", layer_norm(x, weight, bias, eps), (double[]){b[0], b[0], b[0]}, NULL,
                1);
    case_end();
}

// ---- norms of a sum

/// Where the sum and the normalised sum both go on, so that the sum's gradient has two parts.
/// Inputs: a, b, weight, bias.
static Tensor *after_sum(Tensor *sum, Tensor *y) { return add(gelu(sum), y); }

static Tensor *add_then_layer_norm(const void *context, DType dtype, Tensor *const *inputs) {
    (void)context;
    Tensor *sum = add(convert(inputs[0], dtype), convert(inputs[1], dtype));
    return after_sum(sum, layer_norm(sum, inputs[2], inputs[3], eps));
}

static Tensor *add_layer_norm_op(const void *context, DType dtype, Tensor *const *inputs) {
    (void)context;
    Tensor *sum, *a = convert(inputs[0], dtype), *b = convert(inputs[1], dtype);
    Tensor *y = add_layer_norm(a, b, inputs[2], inputs[3], eps, &sum);
    return after_sum(sum, y);
}

static Tensor *add_then_rms_norm(const void *context, DType dtype, Tensor *const *inputs) {
    (void)context;
    Tensor *sum = add(convert(inputs[0], dtype), convert(inputs[1], dtype));
    return after_sum(sum, rms_norm(sum, inputs[2], eps));
}

static Tensor *add_rms_norm_op(const void *context, DType dtype, Tensor *const *inputs) {
    (void)context;
    Tensor *sum, *a = convert(inputs[0], dtype), *b = convert(inputs[1], dtype);
    Tensor *y = add_rms_norm(a, b, inputs[2], eps, &sum);
    return after_sum(sum, y);
}

/// Output and gradients, bit for bit.
static void expect_same_op(const char *name, CaseOp two, CaseOp one, const NormCase *c, DType dtype,
                           Tensor *const *inputs) {
    Tensor *want[4];
    Tensor *y = case_backward(two, c, dtype, 4, inputs, NULL);
    for (int i = 0; i < 4; i++) {
        bool wanted = inputs[i] && requires_grad(inputs[i]);
        want[i] = wanted ? case_convert(grad(inputs[i]), FLOAT32) : NULL;
    }
    case_expect_equal(name, case_backward(one, c, dtype, 4, inputs, NULL), y);
    for (int i = 0; i < 4; i++)
        if (want[i]) case_expect_equal(name, grad(inputs[i]), want[i]);
}

static void norms_of_a_sum_are_add_and_norm_to_the_last_bit(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof row_cases / sizeof *row_cases; i++)
        for (DType dtype = FLOAT32; dtype <= BFLOAT16; dtype++) {
            const NormCase *c = &row_cases[i];
            case_begin();
            // Of different magnitudes: their sum is not exact in either type.
            Tensor *inputs[4] = {case_normal(FLOAT32, c->rank, c->shape),
                                 case_normal_times(1.0 / 3, FLOAT32, c->rank, c->shape)};
            require_grad(inputs[0]), require_grad(inputs[1]);
            for (int k = 2; k < 4 && c->affine; k++)
                inputs[k] = case_normal(FLOAT32, SHAPE(channels_of(c)));
            if (c->affine) {
                expect_same_op("rms_norm", add_then_rms_norm, add_rms_norm_op, c, dtype, inputs);
                require_grad(inputs[2]), require_grad(inputs[3]);
            }
            expect_same_op("layer_norm", add_then_layer_norm, add_layer_norm_op, c, dtype, inputs);
            case_end();
        }
}

static void norms_of_a_sum_whose_terms_start_anywhere_in_memory(void **state) {
    (void)state;
    for (DType dtype = FLOAT32; dtype <= BFLOAT16; dtype++)
        for (int shifted = 0; shifted < 2; shifted++) {
            case_begin();
            Tensor *whole = case_normal(dtype, SHAPE(3 * 64 + 1)), *terms[2];
            char *second = (char *)whole->data + dtype_size(dtype);
            terms[shifted] =
                scope_adopt(tensor_over(case_device(), dtype, SHAPE(3, 64), second, NULL));
            terms[1 - shifted] = case_normal_times(1.0 / 3, dtype, SHAPE(3, 64));
            Tensor *weight = case_normal(FLOAT32, SHAPE(64)), *sum;
            Tensor *want = add(terms[0], terms[1]);
            Tensor *y = add_rms_norm(terms[0], terms[1], weight, eps, &sum);
            case_expect_equal("sum", sum, want);
            case_expect_equal("rms_norm", y, rms_norm(want, weight, eps));
            y = add_layer_norm(terms[0], terms[1], weight, NULL, eps, &sum);
            case_expect_equal("sum", sum, want);
            case_expect_equal("layer_norm", y, layer_norm(want, weight, NULL, eps));
            case_end();
        }
}

static void a_norm_of_a_sum_of_no_rows_is_empty(void **state) {
    (void)state;
    case_begin();
    Tensor *a = case_normal(BFLOAT16, SHAPE(0, 8)), *weight = case_normal(FLOAT32, SHAPE(8)), *sum;
    assert_int_equal(tensor_numel(add_rms_norm(a, a, weight, eps, &sum)), 0);
    assert_int_equal(tensor_numel(add_layer_norm(a, a, weight, NULL, eps, &sum)), 0);
    case_end();
}

// ---- threads

/// Output and gradient of a norm with the given number of threads.
static Tensor *run_with_threads(int threads, CaseOp op, const NormCase *c, Tensor *const *inputs,
                                Tensor **gradients) {
    int before = omp_get_max_threads();
    omp_set_num_threads(threads);
    Tensor *y = case_backward(op, c, FLOAT32, 3, inputs, NULL);
    for (int i = 0; i < 3; i++)
        gradients[i] = grad(inputs[i]) ? case_convert(grad(inputs[i]), FLOAT32) : NULL;
    omp_set_num_threads(before);
    return y;
}

static void norms_are_the_same_bits_again_and_with_any_number_of_threads(void **state) {
    (void)state;
    const NormCase c = {4, {2, 40, 20, 64}, 8, true, true};
    const CaseOp ops[] = {group_norm_op, layer_norm_op, rms_norm_op};
    for (int op = 0; op < 3; op++) {
        case_begin();
        Tensor *inputs[3], *one[3], *three[3];
        inputs[0] = case_normal(FLOAT32, c.rank, c.shape);
        inputs[1] = case_normal(FLOAT32, SHAPE(channels_of(&c)));
        inputs[2] = case_normal(FLOAT32, SHAPE(channels_of(&c)));
        require_grad(inputs[0]);
        if (op == 1) require_grad(inputs[1]), require_grad(inputs[2]);
        Tensor *y = run_with_threads(1, ops[op], &c, inputs, one);
        case_expect_equal("output", run_with_threads(3, ops[op], &c, inputs, three), y);
        for (int i = 0; i < 3; i++)
            if (one[i]) case_expect_equal("gradient", three[i], one[i]);
        case_end();
    }
}

static int norm_tests(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(group_norm_agrees_with_float64),
        cmocka_unit_test(group_norm_of_values_far_from_zero_does_not_cancel),
        cmocka_unit_test(group_norm_gradient_agrees_with_differences),
        cmocka_unit_test(layer_norm_and_rms_norm_agree_with_float64),
        cmocka_unit_test(norms_of_rows_that_start_anywhere_in_memory),
        cmocka_unit_test(layer_norm_of_values_far_from_zero_does_not_cancel),
        cmocka_unit_test(layer_norm_gradient_agrees_with_differences),
        cmocka_unit_test(rms_norm_gradient_agrees_with_differences),
        cmocka_unit_test(layer_norm_weights_may_be_results_of_other_ops),
        cmocka_unit_test(layer_norm_of_equal_values_is_the_bias),
        cmocka_unit_test(norms_of_a_sum_are_add_and_norm_to_the_last_bit),
        cmocka_unit_test(norms_of_a_sum_whose_terms_start_anywhere_in_memory),
        cmocka_unit_test(a_norm_of_a_sum_of_no_rows_is_empty),
        cmocka_unit_test(norms_are_the_same_bits_again_and_with_any_number_of_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(void) { return case_run_vector_levels(norm_tests); }
