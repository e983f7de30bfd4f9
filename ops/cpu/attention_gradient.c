// Backward of attention, in the same blocks as forward. With P the softmax weights and delta =
// rowsum(grad_y * y):
//
//   grad_v = P^T grad_y     dS = P * (grad_y v^T - delta)     grad_q = scale dS k     grad_k =
//                           scale dS^T q
//
// P comes back from the scores and the log of the sum of their exponentials. One thread owns a
// (segment, key head) with all the query heads of its group, so nothing is added across threads.
#include "ops/cpu/attention_part.h"
#include "ops/cpu/float_math.h"

/// One thread's working memory.
typedef struct Workspace {
    /// packed transposed
    float *keys, *values;
    /// packed by rows
    float *key_rows;
    /// [k_length,width], sums
    float *grad_keys, *grad_values;
    /// [KEYS,width]
    float *space;
    /// [QUERIES,width], loaded; queries with the scale
    float *queries, *grad_y;
    /// the same two packed by rows, grad_y as floats
    float *query_panel, *grad_panel;
    /// [QUERIES,width]
    float *grad_queries;
    /// [QUERIES,KEYS]
    float *weights, *grad_scores;
    /// [QUERIES,KEYS]: rounded, pairs are neighbours in a row
    uint16_t *grad_score_rows;
    /// [QUERIES / 2,KEYS]: pairs are of neighbouring rows
    float *grad_score_pairs;
    /// [QUERIES]
    float *log_sum_exp, *delta;
} Workspace;

static Workspace workspace_carve(const Attention *shape, Carver *carver) {
    int64_t width = round_up(shape->head_dim, LANES), keys = round_up(shape->max_k_length, KEYS);
    Workspace w;
    w.keys = carve(carver, keys * width);
    w.values = carve(carver, keys * width);
    w.key_rows = carve(carver, keys * width);
    w.grad_keys = carve(carver, keys * width);
    w.grad_values = carve(carver, keys * width);
    w.space = carve(carver, KEYS * width);
    w.queries = carve(carver, QUERIES * width);
    w.grad_y = carve(carver, QUERIES * width);
    w.query_panel = carve(carver, QUERIES * width);
    w.grad_panel = carve(carver, QUERIES * width);
    w.grad_queries = carve(carver, QUERIES * width);
    w.weights = carve(carver, QUERIES * KEYS);
    w.grad_scores = carve(carver, QUERIES * KEYS);
    w.grad_score_rows = (uint16_t *)(void *)carve(carver, QUERIES * KEYS / 2);
    w.grad_score_pairs = carve(carver, QUERIES * KEYS / 2);
    w.log_sum_exp = carve(carver, QUERIES);
    w.delta = carve(carver, QUERIES);
    return w;
}

typedef struct Inputs {
    const Tensor *q, *k, *v, *y, *log_sum_exp, *grad_y;
} Inputs;

/// Reads a block of queries with what belongs to its rows.
static void load_queries(Workspace *w, const Part *part, const Inputs *in, int64_t member,
                         int64_t first, int64_t rows) {
    int64_t width = part->width, dim = part->dim, padded = round_up(rows, SMALL_ROWS);
    load_rows(part, query_slice(in->q, part, member), first, rows, part->shape->scale, padded,
              w->queries);
    if (part->element == PAIRS)
        pack_row_pairs((const uint16_t *)(const void *)w->queries, padded / 2, width, QUERIES / 2,
                       w->query_panel);
    else
        pack_rows(w->queries, rows, width, QUERIES, w->query_panel);
    Slice out = query_slice(in->y, part, member), grad_y = query_slice(in->grad_y, part, member);
    copy_rows(out, first, rows, dim, 1.0f, padded, width, w->grad_queries); // y, for delta only
    copy_rows(grad_y, first, rows, dim, 1.0f, padded, width, w->grad_y);
    pack_rows(w->grad_y, rows, width, QUERIES, w->grad_panel);
    for (int64_t row = 0; row < rows; row++) {
        float delta = 0.0f;
#pragma omp simd reduction(+ : delta)
        for (int64_t j = 0; j < width; j++)
            delta += w->grad_queries[row * width + j] * w->grad_y[row * width + j];
        w->delta[row] = delta;
        w->log_sum_exp[row] =
            ((const float *)in->log_sum_exp->data)[(out.first + (first + row) * out.stride) / dim];
    }
    if (part->element == PAIRS) load_rows(part, grad_y, first, rows, 1.0f, padded, w->grad_y);
    for (int64_t i = 0; i < padded * width; i++) w->grad_queries[i] = 0.0f;
}

/// Scores to weights and their gradients to those of the scores, for one row of which the keys in
/// `seen` count.
static void row_gradient(Workspace *w, int64_t row, KeyRange seen, int64_t columns) {
    float *weights = w->weights + row * KEYS, *gradients = w->grad_scores + row * KEYS;
    float shift = w->log_sum_exp[row], delta = w->delta[row];
    int64_t whole = mask_scores(weights, seen, columns);
#pragma omp simd
    for (int64_t j = 0; j < whole; j++) {
        weights[j] = fast_exp(weights[j] - shift);
        gradients[j] = weights[j] * (gradients[j] - delta);
    }
    for (int64_t j = whole; j < columns; j++) gradients[j] = 0.0f;
}

