/// Attention and its gradients by their definition, in float64, with the errors that rounding may
/// leave, and the comparison of the kernels with that. A test that includes this includes
/// op_cases.h by it.
#pragma once
#include "ops/ops.h"
#include "tests/unit/op_cases.h"

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"

typedef struct AttentionCase {
    const char *name;
    int heads, kv_heads, head_dim;
    bool causal;
    int num_segments;
    int32_t segments[5][4];
    int64_t q_rows, k_rows;
} AttentionCase;

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

#pragma GCC diagnostic pop
