// rooms: ops autograd
// Products in tiles at the edges of tiles, steps, groups, blocks and parts, against float64, with
// the stand-in for tiles and, where there are none, with the instructions as traps.
#include "ops/cpu/amx/product.h"
#include "tests/unit/amx_traps.h"
#include "tests/unit/op_cases.h"

#include <omp.h>
#include <sys/mman.h>

#ifdef __x86_64__

typedef enum Form { FORWARD, INPUT_GRADIENT, WEIGHT_GRADIENT, FORMS } Form;

static Matmul shape_of(Form form, int64_t m, int64_t n, int64_t k, DType c_type, bool accumulate) {
    return (Matmul){.m = m,
                    .n = n,
                    .k = k,
                    .type = BFLOAT16,
                    .c_type = c_type,
                    .a_transposed = form == WEIGHT_GRADIENT,
                    .b_transposed = form == FORWARD,
                    .accumulate = accumulate};
}

/// Its matrices, and what c was.
typedef struct Case {
    Matmul shape;
    Tensor *a, *b, *bias, *c;
} Case;

static Case case_of(Matmul shape, bool biased) {
    return (Case){shape, case_normal(BFLOAT16, SHAPE(shape.m * shape.k)),
                  case_normal(BFLOAT16, SHAPE(shape.n * shape.k)),
                  biased ? case_normal(FLOAT32, SHAPE(shape.n)) : NULL,
                  case_normal(shape.c_type, SHAPE(shape.m, shape.n))};
}

/// A c of its own.
static Tensor *multiplied(const Case *c, const OwnProduct *product) {
    Tensor *to = case_convert(c->c, c->shape.c_type);
    if (!product->multiply(&c->shape, c->a->data, c->b->data, c->bias ? c->bias->data : NULL,
                           to->data, case_device()))
        fail_msg("%lld x %lld x %lld is not taken", (long long)c->shape.m, (long long)c->shape.n,
                 (long long)c->shape.k);
    return to;
}

static void expect_product(const Case *test) {
    const Matmul *s = &test->shape;
    const double *a = case_doubles(test->a), *b = case_doubles(test->b);
    const double *bias = test->bias ? case_doubles(test->bias) : NULL, *c = case_doubles(test->c);
    int64_t a_row = s->a_transposed ? 1 : s->k, a_step = s->a_transposed ? s->m : 1;
    int64_t b_column = s->b_transposed ? s->k : 1, b_step = s->b_transposed ? 1 : s->n;
    double *want = case_zeros(s->m * s->n), *size = case_zeros(s->m * s->n);
    for (int64_t i = 0; i < s->m; i++)
        for (int64_t j = 0; j < s->n; j++) {
            int64_t at = i * s->n + j;
            if (bias) want[at] = bias[j];
            if (s->accumulate) want[at] = c[at];
            size[at] = fabs(want[at]);
            for (int64_t l = 0; l < s->k; l++) {
                double term = a[i * a_row + l * a_step] * b[j * b_column + l * b_step];
                want[at] += term;
                size[at] += fabs(term);
            }
        }
    char name[96];
    snprintf(name, sizeof name, "%lld x %lld of %lld, a %d b %d c %d", (long long)s->m,
             (long long)s->n, (long long)s->k, s->a_transposed, s->b_transposed, s->accumulate);
    case_expect(name, multiplied(test, own_product()), want, size, (double)s->k);
}

static void check_product(Form form, int64_t m, int64_t n, int64_t k, int variant) {
    case_begin();
    bool accumulate = variant & 1, biased = form == FORWARD && !accumulate;
    Case c = case_of(shape_of(form, m, n, k, variant & 2 ? FLOAT32 : BFLOAT16, accumulate), biased);
    expect_product(&c);
    case_end();
}

static const int64_t edges[] = {8, 15, 16, 17, 31, 32, 33, 63, 65};
enum { EDGES = sizeof edges / sizeof *edges };

/// A k for which m x n is worth its while.
static int64_t depth_for(int64_t m, int64_t n, int64_t more) { return (1 << 18) / (m * n) + more; }

static void edges_of_rows_and_columns(void **state) {
    (void)state;
    int variant = 0;
    for (int i = 0; i < EDGES; i++)
        for (int j = 0; j < EDGES; j++)
            for (Form form = FORWARD; form < FORMS; form++, variant++)
                check_product(form, edges[i], edges[j], depth_for(edges[i], edges[j], 1 + j),
                              variant);
}

