// rooms: ops autograd
// Linear layers with a matrix that is large enough for the processor's own products, in every type
// and at every kernel level, against float64. test_ops_products.c has the small ones.
#include "ops/ops.h"
#include "tests/unit/op_cases.h"
#include "tests/unit/product_reference.h"
#ifndef DIFFLMM_TEST_WITHOUT_CPU
#include "ops/cpu/products/float32_product.h"
#endif

#include <omp.h>

/// Of x and of the weight: a level without BFLOAT16 multiplies all of them as floats.
static const struct {
    DType x, weight;
} types[] = {{BFLOAT16, BFLOAT16}, {BFLOAT16, FLOAT32}, {FLOAT32, FLOAT32}};
enum { TYPES = sizeof types / sizeof *types };

/// Sizes at which the processor's product with a large matrix takes over: every height of a tile,
/// and columns, pairs and blocks of k that are not whole, rows in two parts.
static const LinearShape large_shapes[] = {{33, 521, 1024}, {43, 1600, 257}, {64, 1031, 257},
                                           {71, 33, 7187},  {83, 517, 395},  {97, 2113, 99},
                                           {103, 256, 641}, {300, 609, 95},  {1100, 131, 120}};

/// The same for matrices of floats.
static const LinearShape float_shapes[] = {{33, 521, 1024}, {47, 700, 513}};

static void for_each_large_linear(LinearCheck check) {
    for (size_t i = 0; i < sizeof large_shapes / sizeof *large_shapes; i++) {
        case_begin();
        check(large_shapes[i], BFLOAT16, BFLOAT16);
        case_end();
    }
    for (size_t i = 0; i < sizeof float_shapes / sizeof *float_shapes; i++)
        for (int t = 1; t < TYPES; t++) {
            case_begin();
            check(float_shapes[i], types[t].x, types[t].weight);
            case_end();
        }
}

static void a_large_matrix_multiplies(void **state) {
    (void)state;
    for_each_large_linear(check_forward);
}

static void a_large_matrix_gives_the_gradient_of_its_input(void **state) {
    (void)state;
    for_each_large_linear(check_input_gradient);
}

typedef struct Results {
    Tensor *y, *grad_x;
} Results;

static Results both_ways(Tensor *x, Tensor *weight, const Tensor *grad_y) {
    Results r = {tensor_like(grad_y), tensor_like(x)};
    kernels(x)->linear(x, weight, NULL, false, r.y);
    kernels(x)->linear_input_gradient(grad_y, weight, false, r.grad_x);
    return r;
}

/// A file's matrices begin anywhere, and the processor reads them there.
static void a_large_matrix_need_not_begin_at_a_cache_line(void **state) {
    (void)state;
    if (!case_on_cpu()) skip();
    enum { ROWS = 70, K = 704, N = 526 };
    for (int64_t shift = 1; shift < 32; shift += 5) {
        case_begin();
        int t = (int)(shift / 5) % TYPES;
        DType type = types[t].weight;
        Tensor *memory = case_normal(type, SHAPE(N * K + 32));
        size_t skipped = (size_t)shift * dtype_size(type);
        Tensor *there =
            tensor_over(case_device(), type, SHAPE(N, K), (char *)memory->data + skipped, NULL);
        Tensor *copy = tensor_from_host(case_device(), type, SHAPE(N, K),
                                        (const char *)case_host(memory) + skipped);
        Tensor *x = case_normal(types[t].x, SHAPE(ROWS, K));
        Tensor *grad_y = case_normal(types[t].x, SHAPE(ROWS, N));
        Results r = both_ways(x, there, grad_y), aligned = both_ways(x, copy, grad_y);
        case_expect_equal("forward", r.y, aligned.y);
        case_expect_equal("gradient", r.grad_x, aligned.grad_x);
        tensor_release(there);
        case_end();
    }
}

static void sums_are_the_same_bits_with_any_number_of_threads(void **state) {
    (void)state;
    int threads = omp_get_max_threads();
    for (int t = 0; t < TYPES; t++) {
        case_begin();
        Tensor *x = case_normal(types[t].x, SHAPE(67, 701));
        Tensor *weight = case_normal(types[t].weight, SHAPE(645, 701));
        Tensor *grad_y = case_normal(types[t].x, SHAPE(67, 645));
        Results want = both_ways(x, weight, grad_y);
        for (int n = 1; n < 5; n++) {
            omp_set_num_threads(n);
            Results got = both_ways(x, weight, grad_y);
            case_expect_equal("forward", got.y, want.y);
            case_expect_equal("gradient", got.grad_x, want.grad_x);
        }
        omp_set_num_threads(threads);
        case_end();
    }
}

#ifndef DIFFLMM_TEST_WITHOUT_CPU
/// Working memory stays below a quarter of what the matrix would take as floats.
static void a_bfloat16_matrix_is_not_widened_as_a_whole(void **state) {
    (void)state;
    enum { K = 1024, N = 4096 };
    if (!case_on_cpu() || !onednn_has_avx2()) skip();
    Device *device = case_device();
    for (int64_t rows = 2; rows < 80; rows += 31) {
        case_begin();
        Tensor *x = case_normal(BFLOAT16, SHAPE(rows, K));
        Tensor *weight = case_normal(BFLOAT16, SHAPE(N, K));
        Tensor *grad_y = case_normal(BFLOAT16, SHAPE(rows, N));
        int threads = omp_get_max_threads();
        omp_set_num_threads(2);
        device_reset_peak(device);
        int64_t before = device->bytes_in_use;
        both_ways(x, weight, grad_y);
        omp_set_num_threads(threads);
        assert_true(device->bytes_peak - before < (int64_t)sizeof(float) * N * K / 4);
        case_end();
    }
}

/// Of floats, whatever becomes of the conditions.
static void these_products_are_the_processors_own(void **state) {
    (void)state;
    if (!case_on_cpu() || !onednn_has_avx2()) skip();
    for (size_t i = 0; i < sizeof float_shapes / sizeof *float_shapes; i++) {
        const LinearShape *s = &float_shapes[i];
        for (int gradient = 0; gradient < 2; gradient++) {
            Matmul shape = {.m = s->rows,
                            .n = gradient ? s->k : s->n,
                            .k = gradient ? s->n : s->k,
                            .type = FLOAT32,
                            .c_type = FLOAT32,
                            .b_transposed = !gradient};
            assert_true(float32_product_bytes(&shape, FLOAT32, FLOAT32, 2) > 0);
        }
    }
}
#endif

static int run(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_large_matrix_multiplies),
        cmocka_unit_test(a_large_matrix_gives_the_gradient_of_its_input),
        cmocka_unit_test(a_large_matrix_need_not_begin_at_a_cache_line),
        cmocka_unit_test(sums_are_the_same_bits_with_any_number_of_threads),
#ifndef DIFFLMM_TEST_WITHOUT_CPU
        cmocka_unit_test(a_bfloat16_matrix_is_not_widened_as_a_whole),
        cmocka_unit_test(these_products_are_the_processors_own),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(void) { return case_run_levels(run); }
