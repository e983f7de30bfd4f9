// rooms: ops autograd
// Products of few rows: against float64 in every type, at every kernel level; and that a row's
// result is the same bits whichever rows it shares the product with.
#include "ops/ops.h"
#include "tests/unit/op_cases.h"
#include "tests/unit/product_reference.h"

typedef struct FewShape {
    int64_t rows, k, n;
} FewShape;

/// Every height of a tile; k and n that end within a vector, a pack or a tile.
static const FewShape shapes[] = {
    {1, 1, 1},    {1, 4096, 33}, {1, 37, 5},    {2, 8, 257},  {3, 1031, 9},  {4, 64, 12},
    {5, 33, 7},   {6, 96, 21},   {7, 100, 50},  {8, 160, 64}, {11, 31, 3},   {13, 129, 6},
    {16, 17, 18}, {17, 640, 10}, {33, 250, 19}, {64, 70, 35}, {64, 512, 40},
};

typedef void (*FewCheck)(FewShape shape, DType type, DType weight_type);

/// Every shape, with activations and weights of every type that the contract allows together.
static void for_each_shape(FewCheck check) {
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int t = 0; t < 3; t++) {
            case_begin();
            check(shapes[i], t == 0 ? FLOAT32 : BFLOAT16, t == 2 ? BFLOAT16 : FLOAT32);
            case_end();
        }
}

static Reference reference_of(FewShape s, const Tensor *x, const Tensor *weight) {
    Reference want = reference_new(s.rows * s.n);
    const double *a = case_doubles(x), *b = case_doubles(weight);
    for (int64_t i = 0; i < s.rows; i++)
        for (int64_t j = 0; j < s.n; j++)
            for (int64_t l = 0; l < s.k; l++)
                reference_add(want, i * s.n + j, a[i * s.k + l] * b[j * s.k + l]);
    return want;
}

static void check_product(FewShape s, DType type, DType weight_type) {
    Tensor *x = case_normal(type, SHAPE(s.rows, s.k));
    Tensor *weight = case_normal(weight_type, SHAPE(s.n, s.k));
    Tensor *bias = case_normal(FLOAT32, SHAPE(s.n));
    Reference want = reference_of(s, x, weight);
    reference_expect("without bias", linear_few_rows(x, weight, NULL, NULL), want, (double)s.k);
    Tensor *wide = tensor_new(x->device, FLOAT32, SHAPE(s.rows, s.n));
    kernels(x)->linear_few_rows(x, weight, NULL, false, wide);
    reference_expect("into float32", wide, want, (double)s.k);
    Reference biased = reference_copy(want, s.rows * s.n);
    reference_add_rows(biased, s.rows, s.n, case_doubles(bias), 0);
    reference_expect("with bias", linear_few_rows(x, weight, bias, NULL), biased, (double)s.k);

    Tensor *sum = case_normal(type, SHAPE(s.rows, s.n));
    reference_add_rows(want, s.rows, s.n, case_doubles(sum), s.n);
    kernels(x)->linear_few_rows(x, weight, NULL, true, sum);
    reference_expect("added to y", sum, want, (double)s.k);
}

static void few_rows_multiply(void **state) {
    (void)state;
    for_each_shape(check_product);
}

/// `count` rows of x from `first` on, backwards.
static Tensor *some_rows(Tensor *x, int64_t first, int64_t count) {
    int32_t index[64];
    for (int64_t i = 0; i < count; i++) index[i] = (int32_t)(first + count - 1 - i);
    return gather_rows(x, tensor_from_host(case_device(), INT32, SHAPE(count), index));
}

