// Backward of attention, in tiles as forward. With P the softmax weights and delta = rowsum(grad_y * y):
//
//   grad_v = P^T grad_y     dS = P * (grad_y v^T - delta)     grad_q = scale dS k     grad_k = scale dS^T q
//
// P comes back from the scores and the log of the sum of their exponentials. All three are one scheme: a block owns rows of an output, goes
// over the rows at the other side (for keys: of every query head of the group), makes a tile of P or dS, and adds the rows it
// weighs. What is computed more than once so needs no atomics, and each output's bits do not depend on which others are asked for.
#include "ops/cuda/attention_part.h"

namespace {

enum Output { OF_QUERIES, OF_KEYS, OF_VALUES };

template <typename T> struct Backward {
    AttentionShape shape;
    const T *q, *k, *v, *y, *grad_y;
    const float *log_sum_exp;
    float *delta; ///< [rows,heads]
    int64_t rows;
    T *grad[3]; ///< as Output; NULL where not wanted
};

// ---- delta

enum { DELTA_THREADS = 256 };

/// Teams of lanes take a row of a head each.
template <typename T, int N> __global__ void row_products(Backward<T> g) {
    int packs = g.shape.dim / N, team = 1;
    while (team < packs && team < 32) team *= 2;
    int lane = (int)threadIdx.x % team, slot = (int)threadIdx.x / team,
        slots = DELTA_THREADS / team;
    int64_t count = g.rows * g.shape.heads;
    for (int64_t base = blockIdx.x * (int64_t)slots; base < count;
         base += gridDim.x * (int64_t)slots) {
        int64_t row = base + slot;
        float sum = 0.0f;
        if (row < count)
            for (int pack = lane; pack < packs; pack += team) {
                float y[N], grad[N];
                load_pack<N>(g.y + row * g.shape.dim + pack * N, y);
                load_pack<N>(g.grad_y + row * g.shape.dim + pack * N, grad);
                UNROLL
                for (int j = 0; j < N; j++) sum = fmaf(y[j], grad[j], sum);
            }
        for (int offset = team / 2; offset; offset /= 2)
            sum += __shfl_xor_sync(0xffffffffu, sum, offset);
        if (lane == 0 && row < count) g.delta[row] = sum;
    }
}

template <typename T> void compute_delta(const Backward<T> &g, const Tensor *like) {
    unsigned blocks = blocks_for(like, g.rows * g.shape.heads, 16);
    if (g.shape.packs)
        LAUNCH((row_products<T, pack_size<T>>), blocks, DELTA_THREADS, 0, stream_of(like), g);
    else
        LAUNCH((row_products<T, 1>), blocks, DELTA_THREADS, 0, stream_of(like), g);
}

// ---- what a tile needs of its queries

/// Of the queries of a tile, in shared memory.
struct QueryStatistics {
    float *log_sum_exp; ///< in units of log 2
    float *delta;
    int *visible; ///< keys that it sees; 0 past the segment's end

