// Scaled-dot-product attention. Backward keeps q, k, v, the output and one number per row and head
// (the log of the softmax's denominator), and computes the weights again: the matrix of scores is
// never kept. Formulas: Dao et al. 2022 (arXiv 2205.14135), 3.1.
#include "ops/kernels.h"
#include "ops/ops.h"

#include <math.h>
#include <stdlib.h>

// ---- descriptions

/// How many keys the queries of a segment see, together.
static int64_t pairs_of(int64_t q_length, int64_t k_length, bool causal) {
    if (!causal) return q_length * k_length;
    int64_t more = k_length - q_length; // query i sees i + more + 1 keys, none if that is negative
    return more >= 0 ? q_length * (more + 1) + q_length * (q_length - 1) / 2
                     : k_length * (k_length + 1) / 2;
}

Attention attention_segments(Device *device, int num_segments, const int32_t (*segments)[4],
                             int heads, int kv_heads, int head_dim, bool causal) {
    CHECK(heads > 0 && kv_heads > 0 && heads % kv_heads == 0 && head_dim > 0 &&
              head_dim <= ATTENTION_MAX_HEAD_DIM,
          "attention: %d heads, %d key heads, head_dim %d", heads, kv_heads, head_dim);
    Attention shape = {.heads = heads,
                       .kv_heads = kv_heads,
                       .head_dim = head_dim,
                       .scale = 1.0f / sqrtf((float)head_dim),
                       .causal = causal,
                       .num_segments = num_segments};
    for (int i = 0; i < num_segments; i++) {
        const int32_t *s = segments[i];
        CHECK(s[0] >= 0 && s[1] >= 0 && s[2] >= 0 && s[3] >= 0,
              "attention: segment %d is (%d, %d, %d, %d)", i, s[0], s[1], s[2], s[3]);
        if (s[1] > shape.max_q_length) shape.max_q_length = s[1];
        if (s[3] > shape.max_k_length) shape.max_k_length = s[3];
        shape.pairs += pairs_of(s[1], s[3], causal);
        shape.q_rows += s[1];
        shape.k_rows += s[3];
    }
    shape.segments = tensor_from_host(device, INT32, SHAPE(num_segments, 4), segments);
    return shape;
}

Attention attention_uniform(Device *device, int batch, int q_length, int k_length, int heads,
                            int kv_heads, int head_dim, bool causal) {
    int32_t(*segments)[4] = checked_malloc((size_t)(batch + 1) * sizeof *segments);
    for (int i = 0; i < batch; i++) {
        segments[i][0] = i * q_length;
        segments[i][1] = q_length;
        segments[i][2] = i * k_length;
        segments[i][3] = k_length;
    }
    Attention shape = attention_segments(device, batch, (const int32_t(*)[4])segments, heads,
                                         kv_heads, head_dim, causal);
    free(segments);
    return shape;
}

Attention attention_packed(Device *device, int num_segments, const int *lengths, int heads,
                           int kv_heads, int head_dim, bool causal) {
    int32_t(*segments)[4] = checked_malloc((size_t)(num_segments + 1) * sizeof *segments);
    int32_t offset = 0;
    for (int i = 0; i < num_segments; i++) {
        segments[i][0] = segments[i][2] = offset;
        segments[i][1] = segments[i][3] = lengths[i];
        offset += lengths[i];
    }
    Attention shape = attention_segments(device, num_segments, (const int32_t(*)[4])segments, heads,
                                         kv_heads, head_dim, causal);
    free(segments);
    return shape;
}

Attention attention_on_grid(Attention shape, int height, int width, const Tensor *vertical,
                            const Tensor *horizontal) {
    int64_t places = (int64_t)height * width;
    CHECK(height > 0 && width > 0 && !shape.causal &&
              shape.pairs == shape.num_segments * places * places &&
              (shape.num_segments == 0 ||
               (shape.max_q_length == places && shape.max_k_length == places)),
          "attention_on_grid: segments are not of %d x %d places", height, width);
    CHECK(vertical->dtype == FLOAT32 && horizontal->dtype == FLOAT32,
          "attention_on_grid: positions %s and %s", tensor_describe(vertical),
          tensor_describe(horizontal));
    shape.relative = (RelativePositions){height, width, vertical, horizontal};
    return shape;
}