static void check_companions(FewShape s, DType type, DType weight_type) {
    static const int64_t counts[] = {1, 2, 3, 4, 5, 7, 8, 16, 17, 63};
    Tensor *x = case_normal(type, SHAPE(s.rows, s.k));
    Tensor *weight = case_normal(weight_type, SHAPE(s.n, s.k));
    Tensor *bias = case_normal(FLOAT32, SHAPE(s.n));
    LoRA lora = {.a = case_normal(FLOAT32, SHAPE(3, s.k)),
                 .b = case_normal(FLOAT32, SHAPE(s.n, 3)),
                 .scale = 0.75f};
    Tensor *all = linear_few_rows(x, weight, bias, &lora);
    for (size_t i = 0; i < sizeof counts / sizeof *counts && counts[i] <= s.rows; i++)
        for (int64_t first = 0; first + counts[i] <= s.rows; first += s.rows - counts[i] + 1)
            case_expect_equal("a part of the rows",
                              linear_few_rows(some_rows(x, first, counts[i]), weight, bias, &lora),
                              some_rows(all, first, counts[i]));
}

static void a_row_does_not_depend_on_the_others(void **state) {
    (void)state;
    for_each_shape(check_companions);
}

/// A file's matrices begin at any element, and the processor reads them there.
static void a_matrix_need_not_begin_at_a_cache_line(void **state) {
    (void)state;
    if (!case_on_cpu()) return;
    enum { ROWS = 7, K = 133, N = 41 };
    for (int64_t shift = 1; shift < 32; shift += 3)
        for (DType type = FLOAT32; type <= BFLOAT16; type++) {
            case_begin();
            Tensor *memory = case_normal(type, SHAPE(N * K + 32));
            size_t offset = (size_t)shift * dtype_size(type);
            Tensor *there =
                tensor_over(case_device(), type, SHAPE(N, K), (char *)memory->data + offset, NULL);
            Tensor *copy = tensor_from_host(case_device(), type, SHAPE(N, K),
                                            (const char *)case_host(memory) + offset);
            Tensor *x = case_normal(type, SHAPE(ROWS, K));
            case_expect_equal("elsewhere", linear_few_rows(x, there, NULL, NULL),
                              linear_few_rows(x, copy, NULL, NULL));
            tensor_release(there);
            case_end();
        }
}

/// As many roundings of each on the way: hidden, its scale, the product, the sum.
static void a_low_rank_update_is_added(void **state) {
    (void)state;
    for (DType type = FLOAT32; type <= BFLOAT16; type++) {
        case_begin();
        Tensor *x = case_normal(type, SHAPE(9, 133)), *weight = case_normal(type, SHAPE(70, 133));
        LoRA lora = {.a = case_normal_times(0.25, FLOAT32, SHAPE(5, 133)),
                     .b = case_normal_times(0.25, FLOAT32, SHAPE(70, 5)),
                     .scale = 2.0f};
        Tensor *bias = case_normal(FLOAT32, SHAPE(70));
        double error = case_relative_error(linear_few_rows(x, weight, bias, &lora),
                                           linear_lora(x, weight, bias, &lora));
        double terms = type == FLOAT32 ? 133 : 1;
        assert_true(error <= case_unit(type) * sqrt(8 * terms));
        double update = case_relative_error(linear_few_rows(x, weight, bias, NULL),
                                            linear_lora(x, weight, bias, &lora));
        assert_true(update > 0.01);
        case_end();
    }
}

static void no_rows_give_no_result(void **state) {
    (void)state;
    case_begin();
    Tensor *y = linear_few_rows(tensor_new(case_device(), FLOAT32, SHAPE(0, 5)),
                                case_normal(FLOAT32, SHAPE(3, 5)), NULL, NULL);
    assert_int_equal(tensor_numel(y), 0);
    case_end();
}

static int run_all(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(few_rows_multiply),
        cmocka_unit_test(a_row_does_not_depend_on_the_others),
        cmocka_unit_test(a_matrix_need_not_begin_at_a_cache_line),
        cmocka_unit_test(a_low_rank_update_is_added),
        cmocka_unit_test(no_rows_give_no_result),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(void) { return case_run_levels(run_all); }
