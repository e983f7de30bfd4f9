// rooms: ops autograd
// Convolutions in Intel's tiles against float64, at the edges of tiles, rows and images, whatever
// the conditions for their use; the processor's tiles and those of plain C bit for bit.
#include "autograd/block_cache.h"
#include "ops/cpu/amx/convolution.h"
#include "tests/unit/amx_traps.h"
#include "tests/unit/op_cases.h"
#include "tests/unit/product_reference.h"

#include <omp.h>

#ifdef __x86_64__

/// Channels around a tile's 16 and 32, of three and four as the networks' first; images of one
/// pixel, of less than a tile, of several spans; every kernel, stride and padding that a model has,
/// and some that none has.
static const ConvolutionCase cases[] = {
    {1, 1, 1, 1, 1, 1, 1, {1, 0, 0, 0, 0}},
    {1, 1, 1, 3, 2, 3, 3, {1, 1, 1, 1, 1}},
    {1, 4, 4, 15, 16, 3, 3, {1, 1, 1, 1, 1}},
    {2, 5, 3, 16, 15, 3, 3, {1, 1, 1, 1, 1}},
    {1, 3, 17, 17, 31, 3, 3, {1, 1, 1, 1, 1}},
    {1, 16, 2, 31, 17, 3, 3, {1, 1, 1, 1, 1}},
    {3, 6, 6, 32, 32, 3, 3, {1, 1, 1, 1, 1}},
    {2, 12, 12, 33, 63, 3, 3, {1, 1, 1, 1, 1}},
    {1, 9, 8, 64, 33, 3, 3, {1, 1, 1, 1, 1}},
    {1, 7, 7, 65, 65, 3, 3, {1, 1, 1, 1, 1}},
    {1, 10, 11, 3, 40, 3, 3, {1, 1, 1, 1, 1}},
    {1, 12, 9, 4, 320, 3, 3, {1, 1, 1, 1, 1}},
    {1, 70, 71, 5, 7, 3, 3, {1, 1, 1, 1, 1}}, // spans
    {1, 130, 129, 3, 4, 3, 3, {2, 0, 0, 1, 1}},
    {1, 3, 300, 34, 9, 3, 3, {1, 1, 1, 1, 1}},
    {2, 9, 8, 33, 20, 3, 3, {2, 0, 0, 1, 1}}, // the VAE's downsampling
    {2, 8, 9, 20, 33, 3, 3, {2, 1, 1, 1, 1}}, // the U-Net's
    {1, 13, 11, 17, 18, 3, 3, {2, 1, 2, 0, 3}},
    {2, 7, 8, 18, 17, 3, 2, {2, 0, 1, 2, 0}},
    {1, 11, 10, 6, 5, 4, 2, {3, 1, 0, 2, 1}}, // a phase of the gradient that no tap reaches
    {3, 5, 6, 20, 33, 1, 1, {1, 0, 0, 0, 0}},
    {1, 5, 6, 35, 16, 1, 1, {1, 2, 1, 0, 3}},
    {2, 5, 6, 8, 7, 1, 1, {2, 0, 0, 0, 0}},
    {1, 4, 3, 9, 8, 1, 1, {2, 0, 0, 3, 2}},
    {1, 9, 9, 6, 5, 5, 5, {1, 2, 2, 2, 2}}, // blocks of steps that end within a kernel
    {1, 6, 5, 2, 3, 2, 3, {1, 0, 2, 1, 0}},
    {1, 4, 5, 3, 4, 2, 2, {1, 5, 3, 4, 6}}, // windows that see nothing but padding
    {1, 28, 42, 3, 17, 14, 14, {14, 0, 0, 0, 0}},
    {1, 5, 4, 40, 70, 1, 3, {1, 0, 2, 0, 1}},
};
enum { CASES = sizeof cases / sizeof *cases };

typedef struct Tensors {
    Convolution shape;
    Tensor *x, *weight, *bias, *y, *grad_y, *grad_x;
} Tensors;