    /// `COUNT` queries from `first` on. No barrier.
    template <int COUNT, typename T>
    __device__ __forceinline__ void load(const Backward<T> &g, const AttentionPart &part,
                                         int first) const {
        if (threadIdx.x >= COUNT) return;
        int query = first + (int)threadIdx.x;
        bool exists = query < part.q_length;
        int64_t at = (part.q_row + query) * g.shape.heads + part.head;
        log_sum_exp[threadIdx.x] = exists ? g.log_sum_exp[at] * LOG2_E : 0.0f;
        delta[threadIdx.x] = exists ? g.delta[at] : 0.0f;
        visible[threadIdx.x] = exists ? part.visible(query) : 0;
    }
    /// P of a query and a key, from its score in units of log 2.
    __device__ __forceinline__ float weight(int query, int key, float score) const {
        return key < visible[query] ? exp2f(score - log_sum_exp[query]) : 0.0f;
    }
};

/// The two sides of a block: own rows of the output, other rows that it goes over. Each has rows for the scores and for grad_y v^T.
template <typename T> struct Sides {
    HeadRows<const T> own, own_grad, other, other_grad;
    int begin, end; ///< of the other rows

    /// For rows first .. first + count.
    __device__ __forceinline__ Sides(const Backward<T> &g, const AttentionPart &part, bool keys,
                                     int first, int count) {
        HeadRows<const T> q = query_rows(g.q, g.shape, part),
                          grad = query_rows(g.grad_y, g.shape, part),
                          k = key_rows(g.k, g.shape, part), v = key_rows(g.v, g.shape, part);
        own = keys ? k : q;
        own_grad = keys ? v : grad;
        other = keys ? q : k;
        other_grad = keys ? grad : v;
        int before = part.causal ? first - (part.k_length - part.q_length) : 0;
        begin = keys && before > 0 ? before : 0; // the first query that sees the first key
        end = keys ? part.q_length : part.visible(min(first + count, part.q_length) - 1);
    }
};

/// The block's part: of queries' heads, or of keys' heads with the first query head of the group.
__device__ __forceinline__ AttentionPart gradient_block(const AttentionShape &shape, bool keys,
                                                        int tiles) {
    AttentionPart part = attention_block(shape, keys ? shape.kv_heads : shape.heads, tiles);
    if (keys) {
        part.kv_head = part.head;
        part.head *= shape.heads / shape.kv_heads;
    }
    return part;
}

// ---- float32 arithmetic

/// A block: 64 rows of one head of the output; blocks along y: its columns.
template <typename T, int SLICES>
__global__ void __launch_bounds__(FMA_THREADS)
    gradient_fma(Backward<T> g, Output output, int tiles) {
    SHARED_ARRAY(float, space, FMA_SPACE);
    SHARED_ARRAY(float, weights, FMA_WEIGHTS);
    SHARED_ARRAY(float, numbers, 2 * FMA_TILE);
    SHARED_ARRAY(int, counts, FMA_TILE);
    QueryStatistics statistics = {numbers, numbers + FMA_TILE, counts};
    bool keys = output != OF_QUERIES;
    AttentionPart part = gradient_block(g.shape, keys, tiles);
    int first = part.tile * FMA_TILE, column = (int)blockIdx.y * SLICES * FMA_SLICE;
    int tx = (int)threadIdx.x % 16, ty = (int)threadIdx.x / 16;
    if (first >= (keys ? part.k_length : part.q_length)) return;
    FmaSums sums[SLICES] = {};
    int first_head = part.head;
    for (int member = 0; member < (keys ? g.shape.heads / g.shape.kv_heads : 1); member++) {
        part.head = first_head + member;
        Sides<T> sides(g, part, keys, first, FMA_TILE);
        for (int other = sides.begin; other < sides.end; other += FMA_TILE) {
            statistics.load<FMA_TILE>(g, part, keys ? other : first);
            FmaScores scores, grads;
            product_of_rows(sides.own, first, sides.other, other, g.shape, space, scores);
            if (output != OF_VALUES)
                product_of_rows(sides.own_grad, first, sides.other_grad, other, g.shape, space,
                                grads);
            UNROLL
            for (int i = 0; i < 4; i++) UNROLL
            for (int j = 0; j < 4; j++) {
                int row = 4 * ty + i, col = tx + 16 * j, query = keys ? col : row;
                float weight = statistics.weight(query, keys ? first + row : other + col,
                                                 scores[i][j] * (g.shape.scale * LOG2_E));
                if (output != OF_VALUES) weight *= grads[i][j] - statistics.delta[query];
                scores[i][j] = weight;
            }
            keep_weights(scores, weights);
            add_weighted_rows(weights, output == OF_VALUES ? sides.other_grad : sides.other, other,
                              sides.end, column, g.shape, space, sums);
        }
    }
    float factor = output == OF_VALUES ? 1.0f : g.shape.scale,
          factors[4] = {factor, factor, factor, factor};
    T *to = output == OF_QUERIES ? g.grad[OF_QUERIES]
            : output == OF_KEYS  ? g.grad[OF_KEYS]
                                 : g.grad[OF_VALUES]; // an index would put g in local memory
    write_sums(sums, factors, keys ? key_rows(to, g.shape, part) : query_rows(to, g.shape, part),
               first, column, g.shape);
}

template <typename T, int SLICES>
void launch_fma(const Backward<T> &g, const Attention *shape, cudaStream_t stream) {
    for (int output = 0; output < 3; output++) {
        bool keys = output != OF_QUERIES;
        int longest = keys ? shape->max_k_length : shape->max_q_length;
        if (!g.grad[output] || longest == 0) continue;
        int tiles = (int)ceil_divide(longest, FMA_TILE);
        dim3 grid(
            attention_blocks(tiles, keys ? shape->kv_heads : shape->heads, shape->num_segments),
            (unsigned)ceil_divide(shape->head_dim, SLICES * FMA_SLICE));
        LAUNCH((gradient_fma<T, SLICES>), grid, FMA_THREADS, 0, stream, g, (Output)output, tiles);
    }
}

} // namespace

void attention_gradient_cuda(const Tensor *q, const Tensor *k, const Tensor *v, const Tensor *y,
                             const Tensor *log_sum_exp, const Tensor *grad_y,
                             const Attention *shape, Tensor *grad_q, Tensor *grad_k,
                             Tensor *grad_v) {
    zero_unless_covered(grad_q, shape, 1);
    zero_unless_covered(grad_k, shape, 3);
    zero_unless_covered(grad_v, shape, 3);
    if (shape->num_segments == 0) return;
    WITH_TYPE(q->dtype, T, {
        Backward<T> g = {};
        g.q = data_of<T>(q);
        g.k = data_of<T>(k);
        g.v = data_of<T>(v);
        g.y = data_of<T>(y);
        g.grad_y = data_of<T>(grad_y);
        g.log_sum_exp = data_of<float>(log_sum_exp);
        g.grad[OF_QUERIES] = data_or_null<T>(grad_q);
        g.grad[OF_KEYS] = data_or_null<T>(grad_k);
        g.grad[OF_VALUES] = data_or_null<T>(grad_v);
        g.shape = attention_shape<T>(shape, g.q, g.k, g.v, g.y, g.grad_y, g.grad[0], g.grad[1],
                                     g.grad[2]);
        g.rows = tensor_rows(q);
        Workspace workspace(q, (size_t)(g.rows * shape->heads) * sizeof(float));
        g.delta = workspace.as<float>();
        if ((grad_q || grad_k) && g.rows > 0) compute_delta(g, q);
        if (shape->head_dim <= FMA_SLICE)
            launch_fma<T, 1>(g, shape, stream_of(q));
        else
            launch_fma<T, FMA_WIDE>(g, shape, stream_of(q));
    });
}
