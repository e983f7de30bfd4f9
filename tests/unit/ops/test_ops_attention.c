// rooms: ops autograd
// Scaled-dot-product attention against float64: packed segments, causal masks, grouped queries, odd
// head sizes.
#include "ops/ops.h"
#include "tests/unit/op_cases.h"

#include <omp.h>

typedef struct AttentionCase {
    const char *name;
    int heads, kv_heads, head_dim;
    bool causal;
    int num_segments;
    int32_t segments[5][4];
    int64_t q_rows, k_rows;
} AttentionCase;

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

static Attention describe(const AttentionCase *c) {
    return attention_segments(case_device(), c->num_segments, c->segments, c->heads, c->kv_heads,
                              c->head_dim, c->causal);
}

/// What attention should give, with the size of what rounding may change.
///
/// Scores are sums of head_dim products; an error e of a score changes its weight by the factor 1 +
/// e. So everything that is linear in the weights carries (1 + size of the scores) roundings' worth
/// of its terms.
typedef struct Reference {
    double *y, *y_size, *log_sum_exp, *log_size;
    /// of q, k, v
    double *grad[3], *grad_size[3];
    /// the sums of what is added, in absolute values
    double *y_terms, *grad_terms[3];
    /// [q_rows,heads,max_k_length]
    double *weights;
} Reference;

typedef struct Inputs {
    Tensor *q, *k, *v, *grad_y;
    const double *q_values, *k_values, *v_values, *grad_values;
    /// 0: none
    int window;
    /// relative positions on a grid, or NULL
    const double *vertical, *horizontal;
    int height, width;
} Inputs;

static Inputs inputs_new(const AttentionCase *c, DType type) {
    Inputs in = {0};
    in.q = case_normal(type, SHAPE(c->q_rows, c->heads * c->head_dim));
    in.k = case_normal(type, SHAPE(c->k_rows, c->kv_heads * c->head_dim));
    in.v = case_normal(type, SHAPE(c->k_rows, c->kv_heads * c->head_dim));
    in.grad_y = case_normal(type, SHAPE(c->q_rows, c->heads * c->head_dim));
    in.q_values = case_doubles(in.q);
    in.k_values = case_doubles(in.k);
    in.v_values = case_doubles(in.v);
    in.grad_values = case_doubles(in.grad_y);
    return in;
}

/// What relative positions add to the score of a segment's query and key.
static double position_score(const AttentionCase *c, const Inputs *in, int64_t row, int64_t head,
                             int64_t query, int64_t key) {
    int64_t h = in->height, w = in->width, at = row * c->heads + head;
    return in->vertical[at * (2 * h - 1) + key / w - query / w + h - 1] +
           in->horizontal[at * (2 * w - 1) + key % w - query % w + w - 1];
}

/// One query row of one head: weights, output and gradients.
static void reference_row(Reference *r, const AttentionCase *c, const Inputs *in, double y_unit,
                          int64_t row, int64_t head, int64_t first_key, int64_t visible,
                          int64_t max_keys) {
    int64_t hidden = in->window && visible > in->window ? visible - in->window : 0;
    int64_t dim = c->head_dim, kv_stride = c->kv_heads * dim;
    int64_t kv = head / (c->heads / c->kv_heads) * dim, at = (row * c->heads + head) * dim;
    double scale = 1 / sqrt((double)dim), maximum = -INFINITY, total = 0, size = 1;
    double *weights = r->weights + (row * c->heads + head) * max_keys;
    r->log_sum_exp[row * c->heads + head] = -INFINITY;
    if (visible <= 0) return;
    for (int64_t j = hidden; j < visible; j++) {
        const double *key = in->k_values + (first_key + j) * kv_stride + kv;
        double sum = 0, absolute = 0;
        for (int64_t d = 0; d < dim; d++) {
            sum += in->q_values[at + d] * key[d] * scale;
            absolute += fabs(in->q_values[at + d] * key[d] * scale);
        }
        if (in->vertical) { // all segments are of one grid's size, one behind the other
            double added = position_score(c, in, row, head, row - first_key, j);
            sum += added;
            absolute += fabs(added);
        }
        weights[j] = sum;
        maximum = fmax(maximum, sum);
        size = fmax(size, 1 + absolute);
    }
    for (int64_t j = hidden; j < visible; j++) total += weights[j] = exp(weights[j] - maximum);
    r->log_sum_exp[row * c->heads + head] = maximum + log(total);
    r->log_size[row * c->heads + head] = size;
    double delta = 0, delta_size = 0;
    for (int64_t j = hidden; j < visible; j++) {
        weights[j] /= total;
        const double *value = in->v_values + (first_key + j) * kv_stride + kv;
        for (int64_t d = 0; d < dim; d++) {
            r->y[at + d] += weights[j] * value[d];
            r->y_terms[at + d] += weights[j] * fabs(value[d]);
            r->y_size[at + d] += weights[j] * fabs(value[d]) * size;
        }
    }
    for (int64_t d = 0; d < dim; d++) {
        delta += r->y[at + d] * in->grad_values[at + d];
        // y is read back in its own type
        delta_size +=
            fabs(r->y[at + d] * in->grad_values[at + d]) * (1 + y_unit / case_unit(FLOAT32));
    }
    for (int64_t j = hidden; j < visible; j++) {
        int64_t key = (first_key + j) * kv_stride + kv;
        double product = 0, product_size = 0;
        for (int64_t d = 0; d < dim; d++) {
            product += in->v_values[key + d] * in->grad_values[at + d];
            product_size += fabs(in->v_values[key + d] * in->grad_values[at + d]);
        }
        double score = weights[j] * (product - delta) * scale;
        double score_size = weights[j] * (product_size * size + delta_size) * scale;
        for (int64_t d = 0; d < dim; d++) {
            r->grad[0][at + d] += score * in->k_values[key + d];
            r->grad_size[0][at + d] += score_size * fabs(in->k_values[key + d]);
            r->grad_terms[0][at + d] += fabs(score * in->k_values[key + d]);
            r->grad[1][key + d] += score * in->q_values[at + d];
            r->grad_terms[1][key + d] += fabs(score * in->q_values[at + d]);
            r->grad_size[1][key + d] += score_size * fabs(in->q_values[at + d]);
            r->grad[2][key + d] += weights[j] * in->grad_values[at + d];
            r->grad_terms[2][key + d] += weights[j] * fabs(in->grad_values[at + d]);
            r->grad_size[2][key + d] += weights[j] * size * fabs(in->grad_values[at + d]);
        }
    }
}