static Tensors random_tensors(const ConvolutionCase *c) {
    int64_t height = output_size(c->height, c->shape.pad_top, c->shape.pad_bottom, c->kernel_height,
                                 c->shape.stride);
    int64_t width = output_size(c->width, c->shape.pad_left, c->shape.pad_right, c->kernel_width,
                                c->shape.stride);
    Tensors t = {.x = case_normal(BFLOAT16, SHAPE(c->batch, c->height, c->width, c->in)),
                 .weight =
                     case_normal(BFLOAT16, SHAPE(c->out, c->kernel_height, c->kernel_width, c->in)),
                 .bias = case_normal(FLOAT32, SHAPE(c->out)),
                 .grad_y = case_normal(BFLOAT16, SHAPE(c->batch, height, width, c->out))};
    t.shape = convolution_of(BFLOAT16, t.x, t.weight, &c->shape, t.grad_y);
    return t;
}

/// Fills new y and grad_x.
static void convolve(const OwnConvolution *own, Tensors *t, bool biased) {
    Device *device = t->x->device;
    t->y = tensor_like(t->grad_y);
    t->grad_x = tensor_like(t->x);
    own->forward(&t->shape, t->x->data, t->weight->data, biased ? t->bias->data : NULL, t->y->data,
                 device);
    own->input_gradient(&t->shape, t->grad_y->data, t->weight->data, t->grad_x->data, device);
}

static void expect_equal(const Tensors *a, const Tensors *b) {
    case_expect_equal("forward", a->y, b->y);
    case_expect_equal("input gradient", a->grad_x, b->grad_x);
}

/// As the definition has it, with the bound of one rounding and of the products' sums.
static void expect_definition(const ConvolutionCase *c, const Tensors *t) {
    int64_t height = t->grad_y->shape[1], width = t->grad_y->shape[2];
    Convolved forward = {case_doubles(t->x), case_doubles(t->weight),
                         reference_new(tensor_numel(t->y))};
    for_each_joined(c, height, width, forward_term, &forward);
    reference_add_rows(forward.to, c->batch * height * width, c->out, case_doubles(t->bias), 0);
    double taps = (double)(c->kernel_height * c->kernel_width);
    reference_expect("forward", t->y, forward.to, taps * (double)c->in);
    Convolved back = {case_doubles(t->grad_y), forward.weight, reference_new(tensor_numel(t->x))};
    for_each_joined(c, height, width, backward_term, &back);
    reference_expect("input gradient", t->grad_x, back.to, taps * (double)c->out);
}

static void tiles_convolve_as_defined_both_ways(void **state) {
    (void)state;
    for (int i = 0; i < CASES; i++) {
        case_begin();
        Tensors t = random_tensors(&cases[i]);
        convolve(&own_convolution_amx_plain, &t, true);
        expect_definition(&cases[i], &t);
        case_end();
    }
}

static void without_a_bias_none_is_added(void **state) {
    (void)state;
    case_begin();
    Tensors t = random_tensors(&cases[7]), zero = t;
    convolve(&own_convolution_amx_plain, &t, false);
    zero.bias = tensor_zeros(case_device(), FLOAT32, t.bias->rank, t.bias->shape);
    convolve(&own_convolution_amx_plain, &zero, true);
    expect_equal(&t, &zero);
    case_end();
}

static void results_have_the_same_bits_on_one_to_four_threads(void **state) {
    (void)state;
    int threads = omp_get_max_threads();
    for (int i = 0; i < CASES; i++) {
        case_begin();
        Tensors t = random_tensors(&cases[i]), again = t;
        omp_set_num_threads(1);
        convolve(&own_convolution_amx_plain, &t, true);
        for (int n = 2; n <= 4; n++) {
            omp_set_num_threads(n);
            convolve(&own_convolution_amx_plain, &again, true);
            expect_equal(&again, &t);
        }
        omp_set_num_threads(threads);
        case_end();
    }
}

