// rooms: ops autograd
// Scaled-dot-product attention against float64: packed segments, causal masks, grouped queries, odd
// head sizes.
#include "tests/unit/attention_reference.h"

#include <omp.h>

static const AttentionCase cases[] = {
    {"one query, one key", 1, 1, 1, false, 1, {{0, 1, 0, 1}}, 1, 1},
    {"odd sizes", 3, 3, 5, false, 1, {{0, 7, 0, 11}}, 7, 11},
    {"several blocks", 2, 2, 40, false, 1, {{0, 101, 0, 259}}, 101, 259},
    {"causal", 2, 2, 20, true, 1, {{0, 150, 0, 150}}, 150, 150},
    {"unequal segments, one empty",
     4,
     4,
     8,
     true,
     5,
     {{0, 1, 0, 1}, {1, 17, 1, 17}, {18, 0, 18, 0}, {18, 50, 18, 50}, {68, 129, 68, 129}},
     197,
     197},
    {"causal, more keys than queries",
     2,
     2,
     16,
     true,
     2,
     {{0, 3, 0, 10}, {3, 60, 10, 190}},
     63,
     200},
    {"one query against a cache", 4, 2, 20, true, 1, {{0, 1, 0, 200}}, 1, 200},
    {"causal, more queries than keys", 1, 1, 7, true, 1, {{0, 60, 0, 13}}, 60, 13},
    {"grouped queries", 6, 2, 33, true, 2, {{0, 70, 0, 70}, {70, 30, 70, 30}}, 100, 100},
    {"large heads", 2, 1, 256, false, 1, {{0, 50, 0, 140}}, 50, 140},
    {"one head of 512, as a VAE has", 1, 1, 512, false, 1, {{0, 52, 0, 131}}, 52, 131},
    {"large heads, causal, more queries than keys", 1, 1, 200, true, 1, {{0, 90, 0, 70}}, 90, 70},
    {"a head of 600", 1, 1, 600, false, 1, {{0, 20, 0, 37}}, 20, 37},
    {"heads of 64, as CLIP has", 2, 1, 64, true, 1, {{0, 70, 0, 90}}, 70, 90},
    {"heads of 128", 1, 1, 128, true, 1, {{0, 96, 0, 256}}, 96, 256},
    {"no keys", 2, 2, 4, false, 2, {{0, 5, 0, 0}, {5, 4, 0, 6}}, 9, 6},
    {"rows in no segment", 2, 2, 12, false, 2, {{2, 5, 1, 6}, {9, 3, 9, 4}}, 14, 15},
    {"a few queries against long caches",
     4,
     2,
     24,
     true,
     3,
     {{0, 3, 0, 700}, {3, 1, 700, 257}, {4, 2, 957, 1}},
     6,
     958},
    {"heads of 80, as a U-Net has", 2, 2, 80, false, 1, {{0, 66, 0, 77}}, 66, 77},
    {"wide grouped heads", 4, 2, 160, true, 2, {{0, 20, 0, 33}, {20, 70, 33, 70}}, 90, 103},
};
enum { CASES = sizeof cases / sizeof *cases };

/// Of these cases, by name, with windows shorter than their segments.
static const struct WindowCase {
    const char *name;
    int window;
} windows[] = {{"causal", 1},
               {"causal", 47},
               {"causal", 149},
               {"causal, more keys than queries", 7},
               {"causal, more queries than keys", 5},
               {"one query against a cache", 33},
               {"grouped queries", 20},
               {"unequal segments, one empty", 40},
               {"a few queries against long caches", 300},
               {"heads of 128", 64},
               {"wide grouped heads", 17}};

static const AttentionCase *case_named(const char *name) {
    for (int i = 0; i < CASES; i++)
        if (!strcmp(cases[i].name, name)) return &cases[i];
    fail_msg("there is no case '%s'", name);
    return NULL;
}

static void attention_and_its_gradients_match_their_definition(void **state) {
    (void)state;
    for (int i = 0; i < CASES; i++)
        for (int t = 0; t < 2; t++) {
            case_begin();
            check_case(&cases[i], t ? BFLOAT16 : FLOAT32, 0);
            case_end();
        }
}

/// Grids of one place, of fewer places than a block of keys, and of more, with rows that divide
/// blocks and rows that do not.
static const struct GridCase {
    int height, width, heads, kv_heads, head_dim, segments;
} grids[] = {{1, 1, 1, 1, 3, 2},   {2, 2, 2, 2, 8, 3},    {3, 1, 2, 1, 20, 1},
             {5, 7, 3, 3, 5, 2},   {14, 14, 2, 2, 64, 2}, {9, 16, 2, 2, 80, 1},
             {4, 5, 1, 1, 128, 1}, {5, 4, 2, 1, 160, 1},  {11, 13, 2, 1, 200, 1}};