static void check_positions(const Tensor *q, const Attention *shape) {
    const RelativePositions *relative = &shape->relative;
    int64_t pairs = tensor_rows(q) * shape->heads;
    CHECK(tensor_numel(relative->vertical) == pairs * (2 * relative->height - 1) &&
              tensor_numel(relative->horizontal) == pairs * (2 * relative->width - 1),
          "attention: positions %s and %s on a grid of %d x %d, %lld rows, %d heads",
          tensor_describe(relative->vertical), tensor_describe(relative->horizontal),
          relative->height, relative->width, (long long)tensor_rows(q), shape->heads);
}

Attention attention_in_window(Attention shape, int window) {
    CHECK(window >= 0 && (window == 0 || shape.causal), "attention_in_window: %d keys, %scausal",
          window, shape.causal ? "" : "not ");
    shape.window = window < shape.max_k_length ? window : 0;
    return shape;
}

static void check_attention(const Tensor *q, const Tensor *k, const Attention *shape) {
    CHECK(tensor_columns(q) == (int64_t)shape->heads * shape->head_dim &&
              tensor_columns(k) == (int64_t)shape->kv_heads * shape->head_dim &&
              q->dtype == k->dtype,
          "attention: q is %s, k %s; %d heads, %d key heads, head_dim %d", tensor_describe(q),
          tensor_describe(k), shape->heads, shape->kv_heads, shape->head_dim);
}

// ---- scaled_dot_product_attention

enum { ATTENTION_Q, ATTENTION_K, ATTENTION_V, ATTENTION_Y, ATTENTION_LSE, ATTENTION_SEGMENTS };

static void attention_backward(Node *node, Tensor *grad_output) {
    const Attention *shape = NODE_ARGUMENTS(node, Attention);
    Tensor **saved = node->saved, *grads[3] = {0};
    for (int i = 0; i < 3; i++)
        if (node_wants(node, i)) grads[i] = node_new_grad(node, i);
    kernels(grad_output)
        ->attention_gradient(saved[ATTENTION_Q], saved[ATTENTION_K], saved[ATTENTION_V],
                             saved[ATTENTION_Y], saved[ATTENTION_LSE], grad_output, shape,
                             grads[ATTENTION_Q], grads[ATTENTION_K], grads[ATTENTION_V]);
    for (int i = 0; i < 3; i++)
        if (grads[i]) node_add_grad(node, i, grads[i]);
}

Tensor *scaled_dot_product_attention(Tensor *q, Tensor *k, Tensor *v, Attention shape) {
    check_attention(q, k, &shape);
    CHECK(tensor_numel(v) == tensor_numel(k) && v->dtype == k->dtype, "attention: k is %s, v %s",
          tensor_describe(k), tensor_describe(v));
    bool wanted = requires_grad(q) || requires_grad(k) || requires_grad(v);
    if (shape.relative.vertical) check_positions(q, &shape);
    CHECK(!wanted || !shape.relative.vertical, "attention: relative positions have no gradients");
    Tensor *y = tensor_like(q);
    Tensor *log_sum_exp =
        wanted ? tensor_new(q->device, FLOAT32, SHAPE(tensor_rows(q), shape.heads)) : NULL;
    kernels(q)->attention(q, k, v, &shape, y, log_sum_exp);
    Node *node = RECORD(y, attention_backward, q, k, v);
    if (node) {
        node_save(node, ATTENTION_Q, q);
        node_save(node, ATTENTION_K, k);
        node_save(node, ATTENTION_V, v);
        node_save(node, ATTENTION_Y, y);
        node_save(node, ATTENTION_LSE, log_sum_exp);
        // The node's own owner of the segments that its arguments point to.
        node_save(node, ATTENTION_SEGMENTS, (Tensor *)(uintptr_t)shape.segments);
        NODE_SET_ARGUMENTS(node, shape);
    }
    return y;
}

Tensor *attention_rows(Tensor *q, Tensor *k, Attention shape, Tensor *rows) {
    check_attention(q, k, &shape);
    CHECK(rows->dtype == INT32, "attention_rows: rows are %s", tensor_describe(rows));
    CHECK(!shape.relative.vertical, "attention_rows: with relative positions");
    Tensor *probabilities =
        tensor_new(q->device, FLOAT32, SHAPE(tensor_numel(rows), shape.heads, shape.max_k_length));
    kernels(q)->attention_rows(q, k, &shape, rows, probabilities);
    return probabilities;
}
