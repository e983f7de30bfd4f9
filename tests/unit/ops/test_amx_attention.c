// rooms: ops autograd
// Attention in tiles where tiles end: sizes around 16 and 32, what lies beside a head and a
// segment, threads, and the instructions as traps. test_ops_attention has the ordinary cases.
#include "ops/cpu/amx/attention_memory.h"
#include "ops/cpu/cpu.h"
#include "tests/unit/amx_traps.h"
#include "tests/unit/attention_reference.h"

#include <omp.h>

#ifdef __x86_64__
DECLARE_FAMILY(attention, amx)
DECLARE_FAMILY(attention_gradient, amx)

static const int edges[] = {1, 2, 15, 16, 17, 31, 32, 33, 63, 65, 127, 129};
enum { EDGES = sizeof edges / sizeof *edges };

static AttentionCase one_segment(int queries, int keys, int head_dim, bool causal) {
    return (AttentionCase){.name = "one segment",
                           .heads = 2,
                           .kv_heads = 1,
                           .head_dim = head_dim,
                           .causal = causal,
                           .num_segments = 1,
                           .segments = {{0, queries, 0, keys}},
                           .q_rows = queries,
                           .k_rows = keys};
}

static void check_edges(int queries, int keys, int head_dim) {
    for (int causal = 0; causal < 2; causal++) {
        case_begin();
        AttentionCase c = one_segment(queries, keys, head_dim, causal);
        check_case(&c, BFLOAT16, causal && keys > 40 ? 33 : 0);
        case_end();
    }
}

static void sizes_around_those_of_tiles_match_the_definition(void **state) {
    (void)state;
    for (int i = 0; i < EDGES; i++) {
        check_edges(edges[i], 40, 6);
        check_edges(35, edges[i], 6);
        check_edges(20, 21, edges[i]);
        check_edges(edges[i], edges[i], 33);
    }
}

/// What one run of both kernels gives.
typedef struct Results {
    Tensor *y, *log_sum_exp, *grad[3];
} Results;

static Results results_of(const Kernels *kernel, const Inputs *in, const Attention *shape) {
    Results r = {.y = tensor_like(in->q),
                 .log_sum_exp =
                     tensor_zeros(case_device(), FLOAT32, SHAPE(tensor_rows(in->q), shape->heads)),
                 .grad = {tensor_like(in->q), tensor_like(in->k), tensor_like(in->v)}};
    kernel->attention(in->q, in->k, in->v, shape, r.y, r.log_sum_exp);
    kernel->attention_gradient(in->q, in->k, in->v, r.y, r.log_sum_exp, in->grad_y, shape,
                               r.grad[0], r.grad[1], r.grad[2]);
    return r;
}

static void expect_same(const char *what, const Results *a, const Results *b) {
    case_expect_equal(what, a->y, b->y);
    case_expect_equal(what, a->log_sum_exp, b->log_sum_exp);
    for (int i = 0; i < 3; i++) case_expect_equal(what, a->grad[i], b->grad[i]);
}

static void one_to_four_threads_give_the_same_bits(void **state) {
    (void)state;
    AttentionCase c = {.name = "threads",
                       .heads = 4,
                       .kv_heads = 2,
                       .head_dim = 40,
                       .causal = true,
                       .num_segments = 3,
                       .segments = {{0, 70, 0, 70}, {70, 33, 70, 33}, {103, 50, 103, 140}},
                       .q_rows = 153,
                       .k_rows = 243};
    case_begin();
    int threads = omp_get_max_threads();
    Attention shape = describe(&c);
    Inputs in = inputs_new(&c, BFLOAT16);
    omp_set_num_threads(1);
    Results one = results_of(kernels(in.q), &in, &shape);
    for (int i = 2; i <= 4; i++) {
        omp_set_num_threads(i);
        Results more = results_of(kernels(in.q), &in, &shape);
        expect_same("1 and more threads", &one, &more);
    }
    omp_set_num_threads(threads);
    case_end();
}

/// Sets to no number what is in no segment, and every head but the first.
static void spoil(Tensor *x, const AttentionCase *c, int offset, int heads) {
    uint16_t *values = case_host(x);
    int64_t columns = (int64_t)heads * c->head_dim;
    for (int64_t i = 0; i < tensor_numel(x); i++) {
        bool inside = false;
        for (int s = 0; s < c->num_segments; s++) {
            int64_t row = i / columns - c->segments[s][offset];
            inside |= row >= 0 && row < c->segments[s][offset + 1];
        }
        if (!inside || i % columns >= c->head_dim) values[i] = 0x7fc0;
    }
    case_write(x, values);
}

