// Attention in blocks of queries and keys that stay in the caches, after FlashAttention (Dao et al.
// 2022, arXiv 2205.14135): scores exist for one block pair at a time, so memory grows with the
// length and not with its square.
//
// Keys and values of a (segment, key head) are converted and packed once, by the thread that owns
// them, and serve every query block of every query head of the group. A row's sums do not depend on
// which thread or block it falls to, so results are the same for any number of threads.
#include "ops/cpu/attention_row.h"

// ---- forward

/// One thread's working memory.
typedef struct Forward {
    /// packed
    float *keys, *values;
    /// [KEYS,width]
    float *space;
    /// [QUERIES,width], loaded with the scale
    float *queries;
    /// [QUERIES,KEYS]
    float *scores;
    /// [QUERIES,width]: weighted values
    float *sums;
    float *highest,
        /// [QUERIES]: each row's greatest score so far, and the sum of exponentials under it
        *total;
} Forward;

static Forward forward_carve(const Attention *shape, Carver *carver) {
    int64_t width = round_up(shape->head_dim, LANES), keys = round_up(shape->max_k_length, KEYS);
    Forward f;
    f.keys = carve(carver, keys * width);
    f.values = carve(carver, keys * width);
    f.space = carve(carver, KEYS * width);
    f.queries = carve(carver, QUERIES * width);
    f.sums = carve(carver, QUERIES * width);
    f.scores = carve(carver, QUERIES * KEYS);
    f.highest = carve(carver, QUERIES);
    f.total = carve(carver, QUERIES);
    return f;
}

/// Scores of one row, of which those in `seen` count, to softmax weights under the row's new
/// maximum; the sums gathered so far shrink to it.
static void softmax_row(Forward *f, int64_t row, KeyRange seen, int64_t columns, int64_t width) {
    float *scores = f->scores + row * KEYS;
    int64_t whole = mask_scores(scores, seen, columns);
    if (seen.end == 0) return;
    float maximum = row_maximum(scores, whole);
    if (maximum > f->highest[row]) {
        float shrink = fast_exp(f->highest[row] - maximum);
        f->highest[row] = maximum;
        f->total[row] *= shrink;
        for (int64_t j = 0; j < width; j++) f->sums[row * width + j] *= shrink;
    }
    f->total[row] += exponentials(scores, whole, f->highest[row]);
}

/// Queries first .. first+rows of one head against all keys that any of them sees.
static void forward_block(Forward *f, const Part *part, int64_t member, int64_t first,
                          int64_t rows) {
    int64_t head = part->kv_head * (part->shape->heads / part->shape->kv_heads) + member;
    int64_t width = part->width, padded = round_up(rows, SMALL_ROWS);
    for (int64_t i = 0; i < padded * width; i++) f->sums[i] = 0.0f;
    for (int64_t row = 0; row < rows; row++) f->highest[row] = -INFINITY, f->total[row] = 0.0f;
    int64_t seen = visible_keys(part, first + rows - 1);
    for (int64_t key = hidden_keys(part, first) / KEYS * KEYS; key < seen; key += KEYS) {
        int64_t count = seen - key < KEYS ? seen - key : KEYS,
                columns = block_columns(part, key, count);
        multiply_queries(part, padded, columns, f->queries, f->keys, key, f->scores);
        for (int64_t row = 0; row < rows; row++) {
            KeyRange visible = keys_in_block(part, first + row, key, count);
            if (part->shape->relative.vertical)
                add_positions(f->scores + row * KEYS, part, head, first + row, key, visible.end);
            softmax_row(f, row, visible, columns, width);
        }
        tile_product(FLOATS, padded, width, count, f->scores, f->values + key * width, f->sums,
                     (TileStrides){KEYS, 1, KEYS, width}, true);
    }
}

/// sums / total to y, and the log of the sum of exponentials. A row that sees no key is zero.
static void forward_finish(const Forward *f, const Part *part, int64_t member, int64_t first,
                           int64_t rows, Tensor *y, Tensor *log_sum_exp) {
    Slice out = query_slice(y, part, member);
    for (int64_t row = 0; row < rows; row++) {
        float *sums = f->sums + row * part->width, total = f->total[row];
        float inverse = total > 0.0f ? 1.0f / total : 0.0f;
        int64_t start = out.first + (first + row) * out.stride;
        float *target = chunk_target(y, start, f->space);
        scale_floats(sums, part->dim, inverse, target);
        chunk_write(y, start, part->dim, target);
        if (log_sum_exp)
            ((float *)log_sum_exp->data)[start / part->dim] =
                total > 0.0f ? f->highest[row] + logf(total) : -INFINITY;
    }
}

// ---- row by row

