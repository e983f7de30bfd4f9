// Attention row by row. A few queries against many keys (generation) are bound by reading the keys
// and values: each query of each head has blocks of its own, which split the keys, and whose parts
// are added up in order (flash-decoding). And the probabilities of chosen rows.
#include "ops/cuda/attention_part.h"

namespace {

enum {
    ROW_THREADS = 256,
    /// scores that a block holds at a time
    ROW_KEYS = 256,
    /// keys of a team whose loads are in flight at once
    ROW_UNROLL = 4,
};

/// The query times scale, to shared memory. No barrier.
template <typename T>
__device__ __forceinline__ void stage_query(const T *from, int dim, float scale, float *query) {
    for (int d = (int)threadIdx.x; d < dim; d += ROW_THREADS) query[d] = to_float(from[d]) * scale;
}

/// scores[i] = query . row first + i, for i < count. Teams of lanes take a row each. No barrier.
template <int N, typename T>
__device__ __forceinline__ void score_keys(const float *query, const HeadRows<const T> &keys,
                                           int first, int count, int dim, float *scores) {
    int packs = dim / N, team = 1;
    while (team < packs && team < 32) team *= 2;
    int lane = (int)threadIdx.x % team, slot = (int)threadIdx.x / team, slots = ROW_THREADS / team;
    for (int base = slot; base - slot < count; base += slots * ROW_UNROLL) {
        float sum[ROW_UNROLL] = {};
        for (int pack = lane; pack < packs; pack += team) {
            UNROLL
            for (int u = 0; u < ROW_UNROLL; u++) {
                float values[N];
                int i = min(base + u * slots, count - 1);
                load_pack<N>(keys.row(first + i) + pack * N, values);
                UNROLL
                for (int j = 0; j < N; j++) sum[u] = fmaf(values[j], query[pack * N + j], sum[u]);
            }
        }
        UNROLL
        for (int u = 0; u < ROW_UNROLL; u++) {
            for (int offset = team / 2; offset; offset /= 2)
                sum[u] += __shfl_xor_sync(0xffffffffu, sum[u], offset);
            if (lane == 0 && base + u * slots < count) scores[base + u * slots] = sum[u];
        }
    }
}

/// What one block of a query's found: its softmax over some of the keys, and its sums.
struct Partial {
    /// [rows,splits]
    float *highest, *total;
    /// [rows,splits,dim]
    float *sums;
};

template <typename T> struct Few {
    Forward<T> forward;
    Partial partial;
    /// per segment
    int queries;
    /// of the keys, ROW_KEYS each: a row's sums do not depend on the other rows
    int splits;
};

/// sums += weights rows first .. first + count of values; threads take packs of columns, and parts
/// of the rows.
template <int N, typename T, int HELD>
__device__ __forceinline__ void weigh_values(const float *weights, const HeadRows<const T> &values,
                                             int first, int count, int packs, int pack, int part,
                                             int parts, float (&sums)[HELD][N]) {
    for (int key = part; key < count; key += parts * ROW_UNROLL) {
        UNROLL
        for (int u = 0; u < ROW_UNROLL; u++) {
            int i = min(key + u * parts, count - 1);
            float weight = key + u * parts < count ? weights[i] : 0.0f;
            UNROLL
            for (int h = 0; h < HELD; h++) {
                int column = (pack + h * ROW_THREADS) * N;
                if (column >= packs * N) continue;
                float value[N];
                load_pack<N>(values.row(first + i) + column, value);
                UNROLL
                for (int j = 0; j < N; j++) sums[h][j] = fmaf(weight, value[j], sums[h][j]);
            }
        }
    }
}

/// A block: one query of one head against a part of the keys.
template <typename T, int N>
__global__ void __launch_bounds__(ROW_THREADS, 3) attend_few(Few<T> few) {
    constexpr int held = N == 1 ? ATTENTION_MAX_HEAD_DIM / ROW_THREADS : 1;
    SHARED_ARRAY(float, query, ATTENTION_MAX_HEAD_DIM);
    SHARED_ARRAY(float, weights, ROW_KEYS);
    SHARED_ARRAY(float, gathered, ROW_THREADS *N *held);
    const Forward<T> &f = few.forward;
    AttentionPart part = attention_block(f.shape, f.shape.heads, few.queries);
    int row = part.tile, split = (int)blockIdx.y, dim = f.shape.dim;
    if (row >= part.q_length) return;
    HeadRows<const T> k = key_rows(f.k, f.shape, part), v = key_rows(f.v, f.shape, part);
    stage_query(query_rows(f.q, f.shape, part).row(row), dim, f.shape.scale * LOG2_E, query);
    int packs = dim / N, parts = packs < ROW_THREADS ? ROW_THREADS / packs : 1;
    int pack = packs < ROW_THREADS ? (int)threadIdx.x % packs : (int)threadIdx.x;
    int own_part = packs < ROW_THREADS ? (int)threadIdx.x / packs : 0;
    RunningSoftmax softmax;
    float sums[held][N] = {};
    int first = max(split * ROW_KEYS, part.hidden(row));
    int count = min(part.visible(row), (split + 1) * ROW_KEYS) - first;
    if (count > 0) { // for the whole block
        __syncthreads();
        score_keys<N>(query, k, first, count, dim, weights);
        __syncthreads();
        float score = (int)threadIdx.x < count ? weights[threadIdx.x] : -INFINITY;
        softmax.raise(block_max(score));
        float weight = softmax.weight(score);
        if ((int)threadIdx.x < count) weights[threadIdx.x] = weight;
        softmax.total = block_sum(weight); // its barriers are the weights' too
        if (own_part < parts)
            weigh_values<N>(weights, v, first, count, packs, pack, own_part, parts, sums);
    }
    UNROLL
    for (int i = 0; i < held * N; i++) {
        int column = (pack + i / N * ROW_THREADS) * N + i % N;
        if (own_part < parts && column < dim)
            gathered[own_part * dim + column] = sums[i / N][i % N];
    }
    __syncthreads();
    int64_t at = (int64_t)blockIdx.x * few.splits + split;
    for (int d = (int)threadIdx.x; d < dim; d += ROW_THREADS) {
        float sum = 0.0f;
        for (int p = 0; p < parts; p++) sum += gathered[p * dim + d];
        few.partial.sums[at * dim + d] = sum;
    }
    if (threadIdx.x == 0) {
        few.partial.highest[at] = softmax.highest;
        few.partial.total[at] = softmax.total;
    }
}

/// A block: one query of one head, whose parts it adds up in order.
template <typename T> __global__ void __launch_bounds__(ROW_THREADS) merge_few(Few<T> few) {
    const Forward<T> &f = few.forward;
    AttentionPart part = attention_block(f.shape, f.shape.heads, few.queries);
    if (part.tile >= part.q_length) return;
    int64_t at = (int64_t)blockIdx.x * few.splits;
    RunningSoftmax softmax;
    for (int s = 0; s < few.splits; s++)
        softmax.highest = fmaxf(softmax.highest, few.partial.highest[at + s]);
    for (int s = 0; s < few.splits; s++)
        softmax.total += few.partial.total[at + s] * softmax.weight(few.partial.highest[at + s]);
    T *y = query_rows(f.y, f.shape, part).row(part.tile);
    for (int d = (int)threadIdx.x; d < f.shape.dim; d += ROW_THREADS) {
        float sum = 0.0f;
        for (int s = 0; s < few.splits; s++)
            sum += few.partial.sums[(at + s) * f.shape.dim + d] *
                   softmax.weight(few.partial.highest[at + s]);
        y[d] = from_float<T>(sum * softmax.inverse());
    }
    if (threadIdx.x == 0) f.write_log_sum(part, part.tile, softmax);
}

template <typename T>
void launch_few(const Forward<T> &f, const Attention *shape, const Tensor *like) {
    Few<T> few = {f, {}, 0, 0};
    few.queries = shape->max_q_length;
    unsigned blocks = attention_blocks(few.queries, shape->heads, shape->num_segments);
    few.splits = (int)ceil_divide(shape->max_k_length > 0 ? shape->max_k_length : 1, ROW_KEYS);
    size_t rows = (size_t)blocks * (size_t)few.splits;
    Workspace workspace(like, rows * (size_t)(shape->head_dim + 2) * sizeof(float));
    few.partial.highest = workspace.as<float>();
    few.partial.total = few.partial.highest + rows;
    few.partial.sums = few.partial.total + rows;
    dim3 grid(blocks, (unsigned)few.splits);
    if (f.shape.packs)
        LAUNCH((attend_few<T, pack_size<T>>), grid, ROW_THREADS, 0, stream_of(like), few);
    else
        LAUNCH((attend_few<T, 1>), grid, ROW_THREADS, 0, stream_of(like), few);
    LAUNCH(merge_few<T>, blocks, ROW_THREADS, 0, stream_of(like), few);
}

template <typename T> struct Chosen {
    AttentionShape shape;
    const T *q, *k;
    const int32_t *rows;
    int max_k_length;
    float *probabilities;
};

/// The segment that holds row `row` of q, or -1. All threads call it.
__device__ __forceinline__ int segment_of(const AttentionShape &shape, int row) {
    SHARED_ARRAY(int, found, 1);
    if (threadIdx.x == 0) found[0] = -1;
    __syncthreads();
    for (int i = (int)threadIdx.x; i < shape.num_segments; i += ROW_THREADS) {
        const int32_t *s = shape.segments + 4 * (int64_t)i;
        if (row >= s[0] && row - s[0] < s[1]) found[0] = i;
    }
    __syncthreads();
    return found[0];
}

/// A block: one head of one chosen row.
template <typename T, int N>
__global__ void __launch_bounds__(ROW_THREADS, 3) probabilities_of_rows(Chosen<T> c) {
    SHARED_ARRAY(float, query, ATTENTION_MAX_HEAD_DIM);
    int64_t chosen = blockIdx.x / (unsigned)c.shape.heads;
    int head = (int)(blockIdx.x % (unsigned)c.shape.heads), row = c.rows[chosen];
    int segment = segment_of(c.shape, row), hidden = 0, visible = 0;
    float *out = c.probabilities + (int64_t)blockIdx.x * c.max_k_length, inverse = 0.0f;
    if (segment >= 0) { // for the whole block
        AttentionPart part = attention_part(c.shape, segment, head);
        visible = part.visible(row - (int)part.q_row);
        hidden = part.hidden(row - (int)part.q_row);
        HeadRows<const T> q = query_rows(c.q, c.shape, part);
        stage_query(q.row(row - (int)part.q_row), c.shape.dim, c.shape.scale * LOG2_E, query);
        __syncthreads();
        score_keys<N>(query, key_rows(c.k, c.shape, part), hidden, visible - hidden, c.shape.dim,
                      out + hidden);
        __syncthreads();
        float highest = -INFINITY, total = 0.0f;
        for (int j = hidden + (int)threadIdx.x; j < visible; j += ROW_THREADS)
            highest = fmaxf(highest, out[j]);
        highest = block_max(highest);
        for (int j = hidden + (int)threadIdx.x; j < visible; j += ROW_THREADS)
            total += out[j] = exp2f(out[j] - highest);
        total = block_sum(total);
        inverse = total > 0.0f ? 1.0f / total : 0.0f;
    }
    for (int j = (int)threadIdx.x; j < c.max_k_length; j += ROW_THREADS)
        out[j] = j >= hidden && j < visible ? out[j] * inverse : 0.0f;
}

void attention_rows(const Tensor *q, const Tensor *k, const Attention *shape, const Tensor *rows,
                    Tensor *probabilities) {
    if (tensor_numel(probabilities) == 0) return;
    WITH_TYPE(q->dtype, T, {
        Chosen<T> c = {};
        c.q = data_of<T>(q);
        c.k = data_of<T>(k);
        c.shape = attention_shape<T>(shape, c.q, c.k);
        c.rows = data_of<int32_t>(rows);
        c.max_k_length = shape->max_k_length;
        c.probabilities = data_of<float>(probabilities);
        unsigned blocks = attention_blocks(tensor_numel(rows), shape->heads, 1);
        if (c.shape.packs)
            LAUNCH((probabilities_of_rows<T, pack_size<T>>), blocks, ROW_THREADS, 0,
                   stream_of(probabilities), c);
        else
            LAUNCH((probabilities_of_rows<T, 1>), blocks, ROW_THREADS, 0, stream_of(probabilities),
                   c);
    });
}

} // namespace

void attention_few_queries(const Tensor *q, const Tensor *k, const Tensor *v,
                           const Attention *shape, Tensor *y, Tensor *log_sum_exp) {
    WITH_TYPE(q->dtype, T, launch_few(Forward<T>(q, k, v, shape, y, log_sum_exp), shape, y));
}

FILL_FAMILY(attention_rows)
