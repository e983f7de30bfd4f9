// rooms: ops autograd
// AdamW against a float64 implementation of torch.optim.AdamW's formula, and the sum of squares
// behind gradient clipping.
#include "ops/ops.h"
#include "tests/unit/op_cases.h"

#include <omp.h>

/// One parameter's state in float64.
typedef struct Reference {
    double *parameter, *exp_avg, *exp_avg_sq;
} Reference;

static void reference_step(const AdamW *step, const double *gradient, int64_t n, Reference *r) {
    double b1 = step->beta1, b2 = step->beta2, rate = step->learning_rate;
    double correction1 = 1 - pow(b1, (double)step->step);
    double correction2 = 1 - pow(b2, (double)step->step);
    for (int64_t i = 0; i < n; i++) {
        double g = gradient[i] * (double)step->gradient_scale;
        r->parameter[i] -= rate * (double)step->weight_decay * r->parameter[i];
        r->exp_avg[i] = b1 * r->exp_avg[i] + (1 - b1) * g;
        r->exp_avg_sq[i] = b2 * r->exp_avg_sq[i] + (1 - b2) * g * g;
        r->parameter[i] -= rate * (r->exp_avg[i] / correction1) /
                           (sqrt(r->exp_avg_sq[i] / correction2) + (double)step->epsilon);
    }
}

typedef struct AdamWCase {
    int64_t n;
    AdamW step;
} AdamWCase;

static const AdamWCase cases[] = {
    {1, {1e-3f, 0.9f, 0.999f, 1e-8f, 0.0f, 0, 1.0f}},
    {7, {2e-5f, 0.9f, 0.999f, 1e-8f, 0.1f, 0, 0.25f}},
    {1027, {1e-2f, 0.8f, 0.95f, 1e-6f, 0.01f, 0, 3.0f}},
    {40003, {1e-3f, 0.9f, 0.999f, 1e-8f, 0.01f, 0, 1.0f}},
};

/// Each step rounds the parameter once (a unit of it) and the update a few times (of a size of at
/// most rate times (1 + a few)); the averages round three times a step.
static void adamw_agrees_with_float64_over_many_steps(void **state) {
    (void)state;
    enum { STEPS = 12 };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        case_begin();
        int64_t n = cases[i].n;
        AdamW step = cases[i].step;
        Tensor *parameter = case_normal(FLOAT32, SHAPE(n));
        Tensor *exp_avg = tensor_zeros(case_device(), FLOAT32, SHAPE(n));
        Tensor *exp_avg_sq = tensor_zeros(case_device(), FLOAT32, SHAPE(n));
        Reference r = {case_doubles(parameter), case_zeros(n), case_zeros(n)};
        double *size = case_zeros(n), *average_size = case_zeros(n);
        for (step.step = 1; step.step <= STEPS; step.step++) {
            Tensor *gradient = case_normal(FLOAT32, SHAPE(n));
            const double *g = case_doubles(gradient);
            kernels(parameter)->adamw(&step, 1,
                                      &(AdamWTensors){gradient, exp_avg, exp_avg_sq, parameter});
            reference_step(&step, g, n, &r);
            for (int64_t j = 0; j < n; j++) {
                size[j] = fabs(r.parameter[j]) + 20 * (double)step.learning_rate;
                average_size[j] = fmax(
                    average_size[j], fabs(r.exp_avg[j]) + fabs(g[j] * (double)step.gradient_scale));
            }
            double rounded = 3 * (double)step.step;
            case_expect("exp_avg", exp_avg, r.exp_avg, average_size, rounded);
            case_expect("exp_avg_sq", exp_avg_sq, r.exp_avg_sq, NULL, rounded);
            case_expect("parameter", parameter, r.parameter, size, rounded);
        }
        case_end();
    }
}

/// torch.optim.AdamW([1.0, -2.0, 0.5], lr=0.1, weight_decay=0.1) after gradients [0.1, -0.2, 0],
/// [0.3, 0.1, 0].
static void adamw_gives_torchs_numbers(void **state) {
    (void)state;
    case_begin();
    AdamW step = {0.1f, 0.9f, 0.999f, 1e-8f, 0.1f, 1, 1.0f};
    const float start[] = {1.0f, -2.0f, 0.5f};
    const float gradients[2][3] = {{0.1f, -0.2f, 0.0f}, {0.3f, 0.1f, 0.0f}};
    const double want[] = {0.7893219021055898, -1.834566302668676, 0.49005};
    Tensor *parameter = tensor_from_host(case_device(), FLOAT32, SHAPE(3), start);
    Tensor *exp_avg = tensor_zeros(case_device(), FLOAT32, SHAPE(3));
    Tensor *exp_avg_sq = tensor_zeros(case_device(), FLOAT32, SHAPE(3));
    for (step.step = 1; step.step <= 2; step.step++)
        kernels(parameter)->adamw(&step, 1,
                                  &(AdamWTensors){tensor_from_host(case_device(), FLOAT32, SHAPE(3),
                                                                   gradients[step.step - 1]),
                                                  exp_avg, exp_avg_sq, parameter});
    // Of the order of the parameters and of the two updates of 0.1 each; five roundings a step, and
    // constants that are not floats.
    const double size[] = {1.2, 2.2, 0.7};
    case_expect("parameter", parameter, want, size, 10);
    case_end();
}