/// The first query of one head, without packing keys and values that serve only once.
static void attend_alone(const Forward *f, const Part *part, int64_t member, const Tensor *q,
                         const Tensor *k, const Tensor *v, Tensor *y, Tensor *log_sum_exp) {
    RowSoftmax softmax = row_softmax(q, k, part, member, 0, f->keys);
    for (int64_t d = 0; d < part->dim; d++) f->sums[d] = 0.0f;
    add_weighted_rows(f->keys, key_slice(v, part), softmax.first, softmax.end, part->dim, f->sums);
    f->highest[0] = softmax.highest;
    f->total[0] = softmax.total;
    forward_finish(f, part, member, 0, 1, y, log_sum_exp);
}

// ---- the kernels

/// Queries `first_block` .. `end_block` (in blocks) of every head of the part's group.
static void forward_part(const Forward *memory, const Part *part, int64_t first_block,
                         int64_t end_block, const Tensor *q, const Tensor *k, const Tensor *v,
                         Tensor *y, Tensor *log_sum_exp) {
    Forward f = *memory;
    int64_t group = part->shape->heads / part->shape->kv_heads;
    if (part->q_length == 1) {
        for (int64_t member = 0; member < group; member++)
            attend_alone(&f, part, member, q, k, v, y, log_sum_exp);
        return;
    }
    pack_keys_transposed(k, part, f.keys, f.space);
    pack_key_rows(v, part, FLOATS, f.values, f.space);
    for (int64_t member = 0; member < group; member++)
        for (int64_t block = first_block; block < end_block; block++) {
            int64_t first = block * QUERIES, rows = chunk_length(part->q_length, QUERIES, block);
            load_rows(part, query_slice(q, part, member), first, rows, part->shape->scale,
                      round_up(rows, SMALL_ROWS), f.queries);
            forward_block(&f, part, member, first, rows);
            forward_finish(&f, part, member, first, rows, y, log_sum_exp);
        }
}

static void attention(const Tensor *q, const Tensor *k, const Tensor *v, const Attention *shape,
                      Tensor *y, Tensor *log_sum_exp) {
    int64_t owners = (int64_t)shape->num_segments * shape->kv_heads;
    if (tensor_numel(y) == 0) return;
    zero_unless_covered(y, shape, 1);
    if (shape->max_q_length == 0) return;
    int64_t pieces = query_pieces(shape, QUERIES);
    int threads = attention_threads(shape);
    Carver count = {0};
    forward_carve(shape, &count);
    size_t bytes = (size_t)(threads * count.used) * sizeof(float);
    float *memory = q->device->allocate(q->device, bytes);
#pragma omp parallel for schedule(dynamic) num_threads(threads)
    for (int64_t task = 0; task < owners * pieces; task++) {
        Part part = part_of(shape, q->dtype, task / pieces);
        Carver mine = {memory + omp_get_thread_num() * count.used, 0};
        Forward f = forward_carve(shape, &mine);
        int64_t blocks = chunk_count(part.q_length, QUERIES), piece = task % pieces;
        int64_t first_block = blocks * piece / pieces, end_block = blocks * (piece + 1) / pieces;
        if (first_block < end_block)
            forward_part(&f, &part, first_block, end_block, q, k, v, y, log_sum_exp);
    }
    q->device->release(q->device, memory, bytes);
}

/// The segment that holds row `row` of q, or -1.
static int64_t segment_of(const Attention *shape, int64_t row) {
    const int32_t *s = shape->segments->data;
    for (int64_t i = 0; i < shape->num_segments; i++)
        if (row >= s[4 * i] && row < (int64_t)s[4 * i] + s[4 * i + 1]) return i;
    return -1;
}

static void attention_rows(const Tensor *q, const Tensor *k, const Attention *shape,
                           const Tensor *rows, Tensor *probabilities) {
    const int32_t *index = rows->data;
    int64_t n = tensor_numel(rows), keys = shape->max_k_length;
    int64_t group = shape->heads / shape->kv_heads;
    PARALLEL_FOR(n * shape->heads * keys * shape->head_dim)
    for (int64_t task = 0; task < n * shape->heads; task++) {
        float *out = (float *)probabilities->data + task * keys;
        int64_t row = index[task / shape->heads], head = task % shape->heads;
        int64_t segment = segment_of(shape, row);
        CHECK(segment >= 0, "attention_rows: row %lld is in no segment", (long long)row);
        Part part = part_of(shape, q->dtype, segment * shape->kv_heads + head / group);
        RowSoftmax softmax = row_softmax(q, k, &part, head % group, row - part.q_row, out);
        for (int64_t j = softmax.first; j < softmax.end; j++) out[j] /= softmax.total;
        for (int64_t j = 0; j < softmax.first; j++) out[j] = 0.0f;
        for (int64_t j = softmax.end; j < keys; j++) out[j] = 0.0f;
    }
}

FILL_FAMILY(attention)
FILL_FAMILY(attention_rows)