/// Fills what the device gives next with no numbers.
static void spoil_memory(size_t bytes) {
    Device *device = case_device();
    void *memory = device->allocate(device, bytes);
    memset(memory, 0xff, bytes);
    device->release(device, memory, bytes);
}

static void expect_first_head_equal(const Tensor *a, const Tensor *b, int64_t heads) {
    int64_t columns = tensor_columns(a), dim = columns / heads;
    const uint16_t *x = case_host(a), *y = case_host(b);
    for (int64_t row = 0; row < tensor_rows(a); row++)
        assert_memory_equal(x + row * columns, y + row * columns, (size_t)dim * sizeof *x);
}

static void what_lies_beside_a_head_a_segment_and_in_old_memory_does_not_matter(void **state) {
    (void)state;
    static const int dims[] = {5, 8, 20, 40, 80, 129};
    for (size_t i = 0; i < sizeof dims / sizeof *dims; i++) {
        AttentionCase c = {.name = "spoiled",
                           .heads = 3,
                           .kv_heads = 3,
                           .head_dim = dims[i],
                           .causal = i % 2,
                           .num_segments = 2,
                           .segments = {{2, 37, 3, 45}, {40, 19, 50, 133}},
                           .q_rows = 60,
                           .k_rows = 190};
        case_begin();
        Attention shape = describe(&c);
        Inputs in = inputs_new(&c, BFLOAT16);
        Results clean = results_of(kernels(in.q), &in, &shape);
        spoil(in.q, &c, 0, c.heads);
        spoil(in.grad_y, &c, 0, c.heads);
        spoil(in.k, &c, 2, c.heads);
        spoil(in.v, &c, 2, c.heads);
        int64_t threads = omp_get_max_threads();
        for (int gradient = 0; gradient < 2; gradient++)
            spoil_memory((size_t)(attention_tile_floats(&shape, gradient) * threads) *
                         sizeof(float));
        Results spoiled = results_of(kernels(in.q), &in, &shape);
        expect_first_head_equal(clean.y, spoiled.y, c.heads);
        for (int j = 0; j < 3; j++)
            expect_first_head_equal(clean.grad[j], spoiled.grad[j], c.heads);
        case_end();
    }
}

static void no_number_in_a_value_becomes_none_in_the_result(void **state) {
    (void)state;
    AttentionCase c = one_segment(20, 20, 8, false);
    case_begin();
    Attention shape = describe(&c);
    Inputs in = inputs_new(&c, BFLOAT16);
    uint16_t *queries = case_host(in.q);
    queries[3 * 16] = 0x7fc0; // row 3 of the first head
    case_write(in.q, queries);
    Results r = results_of(kernels(in.q), &in, &shape);
    const double *y = case_doubles(r.y), *grad = case_doubles(r.grad[0]);
    for (int64_t row = 0; row < 20; row++)
        for (int64_t d = 0; d < 8; d++) {
            assert_true(isnan(y[row * 16 + d]) == (row == 3));
            assert_true(isnan(grad[row * 16 + d]) == (row == 3));
        }
    case_end();
}

static void the_instructions_give_the_bits_of_the_stand_in(void **state) {
    (void)state;
    static const int sizes[][3] = {{33, 40, 20}, {17, 133, 33}, {50, 16, 64}};
    amx_traps_set();
    Kernels amx = {0};
    fill_attention_amx(&amx);
    fill_attention_gradient_amx(&amx);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        case_begin();
        AttentionCase c = one_segment(sizes[i][0], sizes[i][1], sizes[i][2], i % 2);
        Attention shape = describe(&c);
        Inputs in = inputs_new(&c, BFLOAT16);
        Results plain = results_of(kernels(in.q), &in, &shape);
        Results trapped_or_real = results_of(&amx, &in, &shape);
        expect_same("amx_plain and amx", &plain, &trapped_or_real);
        case_end();
    }
    if (!amx_is_available()) assert_true(trapped_count > 0);
}

static int run(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_around_those_of_tiles_match_the_definition),
        cmocka_unit_test(one_to_four_threads_give_the_same_bits),
        cmocka_unit_test(what_lies_beside_a_head_a_segment_and_in_old_memory_does_not_matter),
        cmocka_unit_test(no_number_in_a_value_becomes_none_in_the_result),
        cmocka_unit_test(the_instructions_give_the_bits_of_the_stand_in),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(void) {
    setenv("DIFFLMM_TEST_DEVICE", "cpu", 1); // no GPU has these
    return case_run(run, (const char *const[]){"amx_plain"}, 1);
}
#else
int main(void) { return 0; }
#endif