/// Nor on what else is in the batch.
static void a_pixel_does_not_depend_on_how_large_the_image_is(void **state) {
    (void)state;
    enum { CHANNELS = 40 };
    case_begin();
    const ConvolutionCase three = {3, 7, 5, CHANNELS, CHANNELS, 3, 3, {1, 1, 1, 1, 1}};
    ConvolutionCase one = three;
    one.batch = 1;
    Tensors all = random_tensors(&three), second = random_tensors(&one);
    second.weight = all.weight;
    second.bias = all.bias;
    int64_t numel = tensor_numel(second.x);
    case_write(second.x, (uint16_t *)case_host(all.x) + numel);
    case_write(second.grad_y, (uint16_t *)case_host(all.grad_y) + numel);
    convolve(&own_convolution_amx_plain, &all, true);
    convolve(&own_convolution_amx_plain, &second, true);
    const uint16_t *y = case_host(all.y), *grad_x = case_host(all.grad_x);
    assert_memory_equal(case_host(second.y), y + numel, (size_t)numel * sizeof *y);
    assert_memory_equal(case_host(second.grad_x), grad_x + numel, (size_t)numel * sizeof *y);
    case_end();
}

static void a_filter_may_begin_anywhere(void **state) {
    (void)state;
    for (int64_t shift = 1; shift < 32; shift += 6) {
        case_begin();
        Tensors t = random_tensors(&cases[7]), there = t;
        int64_t numel = tensor_numel(t.weight);
        uint16_t *memory = case_memory(numel + shift, sizeof *memory);
        memcpy(memory + shift, t.weight->data, (size_t)numel * sizeof *memory);
        there.weight =
            tensor_over(case_device(), BFLOAT16, SHAPE(63, 3, 3, 33), memory + shift, NULL);
        convolve(&own_convolution_amx_plain, &t, true);
        convolve(&own_convolution_amx_plain, &there, true);
        expect_equal(&there, &t);
        tensor_release(there.weight);
        case_end();
    }
}

static void working_memory_is_as_foretold(void **state) {
    (void)state;
    Device *device = case_device();
    for (int i = 0; i < CASES; i++) {
        case_begin();
        Tensors t = random_tensors(&cases[i]);
        const OwnConvolution *own = &own_convolution_amx_plain;
        for (int gradient = 0; gradient < 2; gradient++) {
            t.y = tensor_like(t.grad_y);
            t.grad_x = tensor_like(t.x);
            int64_t before = device->bytes_in_use;
            device_reset_peak(device);
            if (gradient)
                own->input_gradient(&t.shape, t.grad_y->data, t.weight->data, t.grad_x->data,
                                    device);
            else
                own->forward(&t.shape, t.x->data, t.weight->data, NULL, t.y->data, device);
            size_t bytes = own->bytes(&t.shape, gradient, omp_get_max_threads());
            assert_int_equal(device->bytes_peak - before, block_cache_block_bytes(bytes));
            assert_int_equal(device->bytes_in_use, before);
        }
        case_end();
    }
}

static void the_instructions_give_the_same_bits(void **state) {
    (void)state;
    amx_traps_set();
    static const int some[] = {1, 3, 4, 15, 19, 21};
    for (size_t i = 0; i < sizeof some / sizeof *some; i++) {
        case_begin();
        Tensors plain = random_tensors(&cases[some[i]]), tiles = plain;
        convolve(&own_convolution_amx_plain, &plain, true);
        convolve(&own_convolution_amx, &tiles, true);
        expect_equal(&tiles, &plain);
        case_end();
    }
    if (!amx_is_available()) assert_true(trapped_count > 0);
}

static int run(void) {
    if (!ops_cpu_use_level("v4_bf16")) return 0; // both kinds of tiles come with AVX512_BF16
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tiles_convolve_as_defined_both_ways),
        cmocka_unit_test(without_a_bias_none_is_added),
        cmocka_unit_test(results_have_the_same_bits_on_one_to_four_threads),
        cmocka_unit_test(a_pixel_does_not_depend_on_how_large_the_image_is),
        cmocka_unit_test(a_filter_may_begin_anywhere),
        cmocka_unit_test(working_memory_is_as_foretold),
        cmocka_unit_test(the_instructions_give_the_same_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(void) {
    case_chosen = ops_cpu_open(0);
    return run();
}
#else
int main(void) { return 0; }
#endif
