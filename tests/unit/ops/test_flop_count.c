// rooms: ops autograd
// Operations are counted as textbooks do: two for each multiply-add.
#include "ops/flop_count.h"
#include "ops/ops.h"
#include "tests/unit/op_cases.h"

static void a_frozen_layer_costs_its_product_twice_forward_and_backward(void **state) {
    (void)state;
    case_begin();
    Tensor *x = case_normal(FLOAT32, SHAPE(3, 5)), *weight = case_normal(FLOAT32, SHAPE(7, 5));
    require_grad(x);
    flop_count_begin(case_device());
    tape_begin();
    backward(mean(linear(x, weight, NULL)), NULL, NULL);
    tape_end();
    assert_true(flop_count() == 2 * (2.0 * 3 * 5 * 7));
    case_end();
}

static void a_trained_layer_costs_a_third_product(void **state) {
    (void)state;
    case_begin();
    Tensor *x = case_normal(FLOAT32, SHAPE(3, 5)), *weight = case_normal(FLOAT32, SHAPE(7, 5));
    require_grad(x);
    require_grad(weight);
    flop_count_begin(case_device());
    tape_begin();
    backward(mean(linear(x, weight, NULL)), NULL, NULL);
    tape_end();
    assert_true(flop_count() == 3 * (2.0 * 3 * 5 * 7));
    case_end();
}

static void a_convolution_costs_a_kernel_for_every_output_pixel(void **state) {
    (void)state;
    case_begin();
    Tensor *x = case_normal(FLOAT32, SHAPE(2, 6, 8, 3));
    Tensor *weight = case_normal(FLOAT32, SHAPE(4, 3, 3, 3));
    flop_count_begin(case_device());
    conv2d(x, weight, NULL, (Conv2d){2, 1, 1, 1, 1});
    assert_true(flop_count() == 2.0 * (2 * 3 * 4 * 4) * (3 * 3 * 3));
    case_end();
}

static void attention_costs_by_what_queries_see(void **state) {
    (void)state;
    case_begin();
    // Three queries over five keys: causal, they see 3, 4 and 5; and two queries over one key:
    // causal, the last sees it.
    const int32_t segments[2][4] = {{0, 3, 0, 5}, {3, 2, 5, 1}};
    Tensor *q = case_normal(FLOAT32, SHAPE(5, 2 * 4)), *k = case_normal(FLOAT32, SHAPE(6, 2 * 4));
    for (int causal = 0; causal < 2; causal++) {
        Attention shape = attention_segments(case_device(), 2, segments, 2, 2, 4, causal);
        flop_count_begin(case_device());
        scaled_dot_product_attention(q, k, k, shape);
        assert_true(flop_count() == 2 * 2.0 * (causal ? 12 + 1 : 15 + 2) * 2 * 4);
    }
    case_end();
}

static void the_rate_of_products_is_a_rate(void **state) {
    (void)state;
    double rate = flop_rate_of_products(case_device(), FLOAT32);
    assert_true(rate > 1e7 && rate < 1e16);
}

static int run_all(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_frozen_layer_costs_its_product_twice_forward_and_backward),
        cmocka_unit_test(a_trained_layer_costs_a_third_product),
        cmocka_unit_test(a_convolution_costs_a_kernel_for_every_output_pixel),
        cmocka_unit_test(attention_costs_by_what_queries_see),
        cmocka_unit_test(the_rate_of_products_is_a_rate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(void) { return case_run_devices(run_all); }
