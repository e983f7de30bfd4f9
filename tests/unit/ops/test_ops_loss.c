// rooms: ops autograd
// Losses: the fused cross-entropy in one chunk, in several and without rows; mean and mean squared
// error.
#include "ops/ops.h"
#include "tests/unit/op_cases.h"

#include <omp.h>

static Tensor *index_tensor(int64_t n, const int32_t *values) {
    return tensor_from_host(case_device(), INT32, SHAPE(n), values);
}

/// Supervised rows: n distinct ones from the last on, targets spread over the vocabulary.
typedef struct CrossEntropyCase {
    int64_t tokens, width, vocabulary, n;
    double logit_scale;
} CrossEntropyCase;

static const CrossEntropyCase cases[] = {
    {1, 1, 1, 1, 1},     {5, 7, 2, 3, 1},       {9, 16, 33, 9, 1},
    {40, 8, 501, 17, 1}, {13, 32, 1027, 5, 16}, // far apart logits
};
enum { CASES = sizeof cases / sizeof *cases };

static Tensor *supervised_rows(const CrossEntropyCase *c) {
    int32_t *values = checked_malloc((size_t)(c->n + 1) * sizeof *values);
    for (int64_t i = 0; i < c->n; i++) values[i] = (int32_t)(c->tokens - 1 - i);
    Tensor *rows = index_tensor(c->n, values);
    free(values);
    return rows;
}

static Tensor *spread_targets(const CrossEntropyCase *c) {
    int32_t *values = checked_malloc((size_t)(c->n + 1) * sizeof *values);
    for (int64_t i = 0; i < c->n; i++) values[i] = (int32_t)((i * 7919 + 1) % c->vocabulary);
    values[0] = (int32_t)(c->vocabulary - 1);
    Tensor *targets = index_tensor(c->n, values);
    free(values);
    return targets;
}

static Tensor *cross_entropy_op(const void *context, DType dtype, Tensor *const *inputs) {
    const CrossEntropyCase *c = context;
    return linear_cross_entropy(convert(inputs[0], dtype), convert(inputs[1], dtype),
                                supervised_rows(c), spread_targets(c));
}

/// The sum of losses in float64 and its gradient [tokens,width] (NULL allowed), each with the
/// magnitude of what is added up.
static double reference(const CrossEntropyCase *c, const double *hidden, const double *weight,
                        double *size, double *gradient, double *gradient_size) {
    const int32_t *rows = case_host(supervised_rows(c)), *targets = case_host(spread_targets(c));
    double *logits = checked_malloc((size_t)c->vocabulary * sizeof *logits), loss = 0;
    *size = 0;
    for (int64_t i = 0; i < c->n; i++) {
        const double *h = hidden + rows[i] * c->width;
        double max = -INFINITY, sum = 0, magnitude = 0;
        for (int64_t v = 0; v < c->vocabulary; v++) {
            double logit = 0, absolute = 0;
            for (int64_t k = 0; k < c->width; k++) {
                logit += h[k] * weight[v * c->width + k];
                absolute += fabs(h[k] * weight[v * c->width + k]);
            }
            logits[v] = logit;
            max = fmax(max, logit);
            magnitude = fmax(magnitude, absolute);
        }
        for (int64_t v = 0; v < c->vocabulary; v++) sum += exp(logits[v] - max);
        loss += max + log(sum) - logits[targets[i]];
        *size += magnitude + fabs(max) + fabs(log(sum));
        for (int64_t v = 0; v < c->vocabulary && gradient; v++) {
            double slope = exp(logits[v] - max) / sum - (v == targets[i]);
            for (int64_t k = 0; k < c->width; k++)
                gradient[rows[i] * c->width + k] += slope * weight[v * c->width + k];
            for (int64_t k = 0; k < c->width; k++)
                gradient_size[rows[i] * c->width + k] += fabs(slope * weight[v * c->width + k]);
        }
    }
    free(logits);
    return loss;
}

static void cross_entropy_agrees_with_float64(void **state) {
    (void)state;
    for (int i = 0; i < CASES; i++)
        for (DType dtype = FLOAT32; dtype <= BFLOAT16; dtype++) {
            const CrossEntropyCase *c = &cases[i];
            case_begin();
            Tensor *hidden = case_normal_times(c->logit_scale, dtype, SHAPE(c->tokens, c->width));
            Tensor *weight = case_normal(dtype, SHAPE(c->vocabulary, c->width));
            double size,
                loss = reference(c, case_doubles(hidden), case_doubles(weight), &size, NULL, NULL);
            Tensor *got =
                linear_cross_entropy(hidden, weight, supervised_rows(c), spread_targets(c));
            assert_int_equal(got->dtype, FLOAT32);
            // Logits are sums of `width` products; the inputs are exact and logits are float32 in
            // either type.
            case_expect("linear_cross_entropy", got, &loss, &size, (double)(c->width + c->n));
            case_end();
        }
}