static void relative_positions_on_a_grid_are_added_to_the_scores(void **state) {
    (void)state;
    for (size_t i = 0; i < 2 * sizeof grids / sizeof *grids; i++) {
        const struct GridCase *g = &grids[i / 2];
        int places = g->height * g->width, rows = places * g->segments;
        case_begin();
        AttentionCase c = {.name = "grid",
                           .heads = g->heads,
                           .kv_heads = g->kv_heads,
                           .head_dim = g->head_dim,
                           .num_segments = g->segments,
                           .q_rows = rows,
                           .k_rows = rows};
        for (int s = 0; s < g->segments; s++) {
            int32_t segment[] = {s * places, places, s * places, places};
            memcpy(c.segments[s], segment, sizeof segment);
        }
        Inputs in = inputs_new(&c, i % 2 ? BFLOAT16 : FLOAT32);
        Tensor *vertical = case_normal(FLOAT32, SHAPE(rows, g->heads, 2 * g->height - 1));
        Tensor *horizontal = case_normal(FLOAT32, SHAPE(rows * g->heads, 2 * g->width - 1));
        in.vertical = case_doubles(vertical);
        in.horizontal = case_doubles(horizontal);
        in.height = g->height;
        in.width = g->width;
        Reference want = reference_new(&c, &in, places);
        Tensor *y = scaled_dot_product_attention(
            in.q, in.k, in.v,
            attention_on_grid(describe(&c), g->height, g->width, vertical, horizontal));
        expect_of_rounded(c.name, y, want.y, want.y_size, want.y_terms, weight_unit(y->dtype),
                          c.head_dim + places);
        case_end();
    }
}

static void a_window_hides_the_keys_before_it(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof windows / sizeof *windows; i++)
        for (int t = 0; t < 2; t++) {
            case_begin();
            check_case(case_named(windows[i].name), t ? BFLOAT16 : FLOAT32, windows[i].window);
            case_end();
        }
}

static void a_window_longer_than_the_segments_is_none(void **state) {
    (void)state;
    case_begin();
    assert_int_equal(attention_in_window(describe(case_named("causal")), 150).window, 0);
    assert_int_equal(attention_in_window(describe(case_named("causal")), 149).window, 149);
    case_end();
}

static void chosen_rows_give_the_probabilities(void **state) {
    (void)state;
    enum { WINDOWS = sizeof windows / sizeof *windows };
    for (int i = 0; i < CASES + WINDOWS; i++)
        for (int t = 0; t < 2; t++) {
            case_begin();
            int window = i < CASES ? 0 : windows[i - CASES].window;
            const AttentionCase *c = i < CASES ? &cases[i] : case_named(windows[i - CASES].name);
            Attention shape = attention_in_window(describe(c), window);
            Inputs in = inputs_new(c, t ? BFLOAT16 : FLOAT32);
            in.window = window;
            Reference want = reference_new(c, &in, shape.max_k_length);
            const int32_t *segment = c->segments[c->num_segments - 1];
            int32_t chosen[] = {segment[0] + segment[1] - 1, segment[0],
                                segment[0] + segment[1] / 2};
            Tensor *rows = tensor_from_host(case_device(), INT32, SHAPE(3), chosen);
            Tensor *got = attention_rows(in.q, in.k, shape, rows);
            int64_t n = (int64_t)c->heads * shape.max_k_length;
            double *expected = case_zeros(3 * n), *size = case_zeros(3 * n);
            for (int64_t j = 0; j < 3 * n; j++) {
                expected[j] = want.weights[chosen[j / n] * n + j % n];
                size[j] = expected[j] *
                          want.log_size[chosen[j / n] * c->heads + j % n / shape.max_k_length];
            }
            case_expect(c->name, got, expected, size, c->head_dim + shape.max_k_length);
            case_end();
        }
}

static Tensor *attention_op(const void *context, DType dtype, Tensor *const *inputs) {
    return scaled_dot_product_attention(convert(inputs[0], dtype), convert(inputs[1], dtype),
                                        convert(inputs[2], dtype),
                                        describe((const AttentionCase *)context));
}

