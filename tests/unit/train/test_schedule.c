// Learning-rate schedules against figures of transformers' get_scheduler (5.x), and AdamW's groups.
#include "ops/kernels.h"
#include "ops/ops.h"
#include "train/trainer/optimizer.h"
#include "train/trainer/schedule.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void factors_are_those_of_transformers(void **state) {
    (void)state;
    // get_scheduler(name, optimizer, num_warmup_steps=3, num_training_steps=10): get_last_lr()[0]
    // before each step, lr 1
    const double cosine[] = {0,
                             1 / 3.,
                             2 / 3.,
                             1,
                             0.9504844339512095,
                             0.8117449009293668,
                             0.6112604669781572,
                             0.3887395330218428,
                             0.18825509907063326,
                             0.04951556604879043};
    const double linear[] = {0,
                             1 / 3.,
                             2 / 3.,
                             1,
                             0.8571428571428571,
                             0.7142857142857143,
                             0.5714285714285714,
                             0.42857142857142855,
                             0.2857142857142857,
                             0.14285714285714285};
    for (int step = 0; step < 10; step++) {
        assert_true(fabs(schedule_factor(SCHEDULE_COSINE, step, 3, 10) - cosine[step]) < 1e-12);
        assert_true(fabs(schedule_factor(SCHEDULE_LINEAR, step, 3, 10) - linear[step]) < 1e-12);
        assert_true(fabs(schedule_factor(SCHEDULE_CONSTANT, step, 3, 10) - fmin(1, step / 3.)) <
                    1e-12);
    }
    assert_true(schedule_factor(SCHEDULE_COSINE, 10, 3, 10) == 0);
    assert_int_equal(schedule_warmup_steps(0.03, 2181), 66);
    assert_int_equal(schedule_warmup_steps(0, 100), 0);
}

static void assert_near(double value, double expected) {
    assert_true(fabs(value - expected) < 1e-6);
}

static void fill(Tensor *x, float first, float step) {
    for (int64_t i = 0; i < tensor_numel(x); i++) ((float *)x->data)[i] = first + step * (float)i;
}

static void give_gradient(ParameterSet *set, int index, float value) {
    tape_begin();
    scope_begin();
    Tensor *x = set->items[index].value;
    backward(scale(mean(x), value * (float)tensor_numel(x)), NULL, NULL);
    scope_end();
    tape_end();
}

static void every_group_has_its_rate_and_clipping_uses_the_norm_of_all(void **state) {
    (void)state;
    Device *device = ops_cpu_open(0);
    ParameterSet set = {0};
    fill(parameters_add(&set, "adapter", GROUP_ADAPTERS, device, SHAPE(2, 3)), 1, 0);
    fill(parameters_add(&set, "lora", GROUP_LORA, device, SHAPE(3, 1)), 1, 0);
    fill(parameters_add(&set, "idle", GROUP_LORA, device, SHAPE(4)), 1, 0);
    Optimizer optimizer = optimizer_new(&set, NULL, 0);
    give_gradient(&set, 0, 6);
    give_gradient(&set, 1, -8);
    double norm = 0.5 * sqrt(optimizer_sum_squares(&optimizer));
    assert_true(fabs(norm - sqrt(6 * 3. * 3 + 3 * 4. * 4)) < 1e-5);
    OptimizerOptions options = {{1e-3, 1e-2}, 0.9, 0.999,
                                1e-8,         0.1, 0.5 * optimizer_clip_factor(norm, 1.0)};
    optimizer_step(&optimizer, &options);
    // the first AdamW step moves by the learning rate against the gradient's sign, after decoupled
    // decay of matrices
    assert_near(((float *)set.items[0].value->data)[5], 1 * (1 - 1e-3 * 0.1) - 1e-3);
    assert_near(((float *)set.items[1].value->data)[0], 1 * (1 - 1e-2 * 0.1) + 1e-2);
    assert_near(((float *)set.items[2].value->data)[0], 1);
    assert_near(((float *)optimizer.parts[0].exp_avg->data)[0], 0.1 * 3 / (norm + 1e-6));
    assert_null(grad(set.items[0].value));
    assert_int_equal(optimizer.steps, 1);
    optimizer_free(&optimizer);
    parameters_free(&set);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(factors_are_those_of_transformers),
        cmocka_unit_test(every_group_has_its_rate_and_clipping_uses_the_norm_of_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