static void sum_squares_adds_in_double(void **state) {
    (void)state;
    const int64_t sizes[] = {1, 7, 1027, 100003};
    for (int i = 0; i < 4; i++) {
        case_begin();
        Tensor *x = case_normal(FLOAT32, SHAPE(sizes[i]));
        const double *values = case_doubles(x);
        double want = 0;
        for (int64_t j = 0; j < sizes[i]; j++) want += values[j] * values[j];
        int before = omp_get_max_threads();
        omp_set_num_threads(1);
        double got, with_threads;
        kernels(x)->sum_squares(1, &x, &got);
        omp_set_num_threads(3);
        kernels(x)->sum_squares(1, &x, &with_threads);
        omp_set_num_threads(before);
        assert_true(fabs(got - want) <= 0x1p-52 * sqrt((double)sizes[i]) * want);
        assert_true(with_threads == got); // the same bits again, with any number of threads
        case_end();
    }
}

/// Tensors of many sizes (none, less than a chunk, several), every fifth one starting in the middle
/// of 16 bytes.
enum { MANY = 150 };
static Tensor *tensor_of_many(int i) {
    int64_t n = i == 140 ? 20011 : i * 37 % 97;
    if (i % 5) return case_normal(FLOAT32, SHAPE(n));
    Tensor *whole = case_normal(FLOAT32, SHAPE(n + 1));
    return scope_adopt(
        tensor_over(case_device(), FLOAT32, SHAPE(n), (float *)whole->data + 1, NULL));
}

static void many_tensors_at_once_are_as_one_after_another(void **state) {
    (void)state;
    case_begin();
    AdamWTensors together[MANY], alone[MANY];
    for (int i = 0; i < MANY; i++) {
        Tensor *parameter = tensor_of_many(i), *gradient = tensor_of_many(i);
        together[i] = (AdamWTensors){i % 7 ? gradient : NULL, tensor_of_many(i),
                                     scale(tensor_of_many(i), 0.0f), parameter};
        alone[i] = (AdamWTensors){together[i].gradient, case_convert(together[i].exp_avg, FLOAT32),
                                  case_convert(together[i].exp_avg_sq, FLOAT32),
                                  case_convert(parameter, FLOAT32)};
    }
    AdamW step = {1e-2f, 0.8f, 0.95f, 1e-6f, 0.01f, 0, 3.0f};
    for (step.step = 1; step.step <= 2; step.step++) {
        kernels(together[0].parameter)->adamw(&step, MANY, together);
        for (int i = 0; i < MANY; i++) kernels(alone[i].parameter)->adamw(&step, 1, &alone[i]);
    }
    for (int i = 0; i < MANY; i++) {
        case_expect_equal("exp_avg", together[i].exp_avg, alone[i].exp_avg);
        case_expect_equal("exp_avg_sq", together[i].exp_avg_sq, alone[i].exp_avg_sq);
        case_expect_equal("parameter", together[i].parameter, alone[i].parameter);
    }
    case_end();
}

static void sum_squares_adds_over_many_tensors(void **state) {
    (void)state;
    case_begin();
    Tensor *x[MANY];
    double want = 0;
    int64_t numel = 0;
    for (int i = 0; i < MANY; i++) {
        x[i] = tensor_of_many(i);
        numel += tensor_numel(x[i]);
        const double *values = case_doubles(x[i]);
        for (int64_t j = 0; j < tensor_numel(x[i]); j++) want += values[j] * values[j];
    }
    double got, of_nothing;
    kernels(x[0])->sum_squares(MANY, x, &got);
    assert_true(fabs(got - want) <= 0x1p-52 * sqrt((double)numel) * want);
    kernels(x[0])->sum_squares(1, x, &of_nothing); // the first is empty
    assert_true(of_nothing == 0.0);
    case_end();
}

static int optimizer_tests(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(adamw_agrees_with_float64_over_many_steps),
        cmocka_unit_test(adamw_gives_torchs_numbers),
        cmocka_unit_test(sum_squares_adds_in_double),
        cmocka_unit_test(many_tensors_at_once_are_as_one_after_another),
        cmocka_unit_test(sum_squares_adds_over_many_tensors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(void) { return case_run_vector_levels(optimizer_tests); }
