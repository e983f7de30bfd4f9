// rooms: ops autograd
// Convolutions whose filter is too large to be kept packed, which the processor may do as matrix
// products with the filter as it is stored, against float64. test_ops_products.c has the small
// ones.
#include "ops/ops.h"
#include "tests/unit/op_cases.h"
#include "tests/unit/product_reference.h"
#ifndef DIFFLMM_TEST_WITHOUT_CPU
#include "ops/cpu/convolution/convolution.h"
#endif

#include <omp.h>

/// Filters of just over half a million elements. Few pixels and many, which different products
/// multiply; strides, and padding of every side for itself; channels that are no multiple of
/// anything; lines that no window reaches, windows that see nothing but padding.
static const ConvolutionCase cases[] = {
    {1, 3, 2, 257, 233, 3, 3, {1, 1, 1, 1, 1}},
    {2, 6, 7, 257, 233, 3, 3, {1, 1, 1, 1, 1}},
    {2, 7, 8, 257, 233, 3, 3, {2, 0, 1, 2, 0}},
    {1, 13, 11, 257, 233, 3, 3, {2, 1, 2, 0, 3}},
    {1, 5, 4, 1031, 171, 1, 3, {1, 0, 2, 0, 1}},
    {2, 6, 5, 1031, 129, 2, 2, {3, 0, 0, 0, 0}},
    {1, 2, 3, 130, 1031, 2, 2, {1, 3, 2, 1, 3}},
    {2, 6, 7, 727, 723, 1, 1, {1, 0, 0, 0, 0}},
    {2, 5, 6, 727, 723, 1, 1, {2, 0, 0, 0, 0}},
    {1, 4, 3, 727, 723, 1, 1, {2, 0, 0, 3, 2}}, // an output as large as the image
};
enum { CASES = sizeof cases / sizeof *cases };

typedef struct Tensors {
    Tensor *x, *weight, *bias, *y, *grad_y, *grad_x;
} Tensors;

static Tensors random_tensors(const ConvolutionCase *c) {
    Tensors t = {.x = case_normal(BFLOAT16, SHAPE(c->batch, c->height, c->width, c->in)),
                 .weight =
                     case_normal(BFLOAT16, SHAPE(c->out, c->kernel_height, c->kernel_width, c->in)),
                 .bias = case_normal(FLOAT32, SHAPE(c->out))};
    int64_t height = output_size(c->height, c->shape.pad_top, c->shape.pad_bottom, c->kernel_height,
                                 c->shape.stride);
    int64_t width = output_size(c->width, c->shape.pad_left, c->shape.pad_right, c->kernel_width,
                                c->shape.stride);
    t.grad_y = case_normal(BFLOAT16, SHAPE(c->batch, height, width, c->out));
    return t;
}

/// Fills y and grad_x.
static void convolve(Tensors *t, const ConvolutionCase *c) {
    t->y = conv2d(t->x, t->weight, t->bias, c->shape);
    t->grad_x = tensor_like(t->x);
    kernels(t->x)->conv2d_input_gradient(t->grad_y, t->weight, &c->shape, t->grad_x);
}

static void a_large_filter_matches_its_definition_both_ways(void **state) {
    (void)state;
    for (int i = 0; i < CASES; i++) {
        case_begin();
        check_convolution(&cases[i], BFLOAT16, BFLOAT16);
        case_end();
    }
}

static void results_are_the_same_bits_again_and_with_any_number_of_threads(void **state) {
    (void)state;
    int threads = omp_get_max_threads();
    for (int i = 0; i < CASES; i++) {
        case_begin();
        Tensors t = random_tensors(&cases[i]), again = t;
        convolve(&t, &cases[i]);
        for (int n = 1; n < 4; n++) {
            omp_set_num_threads(n);
            convolve(&again, &cases[i]);
            case_expect_equal("conv2d", again.y, t.y);
            case_expect_equal("input gradient", again.grad_x, t.grad_x);
        }
        omp_set_num_threads(threads);
        case_end();
    }
}

#ifndef DIFFLMM_TEST_WITHOUT_CPU
static void these_filters_are_read_as_they_are_stored(void **state) {
    (void)state;
    if (!case_on_cpu() || !onednn_has_bfloat16()) skip();
    for (int i = 0; i < CASES; i++) {
        case_begin();
        Tensors t = random_tensors(&cases[i]);
        Convolution shape = convolution_of(BFLOAT16, t.x, t.weight, &cases[i].shape, t.grad_y);
        const OwnConvolution *own = own_convolution();
        Tensor *y = tensor_like(t.grad_y), *grad_x = tensor_like(t.x);
        assert_true(own->is_used(&shape, false));
        own->forward(&shape, t.x->data, t.weight->data, t.bias->data, y->data, t.x->device);
        convolve(&t, &cases[i]);
        case_expect_equal("conv2d", y, t.y);
        if (own->is_used(&shape, true)) {
            own->input_gradient(&shape, t.grad_y->data, t.weight->data, grad_x->data, t.x->device);
            case_expect_equal("input gradient", grad_x, t.grad_x);
        }
        case_end();
    }
}
#endif

static int run(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_large_filter_matches_its_definition_both_ways),
        cmocka_unit_test(results_are_the_same_bits_again_and_with_any_number_of_threads),
#ifndef DIFFLMM_TEST_WITHOUT_CPU
        cmocka_unit_test(these_filters_are_read_as_they_are_stored),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(void) { return case_run_devices(run); }