/// grad_keys and grad_queries of one block, by pairs.
static void multiply_grad_score_pairs(Workspace *w, int64_t columns, int64_t width, int64_t padded,
                                      int64_t key, int64_t count) {
    round_to_pairs(w->grad_scores, padded, columns, KEYS, w->grad_score_rows, w->grad_score_pairs);
    tile_product(PAIRS, columns, width, padded / 2, w->grad_score_pairs, w->query_panel,
                 w->grad_keys + key * width, (TileStrides){1, KEYS, QUERIES / 2, width}, true);
    tile_product(PAIRS, padded, width, (count + 1) / 2,
                 (const float *)(const void *)w->grad_score_rows, w->key_rows + key / 2 * width,
                 w->grad_queries, (TileStrides){KEYS / 2, 1, KEYS / 2, width}, true);
}

/// One block of queries against one block of keys.
static void block_gradient(Workspace *w, const Part *part, int64_t first, int64_t rows, int64_t key,
                           int64_t count) {
    int64_t width = part->width, padded = round_up(rows, SMALL_ROWS);
    int64_t columns = block_columns(part, key, count);
    multiply_queries(part, padded, columns, w->queries, w->keys, key, w->weights);
    multiply_keys(part, padded, columns, w->grad_y, w->values + key * part->depth, w->grad_scores);
    for (int64_t row = 0; row < rows; row++)
        row_gradient(w, row, keys_in_block(part, first + row, key, count), columns);
    TileStrides to_keys = {1, KEYS, QUERIES, width}; // weights and gradients read transposed
    tile_product(FLOATS, columns, width, rows, w->weights, w->grad_panel,
                 w->grad_values + key * width, to_keys, true);
    if (part->element == PAIRS) {
        multiply_grad_score_pairs(w, columns, width, padded, key, count);
        return;
    }
    tile_product(FLOATS, columns, width, rows, w->grad_scores, w->query_panel,
                 w->grad_keys + key * width, to_keys, true);
    tile_product(FLOATS, padded, width, count, w->grad_scores, w->key_rows + key * width,
                 w->grad_queries, (TileStrides){KEYS, 1, KEYS, width}, true);
}

static void part_gradient(Workspace *w, const Part *part, const Inputs *in, Tensor *grad_q,
                          Tensor *grad_k, Tensor *grad_v) {
    int64_t dim = part->dim, width = part->width,
            group = part->shape->heads / part->shape->kv_heads;
    pack_keys_transposed(in->k, part, w->keys, w->space);
    pack_keys_transposed(in->v, part, w->values, w->space);
    pack_key_rows(in->k, part, part->element, w->key_rows, w->space);
    for (int64_t i = 0; i < round_up(part->k_length, KEYS) * width; i++)
        w->grad_keys[i] = w->grad_values[i] = 0.0f;
    for (int64_t member = 0; member < group; member++)
        for (int64_t first = 0; first < part->q_length; first += QUERIES) {
            int64_t rows = part->q_length - first < QUERIES ? part->q_length - first : QUERIES;
            load_queries(w, part, in, member, first, rows);
            int64_t seen = visible_keys(part, first + rows - 1);
            for (int64_t key = hidden_keys(part, first) / KEYS * KEYS; key < seen; key += KEYS)
                block_gradient(w, part, first, rows, key, seen - key < KEYS ? seen - key : KEYS);
            if (grad_q)
                store_rows(grad_q, query_slice(grad_q, part, member), first, rows, dim, width,
                           part->shape->scale, w->grad_queries, w->space);
        }
    Slice keys = key_slice(grad_k ? grad_k : grad_v, part);
    float factor = part->element == PAIRS ? part->shape->scale : 1.0f; // pairs have no scale yet
    store_rows(grad_k, keys, 0, part->k_length, dim, width, factor, w->grad_keys, w->space);
    store_rows(grad_v, keys, 0, part->k_length, dim, width, 1.0f, w->grad_values, w->space);
}

static void attention_gradient(const Tensor *q, const Tensor *k, const Tensor *v, const Tensor *y,
                               const Tensor *log_sum_exp, const Tensor *grad_y,
                               const Attention *shape, Tensor *grad_q, Tensor *grad_k,
                               Tensor *grad_v) {
    zero_unless_covered(grad_q, shape, 1);
    zero_unless_covered(grad_k, shape, 3);
    zero_unless_covered(grad_v, shape, 3);
    check_disjoint_keys(shape);
    Inputs in = {q, k, v, y, log_sum_exp, grad_y};
    int64_t owners = (int64_t)shape->num_segments * shape->kv_heads;
    int threads = attention_threads(shape);
    Carver count = {0};
    workspace_carve(shape, &count);
    size_t bytes = (size_t)(threads * count.used) * sizeof(float);
    float *memory = q->device->allocate(q->device, bytes);
#pragma omp parallel for schedule(dynamic) num_threads(threads)
    for (int64_t owner = 0; owner < owners; owner++) {
        Part part = part_of(shape, q->dtype, owner);
        Carver mine = {memory + omp_get_thread_num() * count.used, 0};
        Workspace w = workspace_carve(shape, &mine);
        part_gradient(&w, &part, &in, grad_q, grad_k, grad_v);
    }
    q->device->release(q->device, memory, bytes);
}

FILL_FAMILY(attention_gradient)