static void edges_of_k(void **state) {
    (void)state;
    static const int64_t depths[] = {16, 17, 31, 32, 33, 47, 48, 49, 63, 65, 255, 256, 257, 289};
    int variant = 0;
    for (size_t i = 0; i < sizeof depths / sizeof *depths; i++)
        for (Form form = FORWARD; form < FORMS; form++, variant++) {
            check_product(form, 70, (1 << 18) / 70 / depths[i] + 5, depths[i], variant);
            check_product(form, (1 << 18) / 49 / depths[i] + 3, 49, depths[i], variant + 1);
        }
}

/// More groups than a thread keeps sums of, and operands that are packed in two parts.
static void blocks_of_panels_and_parts_of_rows(void **state) {
    (void)state;
    for (Form form = FORWARD; form < FORMS; form++) {
        check_product(form, 530, 420, 295, (int)form);
        check_product(form, 1060, 1090, 24, (int)form + 1);
    }
}

static void sums_do_not_depend_on_the_number_of_threads(void **state) {
    (void)state;
    static const int64_t shapes[][3] = {
        {65, 300, 530}, {300, 33, 270}, {20, 18, 900}, {1060, 1100, 20}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (Form form = FORWARD; form < FORMS; form++) {
            case_begin();
            Case c = case_of(
                shape_of(form, shapes[i][0], shapes[i][1], shapes[i][2], FLOAT32, false), false);
            Tensor *of_one = NULL;
            for (int threads = 1; threads <= 4; threads++) {
                omp_set_num_threads(threads);
                Tensor *got = multiplied(&c, own_product());
                if (!of_one) of_one = got;
                case_expect_equal("of several threads", got, of_one);
            }
            omp_set_num_threads(omp_get_num_procs());
            case_end();
        }
}

/// Rows are a panel's when there are many of them, otherwise packed as a whole.
static void sums_do_not_depend_on_how_many_rows_there_are(void **state) {
    (void)state;
    enum { MANY = 90, FEW = 19, N = 50, K = 601 };
    for (Form form = FORWARD; form <= INPUT_GRADIENT; form++) {
        case_begin();
        Case many = case_of(shape_of(form, MANY, N, K, FLOAT32, false), false), few = many;
        few.shape.m = FEW;
        few.c = case_normal(FLOAT32, SHAPE(FEW, N));
        const float *all = case_host(multiplied(&many, own_product()));
        const float *some = case_host(multiplied(&few, own_product()));
        assert_memory_equal(all, some, FEW * N * sizeof *all);
        case_end();
    }
}

enum { PAGE = 4096 };

/// Memory that ends (or begins) where the next page is not to be touched.
static void *fenced_memory(size_t bytes, bool at_end) {
    size_t room = (bytes + PAGE - 1) / PAGE * PAGE;
    char *memory = mmap(NULL, room + 2 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(memory != MAP_FAILED);
    assert_int_equal(mprotect(memory + PAGE, room, PROT_READ | PROT_WRITE), 0);
    return memory + PAGE + (at_end ? room - bytes : 0);
}

static void unfence(void *at, size_t bytes) {
    char *begin = (char *)at - (uintptr_t)at % PAGE;
    assert_int_equal(munmap(begin - PAGE, (bytes + PAGE - 1) / PAGE * PAGE + 2 * PAGE), 0);
}

static size_t bytes_of(const Tensor *x) { return (size_t)tensor_numel(x) * dtype_size(x->dtype); }

static uint16_t *fenced(const Tensor *x, bool at_end) {
    void *at = fenced_memory(bytes_of(x), at_end);
    return memcpy(at, case_host(x), bytes_of(x));
}

/// Also what begins and ends anywhere, as a file's matrices do.
static void nothing_outside_of_the_matrices_is_read(void **state) {
    (void)state;
    for (Form form = FORWARD; form < FORMS; form++)
        for (int at_end = 0; at_end < 2; at_end++) {
            case_begin();
            Case c = case_of(shape_of(form, 81, 37, 303, BFLOAT16, false), false);
            Tensor *inside = multiplied(&c, own_product()), *got = tensor_like(inside);
            uint16_t *a = fenced(c.a, at_end), *b = fenced(c.b, at_end);
            assert_true(own_product()->multiply(&c.shape, a, b, NULL, got->data, case_device()));
            case_expect_equal("between fences", got, inside);
            unfence(a, bytes_of(c.a));
            unfence(b, bytes_of(c.b));
            case_end();
        }
}

static void nothing_outside_of_c_is_written(void **state) {
    (void)state;
    enum { M = 45, N = 51, K = 301, MORE = 64 };
    for (DType type = FLOAT32; type <= BFLOAT16; type++) {
        case_begin();
        Case c = case_of(shape_of(FORWARD, M, N, K, type, false), false);
        Tensor *around = case_normal(type, SHAPE(M * N + 2 * MORE));
        const char *before = case_host(around);
        size_t size = dtype_size(type);
        assert_true(own_product()->multiply(&c.shape, c.a->data, c.b->data, NULL,
                                            (char *)around->data + MORE * size, case_device()));
        const char *after = case_host(around);
        assert_memory_equal(before, after, MORE * size);
        assert_memory_equal(before + (M * N + MORE) * size, after + (M * N + MORE) * size,
                            MORE * size);
        assert_memory_equal(after + MORE * size, case_host(multiplied(&c, own_product())),
                            M * N * size);
        case_end();
    }
}

static size_t asked_for;

static void *allocate_fenced(Device *device, size_t bytes) {
    (void)device;
    asked_for += bytes;
    return fenced_memory(bytes, true);
}

static void release_fenced(Device *device, void *pointer, size_t bytes) {
    (void)device;
    unfence(pointer, bytes);
}

static void it_works_in_the_memory_that_it_says(void **state) {
    (void)state;
    static const int64_t shapes[][3] = {{90, 330, 520}, {530, 420, 295}, {1060, 1090, 24}};
    Device counting = {.allocate = allocate_fenced, .release = release_fenced};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int threads = 1; threads <= 4; threads++) {
            case_begin();
            Form form = (Form)((int)i + threads) % FORMS;
            Case c = case_of(
                shape_of(form, shapes[i][0], shapes[i][1], shapes[i][2], FLOAT32, false), false);
            asked_for = 0;
            omp_set_num_threads(threads);
            assert_true(own_product()->multiply(&c.shape, c.a->data, c.b->data, NULL, c.c->data,
                                                &counting));
            assert_int_equal(asked_for, own_product()->bytes(&c.shape, threads));
            omp_set_num_threads(omp_get_num_procs());
            case_end();
        }
}

static void what_it_does_not_take_it_leaves_alone(void **state) {
    (void)state;
    Matmul shapes[] = {shape_of(FORWARD, 7, 700, 700, FLOAT32, false),
                       shape_of(FORWARD, 700, 7, 700, FLOAT32, false),
                       shape_of(FORWARD, 700, 700, 15, FLOAT32, false),
                       shape_of(FORWARD, 32, 32, 32, FLOAT32, false),
                       shape_of(FORWARD, 90, 90, 90, FLOAT32, false)};
    shapes[4].type = FLOAT32;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        assert_false(own_product()->multiply(&shapes[i], NULL, NULL, NULL, NULL, case_device()));
        assert_int_equal(own_product()->bytes(&shapes[i], 2), 0);
    }
}

