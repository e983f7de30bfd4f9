// rooms: ops autograd
// Products of few rows: against float64 in every type, at every kernel level; and that a row's
// result, of these and of what else generation is made of, is the same bits whichever rows there
// are besides.
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
    static const DType types[][2] = {
        {FLOAT32, FLOAT32}, {BFLOAT16, FLOAT32}, {BFLOAT16, BFLOAT16},
        {FLOAT32, FLOAT8},  {BFLOAT16, FLOAT8},
    };
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (size_t t = 0; t < sizeof types / sizeof *types; t++) {
            case_begin();
            check(shapes[i], types[t][0], types[t][1]);
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
    Tensor *multiplied = weight_type == FLOAT8 ? quantize_rows(x) : x;
    Tensor *weight = case_normal(weight_type, SHAPE(s.n, s.k));
    Tensor *bias = case_normal(FLOAT32, SHAPE(s.n));
    Reference want = reference_of(s, multiplied, weight);
    reference_expect("without bias", linear_few_rows(x, weight, NULL, NULL), want, (double)s.k);
    Tensor *wide = tensor_new(x->device, FLOAT32, SHAPE(s.rows, s.n));
    kernels(x)->linear_few_rows(multiplied, weight, NULL, false, wide);
    reference_expect("into float32", wide, want, (double)s.k);
    Reference biased = reference_copy(want, s.rows * s.n);
    reference_add_rows(biased, s.rows, s.n, case_doubles(bias), 0);
    reference_expect("with bias", linear_few_rows(x, weight, bias, NULL), biased, (double)s.k);

    Tensor *sum = case_normal(type, SHAPE(s.rows, s.n));
    reference_add_rows(want, s.rows, s.n, case_doubles(sum), s.n);
    kernels(x)->linear_few_rows(multiplied, weight, NULL, true, sum);
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

/// Queries and what lies in the cache for each.
typedef struct Caches {
    Tensor *q, *k, *v;
} Caches;

enum { CACHES = 3, HEADS = 4, KEY_HEADS = 2 };
static const int32_t cached[CACHES] = {300, 41, 700};

/// The queries that `chosen` names, each against its own keys: attention, and with `rows` the
/// probabilities of the last of them.
static Tensor *attend(const Caches *caches, int dim, int window, int count, const int *chosen,
                      bool rows) {
    int32_t segments[CACHES][4], queries[CACHES];
    for (int i = 0; i < count; i++) {
        int32_t offset = 0;
        for (int c = 0; c < chosen[i]; c++) offset += cached[c];
        int32_t segment[4] = {i, 1, offset, cached[chosen[i]]};
        memcpy(segments[i], segment, sizeof segment);
        queries[i] = chosen[i];
    }
    Device *device = case_device();
    Attention shape =
        attention_in_window(attention_segments(device, count, (const int32_t(*)[4])segments, HEADS,
                                               KEY_HEADS, dim, true),
                            window);
    Tensor *q = gather_rows(caches->q, tensor_from_host(device, INT32, SHAPE(count), queries));
    if (!rows) return scaled_dot_product_attention(q, caches->k, caches->v, shape);
    return attention_rows(q, caches->k, shape,
                          tensor_from_host(device, INT32, SHAPE(1), (int32_t[]){count - 1}));
}

/// Row i of attention(), or of probabilities those of the keys that there are.
static void expect_same_row(const char *what, Tensor *alone, Tensor *among, int64_t row,
                            int64_t heads, int64_t length) {
    const double *a = case_doubles(alone), *b = case_doubles(among);
    int64_t a_length = tensor_numel(alone) / heads;
    int64_t b_length = tensor_columns(among) / (among->rank == 3 ? 1 : heads);
    for (int64_t i = 0; i < heads * length; i++)
        if (a[i / length * a_length + i % length] !=
            b[(row * heads + i / length) * b_length + i % length])
            fail_msg("%s: element %lld of a row differs", what, (long long)i);
}

/// A GPU cuts long caches into parts, which must not follow from how many rows there are.
static void a_query_against_a_cache_does_not_depend_on_the_others(void **state) {
    (void)state;
    static const int dims[] = {16, 22}, order[CACHES] = {2, 1, 0};
    for (int i = 0; i < 8; i++) {
        case_begin();
        DType type = i % 2 ? BFLOAT16 : FLOAT32;
        int dim = dims[i / 2 % 2], window = i / 4 * 30;
        int32_t keys = cached[0] + cached[1] + cached[2];
        Caches caches = {case_normal(type, SHAPE(CACHES, HEADS * dim)),
                         case_normal(type, SHAPE(keys, KEY_HEADS * dim)),
                         case_normal(type, SHAPE(keys, KEY_HEADS * dim))};
        Tensor *among = attend(&caches, dim, window, CACHES, order, false);
        Tensor *probabilities = attend(&caches, dim, window, CACHES, order, true);
        for (int row = 0; row < CACHES; row++) {
            Tensor *alone = attend(&caches, dim, window, 1, &order[row], false);
            expect_same_row("attention", alone, among, row, HEADS, dim);
        }
        Tensor *alone = attend(&caches, dim, window, 1, &order[CACHES - 1], true);
        expect_same_row("probabilities", alone, probabilities, 0, HEADS, cached[order[CACHES - 1]]);
        case_end();
    }
}

static void a_row_of_a_norm_does_not_depend_on_where_it_stands(void **state) {
    (void)state;
    static const int64_t columns[] = {1, 37, 99, 256, 1031};
    for (int i = 0; i < 10; i++) {
        case_begin();
        DType type = i % 2 ? BFLOAT16 : FLOAT32;
        Tensor *x = case_normal(type, SHAPE(7, columns[i / 2]));
        Tensor *weight = case_normal(FLOAT32, SHAPE(columns[i / 2])), *sum, *part_sum;
        Tensor *y = rms_norm(x, weight, 1e-5f), *z = add_rms_norm(x, y, weight, 1e-5f, &sum);
        for (int64_t first = 0; first < 7; first += 3) {
            Tensor *part = some_rows(x, first, 1), *part_y = rms_norm(part, weight, 1e-5f);
            case_expect_equal("norm", part_y, some_rows(y, first, 1));
            case_expect_equal("norm of a sum", add_rms_norm(part, part_y, weight, 1e-5f, &part_sum),
                              some_rows(z, first, 1));
        }
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
        cmocka_unit_test(a_query_against_a_cache_does_not_depend_on_the_others),
        cmocka_unit_test(a_row_of_a_norm_does_not_depend_on_where_it_stands),
        cmocka_unit_test(no_rows_give_no_result),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(void) { return case_run_levels(run_all); }