static void attention_passes_gradients_to_queries_keys_and_values(void **state) {
    (void)state;
    const int chosen[] = {1, 5, 8, 13};
    for (size_t i = 0; i < sizeof chosen / sizeof *chosen; i++) {
        case_begin();
        const AttentionCase *c = &cases[chosen[i]];
        Inputs in = inputs_new(c, FLOAT32);
        Tensor *inputs[] = {in.q, in.k, in.v};
        for (int j = 0; j < 3; j++) require_grad(inputs[j]);
        case_check_gradient(c->name, attention_op, c, 3, inputs);
        // y, the gradients, and y again inside of delta, which is no smaller than what it is taken
        // from
        case_check_bfloat16(c->name, attention_op, c, 3, inputs, 6);
        case_end();
    }
}

static void check_threads(DType type) {
    case_begin();
    int threads = omp_get_max_threads();
    Tensor *results[2][4];
    Attention shape = attention_packed(case_device(), 3, (int[]){200, 31, 150}, 6, 3, 20, true);
    Tensor *q = case_normal(type, SHAPE(381, 120)), *k = case_normal(type, SHAPE(381, 60));
    Tensor *v = case_normal(type, SHAPE(381, 60)), *grad_y = case_normal(type, SHAPE(381, 120));
    for (int run = 0; run < 2; run++) {
        omp_set_num_threads(run ? 3 : 1);
        Tensor **r = results[run];
        Tensor *log_sum_exp = tensor_new(case_device(), FLOAT32, SHAPE(381, 6));
        r[0] = tensor_like(q);
        for (int i = 1; i < 4; i++) r[i] = tensor_like(i == 1 ? q : k);
        kernels(q)->attention(q, k, v, &shape, r[0], log_sum_exp);
        kernels(q)->attention_gradient(q, k, v, r[0], log_sum_exp, grad_y, &shape, r[1], r[2],
                                       r[3]);
    }
    omp_set_num_threads(threads);
    for (int i = 0; i < 4; i++) case_expect_equal("1 and 3 threads", results[0][i], results[1][i]);
    case_end();
}

static void results_are_the_same_bits_again_and_with_any_number_of_threads(void **state) {
    (void)state;
    check_threads(FLOAT32);
    check_threads(BFLOAT16);
}

static void large_scores_do_not_overflow(void **state) {
    (void)state;
    case_begin();
    Tensor *q = case_normal_times(64, FLOAT32, SHAPE(20, 16)),
           *k = case_normal_times(64, FLOAT32, SHAPE(20, 16));
    Tensor *v = case_normal(FLOAT32, SHAPE(20, 16));
    Attention shape = attention_uniform(case_device(), 1, 20, 20, 1, 1, 16, true);
    Tensor *y = scaled_dot_product_attention(q, k, v, shape);
    double largest = 0;
    const double *values = case_doubles(v), *result = case_doubles(y);
    for (int64_t i = 0; i < 320; i++) largest = fmax(largest, fabs(values[i]));
    for (int64_t i = 0; i < 320; i++) assert_true(fabs(result[i]) <= largest * (1 + 1e-5));
    for (int64_t i = 0; i < 16; i++)
        assert_true(result[i] == values[i]); // the first sees itself alone
    case_end();
}

static void descriptions_hold_what_the_segments_say(void **state) {
    (void)state;
    case_begin();
    Attention packed = attention_packed(case_device(), 3, (int[]){4, 0, 9}, 8, 2, 16, true);
    assert_memory_equal(case_host(packed.segments),
                        ((const int32_t[]){0, 4, 0, 4, 4, 0, 4, 0, 4, 9, 4, 9}),
                        12 * sizeof(int32_t));
    assert_int_equal(packed.max_q_length, 9);
    assert_true(packed.scale == 0.25f);
    Attention uniform = attention_uniform(case_device(), 2, 3, 5, 1, 1, 4, false);
    assert_memory_equal(case_host(uniform.segments), ((const int32_t[]){0, 3, 0, 5, 3, 3, 5, 5}),
                        8 * sizeof(int32_t));
    assert_int_equal(uniform.max_k_length, 5);
    case_end();
}

static int run(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(attention_and_its_gradients_match_their_definition),
        cmocka_unit_test(relative_positions_on_a_grid_are_added_to_the_scores),
        cmocka_unit_test(a_window_hides_the_keys_before_it),
        cmocka_unit_test(a_window_longer_than_the_segments_is_none),
        cmocka_unit_test(chosen_rows_give_the_probabilities),
        cmocka_unit_test(attention_passes_gradients_to_queries_keys_and_values),
        cmocka_unit_test(results_are_the_same_bits_again_and_with_any_number_of_threads),
        cmocka_unit_test(large_scores_do_not_overflow),
        cmocka_unit_test(descriptions_hold_what_the_segments_say),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(void) { return case_run_levels_and_hopper(run); }