static void the_instructions_give_the_bits_of_the_stand_in(void **state) {
    (void)state;
    static const int64_t shapes[][3] = {{33, 17, 520}, {17, 65, 260}, {8, 40, 1000}, {100, 81, 40}};
    amx_traps_set();
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (Form form = FORWARD; form < FORMS; form++) {
            case_begin();
            Case c = case_of(shape_of(form, shapes[i][0], shapes[i][1], shapes[i][2],
                                      i % 2 ? FLOAT32 : BFLOAT16, false),
                             false);
            case_expect_equal("tiles", multiplied(&c, &own_product_amx),
                              multiplied(&c, &own_product_amx_plain));
            case_end();
        }
    if (!amx_is_available()) assert_true(trapped_count > 0);
}

static int run(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(edges_of_rows_and_columns),
        cmocka_unit_test(edges_of_k),
        cmocka_unit_test(blocks_of_panels_and_parts_of_rows),
        cmocka_unit_test(sums_do_not_depend_on_the_number_of_threads),
        cmocka_unit_test(sums_do_not_depend_on_how_many_rows_there_are),
        cmocka_unit_test(nothing_outside_of_the_matrices_is_read),
        cmocka_unit_test(nothing_outside_of_c_is_written),
        cmocka_unit_test(it_works_in_the_memory_that_it_says),
        cmocka_unit_test(what_it_does_not_take_it_leaves_alone),
        cmocka_unit_test(the_instructions_give_the_bits_of_the_stand_in),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(void) {
    return case_run_in_child(run, case_open_cpu, "cpu", "amx_plain") |
           case_run_in_child(run, case_open_cpu, "cpu", "amx");
}
#else
int main(void) { return 0; }
#endif