static Reference reference_new(const AttentionCase *c, const Inputs *in, int64_t max_keys) {
    int64_t queries = c->q_rows * c->heads, keys = c->k_rows * c->kv_heads * c->head_dim;
    Reference r = {.y = case_zeros(queries * c->head_dim),
                   .y_size = case_zeros(queries * c->head_dim),
                   .y_terms = case_zeros(queries * c->head_dim),
                   .log_sum_exp = case_zeros(queries),
                   .log_size = case_zeros(queries),
                   .weights = case_zeros(queries * max_keys)};
    for (int i = 0; i < 3; i++) {
        r.grad[i] = case_zeros(i ? keys : queries * c->head_dim);
        r.grad_size[i] = case_zeros(i ? keys : queries * c->head_dim);
        r.grad_terms[i] = case_zeros(i ? keys : queries * c->head_dim);
    }
    for (int s = 0; s < c->num_segments; s++) {
        const int32_t *segment = c->segments[s];
        for (int64_t i = 0; i < segment[1]; i++)
            for (int64_t head = 0; head < c->heads; head++) {
                int64_t visible = c->causal ? i + 1 + segment[3] - segment[1] : segment[3];
                reference_row(&r, c, in, case_unit(in->q->dtype), segment[0] + i, head, segment[2],
                              visible, max_keys);
            }
    }
    return r;
}

/// As case_expect(), where the terms of `want` may each have been rounded by `unit` before they
/// were added.
static void expect_of_rounded(const char *what, const Tensor *got, const double *want, double *size,
                              const double *terms, double unit, double count) {
    double rounding = (4 + sqrt(count)) * case_unit(FLOAT32); // what case_expect() makes of a size
    for (int64_t i = 0; i < tensor_numel(got); i++) size[i] += unit / rounding * terms[i];
    case_expect(what, got, want, size, count);
}

/// What a weight may be rounded by before it is multiplied. A GPU multiplies BFLOAT16 by two halves
/// of it: a number and the rest.
static double weight_unit(DType type) {
    double unit = case_unit(BFLOAT16);
    return type == BFLOAT16 && !case_on_cpu() ? unit * unit : 0;
}

/// The gradients of scores may be rounded to the type of what they are multiplied by.
static double score_gradient_unit(DType type) { return type == BFLOAT16 ? case_unit(type) : 0; }

static void check_case(const AttentionCase *c, DType type, int window) {
    Attention shape = attention_in_window(describe(c), window);
    Inputs in = inputs_new(c, type);
    in.window = window;
    Reference want = reference_new(c, &in, shape.max_k_length);
    double terms = c->head_dim + shape.max_k_length;
    Tensor *y = tensor_like(in.q);
    Tensor *log_sum_exp = tensor_zeros(case_device(), FLOAT32, SHAPE(c->q_rows, c->heads));
    kernels(y)->attention(in.q, in.k, in.v, &shape, y, log_sum_exp);
    expect_of_rounded(c->name, y, want.y, want.y_size, want.y_terms, weight_unit(type), terms);
    const float *sums = case_host(log_sum_exp);
    for (int s = 0; s < c->num_segments; s++)
        for (int64_t i = c->segments[s][0] * c->heads;
             i < (c->segments[s][0] + c->segments[s][1]) * c->heads; i++) {
            double got = sums[i], expected = want.log_sum_exp[i];
            assert_true(got == expected ||
                        fabs(got - expected) <= (4 + sqrt(terms)) * case_unit(FLOAT32) *
                                                    (want.log_size[i] + fabs(expected)));
        }
    Tensor *without = tensor_like(y);
    kernels(y)->attention(in.q, in.k, in.v, &shape, without, NULL);
    case_expect_equal("without the sums kept", without, y);

    Tensor *grad[] = {tensor_like(in.q), tensor_like(in.k), tensor_like(in.v)};
    kernels(y)->attention_gradient(in.q, in.k, in.v, y, log_sum_exp, in.grad_y, &shape, grad[0],
                                   grad[1], grad[2]);
    double grad_terms = terms + shape.max_q_length * c->heads / c->kv_heads;
    for (int i = 0; i < 3; i++)
        expect_of_rounded(c->name, grad[i], want.grad[i], want.grad_size[i], want.grad_terms[i],
                          i < 2 ? score_gradient_unit(type) : weight_unit(type), grad_terms);
    for (int i = 0; i < 3; i++) { // each alone
        Tensor *alone = tensor_like(grad[i]);
        kernels(y)->attention_gradient(in.q, in.k, in.v, y, log_sum_exp, in.grad_y, &shape,
                                       i == 0 ? alone : NULL, i == 1 ? alone : NULL,
                                       i == 2 ? alone : NULL);
        case_expect_equal("one gradient alone", alone, grad[i]);
    }
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

int main(void) { return case_run_levels(run); }