static void cross_entropy_gradient_agrees_with_differences(void **state) {
    (void)state;
    for (int i = 0; i < CASES; i++) {
        case_begin();
        const CrossEntropyCase *c = &cases[i];
        Tensor *inputs[] = {case_normal_times(c->logit_scale, FLOAT32, SHAPE(c->tokens, c->width)),
                            case_normal_times(0.25, FLOAT32, SHAPE(c->vocabulary, c->width))};
        require_grad(inputs[0]);
        case_check_gradient("linear_cross_entropy", cross_entropy_op, c, 2, inputs);
        // Rounded: the logits' gradient, the hidden states', that times the loss's (the inputs are
        // exact in bfloat16).
        case_check_bfloat16("linear_cross_entropy", cross_entropy_op, c, 2, inputs, 4);
        case_end();
    }
}

/// 64 MiB of logits at a time are 256 rows of 2^16 words, so 600 rows take three chunks.
static void cross_entropy_in_several_chunks_agrees_with_float64(void **state) {
    (void)state;
    const CrossEntropyCase c = {700, 1, 1 << 16, 600, 1};
    for (DType dtype = FLOAT32; dtype <= BFLOAT16; dtype++) {
        case_begin();
        Tensor *inputs[] = {case_normal(FLOAT32, SHAPE(c.tokens, c.width)),
                            case_normal(FLOAT32, SHAPE(c.vocabulary, c.width))};
        double *want = case_zeros(c.tokens), *magnitude = case_zeros(c.tokens), *weights, size;
        double loss =
            reference(&c, case_doubles(inputs[0]), case_doubles(inputs[1]), &size, want, magnitude);
        require_grad(inputs[0]);
        Tensor *got = case_backward(cross_entropy_op, &c, dtype, 2, inputs, &weights);
        case_expect("loss", got, &loss, &size, (double)(c.width + c.n));
        // A product adds up the whole vocabulary, mostly in a row and mostly terms below a unit of
        // the sum, whose roundings lean to one side: a unit for each. In bfloat16 the logits'
        // gradient, the product and its scaled copy are rounded.
        double terms = (double)c.vocabulary * (double)c.vocabulary;
        double bfloat16 = dtype == FLOAT32 ? 0 : 3 * case_unit(BFLOAT16) / case_unit(FLOAT32);
        for (int64_t i = 0; i < c.tokens; i++) {
            want[i] *= weights[0];
            magnitude[i] *= fabs(weights[0]) * (1 + bfloat16 / (4 + sqrt(terms)));
        }
        case_expect("gradient", grad(inputs[0]), want, magnitude, terms);
        case_end();
    }
}

static void cross_entropy_of_no_rows_is_zero_with_a_zero_gradient(void **state) {
    (void)state;
    for (DType dtype = FLOAT32; dtype <= BFLOAT16; dtype++) {
        case_begin();
        const CrossEntropyCase c = {6, 4, 11, 0, 1};
        Tensor *inputs[] = {case_normal(FLOAT32, SHAPE(c.tokens, c.width)),
                            case_normal(FLOAT32, SHAPE(c.vocabulary, c.width))};
        require_grad(inputs[0]);
        Tensor *loss = case_backward(cross_entropy_op, &c, dtype, 2, inputs, NULL);
        assert_true(tensor_item(loss) == 0.0f);
        case_expect("gradient", grad(inputs[0]), case_zeros(24), NULL, 1);
        case_end();
    }
}

static void cross_entropy_of_certain_and_of_impossible_targets(void **state) {
    (void)state;
    case_begin();
    const float hidden[] = {1, 1}, weight[] = {200, -200, 0};
    const int32_t rows[] = {0, 1}, targets[] = {0, 1};
    Tensor *loss =
        linear_cross_entropy(tensor_from_host(case_device(), FLOAT32, SHAPE(2, 1), hidden),
                             tensor_from_host(case_device(), FLOAT32, SHAPE(3, 1), weight),
                             index_tensor(2, rows), index_tensor(2, targets));
    assert_true(tensor_item(loss) == 400.0f);
    case_end();
}

/// The processor's kernel stops the program; a GPU's cannot, and must not write elsewhere either.
static void a_target_that_is_no_class_makes_the_loss_nan_on_a_gpu(void **state) {
    (void)state;
    if (case_on_cpu()) return;
    for (int32_t target = -1; target <= 5; target += 6) {
        case_begin();
        Tensor *logits = case_normal(FLOAT32, SHAPE(2, 5));
        Tensor *loss = tensor_zeros(case_device(), FLOAT32, SHAPE(1));
        kernels(logits)->softmax_cross_entropy(logits, index_tensor(2, (int32_t[]){0, target}),
                                               true, loss);
        assert_true(isnan(tensor_item(loss)));
        case_end();
    }
}

