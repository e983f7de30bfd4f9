// rooms: ops autograd
// Where a value that is not finite came from.
#include "ops/finite_check.h"
#include "ops/ops.h"
#include "tests/unit/op_cases.h"

static char what[512];

static void finite_results_pass(void **state) {
    (void)state;
    case_begin();
    Tensor *x = case_normal(FLOAT32, SHAPE(3, 5));
    const Kernels *before = kernels(x);
    finite_check_begin(x->device);
    gelu(add(x, x));
    assert_true(finite_check_end(x->device, what, sizeof what));
    assert_ptr_equal(kernels(x), before);
    case_end();
}

static void the_first_kernel_and_the_weight_are_named(void **state) {
    (void)state;
    case_begin();
    Tensor *x = case_normal(BFLOAT16, SHAPE(3, 5));
    float values[20] = {0};
    values[7] = INFINITY;
    Tensor *weight = tensor_new_persistent(case_device(), FLOAT32, SHAPE(4, 5), "layers.7.weight");
    tensor_fill_from_float(weight, values);
    finite_check_begin(x->device);
    Tensor *y = linear(silu(x), weight, NULL);
    scale(y, 2.0f);
    assert_false(finite_check_end(x->device, what, sizeof what));
    assert_non_null(strstr(what, "values of linear, [3, 4] bfloat16"));
    assert_non_null(strstr(what, "its input [4, 5] float32 layers.7.weight has 1 already"));
    tensor_release(weight);
    case_end();
}

static void a_gradient_that_overflows_is_found_in_backward(void **state) {
    (void)state;
    case_begin();
    Tensor *x = case_normal(FLOAT32, SHAPE(2, 3));
    require_grad(x);
    finite_check_begin(x->device);
    tape_begin();
    Tensor *y = mean(scale(scale(x, 1e-30f), 1e30f));
    Tensor *direction = tensor_like(y);
    tensor_fill_from_float(direction, &(float){3e38f});
    backward(scale(y, 8.0f), direction, NULL);
    tape_end();
    assert_false(finite_check_end(x->device, what, sizeof what));
    assert_non_null(strstr(what, "values of scale, [1] float32"));
    assert_null(strstr(what, "already"));
    case_end();
}

static void what_was_overwritten_is_not_held_to_have_been_so_before(void **state) {
    (void)state;
    case_begin();
    Tensor *x = case_normal(FLOAT32, SHAPE(2, 3));
    finite_check_begin(x->device);
    kernels(x)->scale(x, 3e38f, x);
    kernels(x)->scale(x, 3e38f, x);
    assert_false(finite_check_end(x->device, what, sizeof what));
    assert_non_null(strstr(what, "values of scale, [2, 3] float32"));
    assert_null(strstr(what, "already"));
    case_end();
}

static void a_parameters_gradient_is_called_by_its_name(void **state) {
    (void)state;
    case_begin();
    Tensor *x = case_normal(FLOAT32, SHAPE(3, 5));
    Tensor *gradient = tensor_new_persistent(case_device(), FLOAT32, SHAPE(5), "layers.7.bias");
    tensor_fill_from_float(x, (float[15]){[3] = INFINITY});
    tensor_fill_from_float(gradient, (float[5]){0});
    finite_check_begin(x->device);
    kernels(x)->sum_rows(x, gradient);
    assert_false(finite_check_end(x->device, what, sizeof what));
    assert_non_null(strstr(what, "1 of the values of sum_rows, [5] float32 'layers.7.bias'"));
    tensor_release(gradient);
    case_end();
}

static void fused_kernels_are_looked_at_too(void **state) {
    (void)state;
    case_begin();
    Tensor *x = case_normal(FLOAT32, SHAPE(3, 5)), *weight = case_normal(FLOAT32, SHAPE(4, 5));
    tensor_fill_from_float(x, (float[15]){[3] = INFINITY});
    finite_check_begin(x->device);
    linear_gelu_tanh(x, weight, NULL);
    assert_false(finite_check_end(x->device, what, sizeof what));
    assert_non_null(strstr(what, "values of linear_gelu_tanh, [3, 4] float32"));
    case_end();
}

static int run_all(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finite_results_pass),
        cmocka_unit_test(the_first_kernel_and_the_weight_are_named),
        cmocka_unit_test(a_gradient_that_overflows_is_found_in_backward),
        cmocka_unit_test(what_was_overwritten_is_not_held_to_have_been_so_before),
        cmocka_unit_test(a_parameters_gradient_is_called_by_its_name),
        cmocka_unit_test(fused_kernels_are_looked_at_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(void) { return case_run_devices(run_all); }