/// Equal logits far below or above zero: the loss is the logarithm of their number.
static void cross_entropy_does_not_depend_on_where_the_logits_lie(void **state) {
    (void)state;
    for (int sign = -1; sign <= 1; sign++) {
        case_begin();
        Tensor *hidden = tensor_from_host(case_device(), FLOAT32, SHAPE(1, 1), &(float){1.0f});
        const float same = 512.0f * (float)sign, column[] = {same, same, same, same, same};
        Tensor *weight = tensor_from_host(case_device(), FLOAT32, SHAPE(5, 1), column);
        const double want = log(5), size = 512;
        Tensor *zero = index_tensor(1, (int32_t[]){0});
        case_expect("loss", linear_cross_entropy(hidden, weight, zero, zero), &want, &size, 1);
        case_end();
    }
}

// ---- mean and mean squared error

static Tensor *mean_op(const void *context, DType dtype, Tensor *const *inputs) {
    (void)context;
    return mean(convert(inputs[0], dtype));
}

static Tensor *mean_squared_error_op(const void *context, DType dtype, Tensor *const *inputs) {
    (void)context;
    return mean_squared_error(convert(inputs[0], dtype), convert(inputs[1], dtype));
}

static void means_agree_with_float64(void **state) {
    (void)state;
    const int64_t sizes[] = {1, 7, 1027, 100003};
    for (int i = 0; i < 4; i++)
        for (DType dtype = FLOAT32; dtype <= BFLOAT16; dtype++) {
            case_begin();
            int64_t n = sizes[i];
            Tensor *a = case_normal(dtype, SHAPE(n)), *b = case_normal(dtype, SHAPE(n));
            const double *x = case_doubles(a), *y = case_doubles(b);
            double sum = 0, size = 0, squares = 0;
            for (int64_t j = 0; j < n; j++) {
                sum += x[j] / (double)n;
                size += fabs(x[j]) / (double)n;
                squares += (x[j] - y[j]) * (x[j] - y[j]) / (double)n;
            }
            // Floats are added up in runs of 1024, doubles from there on.
            case_expect("mean", mean(a), &sum, &size, 1024);
            case_expect("mean_squared_error", mean_squared_error(a, b), &squares, NULL, 1024);
            case_end();
        }
}

static void mean_gradients_agree_with_differences(void **state) {
    (void)state;
    const int64_t sizes[] = {1, 6, 1027};
    for (int i = 0; i < 3; i++) {
        case_begin();
        Tensor *inputs[2];
        for (int j = 0; j < 2; j++) require_grad(inputs[j] = case_normal(FLOAT32, SHAPE(sizes[i])));
        case_check_gradient("mean", mean_op, NULL, 1, inputs);
        case_check_bfloat16("mean", mean_op, NULL, 1, inputs, 2);
        case_check_gradient("mean_squared_error", mean_squared_error_op, NULL, 2, inputs);
        case_check_bfloat16("mean_squared_error", mean_squared_error_op, NULL, 2, inputs, 3);
        case_end();
    }
}

static void losses_are_the_same_bits_again_and_with_any_number_of_threads(void **state) {
    (void)state;
    case_begin();
    Tensor *a = case_normal(FLOAT32, SHAPE(100003)), *b = case_normal(FLOAT32, SHAPE(100003));
    Tensor *logits = case_normal(FLOAT32, SHAPE(37, 1031)), *results[2][3];
    const CrossEntropyCase c = {37, 1, 1031, 37, 1};
    int before = omp_get_max_threads();
    for (int run = 0; run < 2; run++) {
        omp_set_num_threads(run == 0 ? 1 : 3);
        results[run][0] = mean(a);
        results[run][1] = mean_squared_error(a, b);
        results[run][2] = tensor_zeros(case_device(), FLOAT32, SHAPE(1));
        kernels(a)->softmax_cross_entropy(logits, spread_targets(&c), false, results[run][2]);
    }
    omp_set_num_threads(before);
    for (int i = 0; i < 3; i++) case_expect_equal("loss", results[1][i], results[0][i]);
    case_end();
}

static int loss_tests(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cross_entropy_agrees_with_float64),
        cmocka_unit_test(cross_entropy_gradient_agrees_with_differences),
        cmocka_unit_test(cross_entropy_in_several_chunks_agrees_with_float64),
        cmocka_unit_test(cross_entropy_of_no_rows_is_zero_with_a_zero_gradient),
        cmocka_unit_test(cross_entropy_of_certain_and_of_impossible_targets),
        cmocka_unit_test(a_target_that_is_no_class_makes_the_loss_nan_on_a_gpu),
        cmocka_unit_test(cross_entropy_does_not_depend_on_where_the_logits_lie),
        cmocka_unit_test(means_agree_with_float64),
        cmocka_unit_test(mean_gradients_agree_with_differences),
        cmocka_unit_test(losses_are_the_same_bits_again_and_with_any_number_of_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(void) { return case_run_vector_levels(loss_tests); }
