// Attention in tiles of queries and keys, after FlashAttention (Dao et al. 2022, arXiv 2205.14135): scores exist for one pair of tiles
// at a time, so memory grows with the length and not with its square. A row keeps its greatest score so far, the sum of exponentials
// under it, and the sum of values weighted by them; what was summed under a smaller one shrinks when a greater score comes.
#include "ops/cuda/attention_wmma.h"

namespace {

// ---- float32 arithmetic

/// Over the 16 threads of a row.
__device__ __forceinline__ float row_max(float x) {
    for (int offset = 8; offset; offset /= 2) x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, offset));
    return x;
}
__device__ __forceinline__ float row_sum(float x) {
    for (int offset = 8; offset; offset /= 2) x += __shfl_xor_sync(0xffffffffu, x, offset);
    return x;
}

/// Scores of a thread's four rows to weights.
template <bool RELATIVE, int SLICES>
__device__ __forceinline__ void softmax_rows(const AttentionShape &shape, const AttentionPart &part,
                                             int query, int key, FmaScores &scores,
                                             RunningSoftmax (&softmax)[4],
                                             FmaSums (&sums)[SLICES]) {
    int tx = (int)threadIdx.x % 16;
    UNROLL
    for (int i = 0; i < 4; i++) {
        ScoreRow<RELATIVE> row(shape, part, query + i);
        int visible = part.visible(query + i) - key;
        float maximum = -INFINITY, sum = 0.0f;
        UNROLL
        for (int j = 0; j < 4; j++) {
            int column = tx + 16 * j;
            scores[i][j] = in_window(column, visible, part.window)
                               ? row.score(scores[i][j], key + column)
                               : -INFINITY;
            maximum = fmaxf(maximum, scores[i][j]);
        }
        float shrink = softmax[i].raise(row_max(maximum));
        UNROLL
        for (int j = 0; j < 4; j++) sum += scores[i][j] = softmax[i].weight(scores[i][j]);
        softmax[i].total += row_sum(sum);
        UNROLL
        for (int n = 0; n < 8 * SLICES; n++) sums[n / 8][i][n / 4 % 2][n % 4] *= shrink;
    }
}

/// A block: 64 queries of one head; blocks along y: columns of y.
template <typename T, int SLICES, bool RELATIVE>
__global__ void __launch_bounds__(FMA_THREADS, 1) attend_fma(Forward<T> f, int tiles) {
    SHARED_ARRAY(float, space, FMA_SPACE);
    SHARED_ARRAY(float, weights, FMA_WEIGHTS);
    AttentionPart part = attention_block(f.shape, f.shape.heads, tiles);
    int first = part.tile * FMA_TILE, column = (int)blockIdx.y * SLICES * FMA_SLICE;
    if (first >= part.q_length) return;
    HeadRows<const T> q = query_rows(f.q, f.shape, part), k = key_rows(f.k, f.shape, part),
                      v = key_rows(f.v, f.shape, part);
    int query = first + (int)threadIdx.x / 16 * 4;
    RunningSoftmax softmax[4];
    FmaSums sums[SLICES] = {};
    int seen = part.visible(min(first + FMA_TILE, part.q_length) - 1);
    for (int key = part.hidden(first); key < seen; key += FMA_TILE) {
        FmaScores scores;
        product_of_rows(q, first, k, key, f.shape, space, scores);
        softmax_rows<RELATIVE>(f.shape, part, query, key, scores, softmax, sums);
        keep_weights(scores, weights);
        add_weighted_rows(weights, v, key, seen, column, f.shape, space, sums);
    }
    float inverse[4];
    UNROLL
    for (int i = 0; i < 4; i++) inverse[i] = softmax[i].inverse();
    write_sums(sums, inverse, query_rows(f.y, f.shape, part), first, column, f.shape);
    if (column > 0 || threadIdx.x % 16 != 0) return;
    for (int i = 0; i < 4; i++) f.write_log_sum(part, query + i, softmax[i]);
}

template <typename T, int SLICES>
void launch_fma(const Forward<T> &f, const Attention *shape, cudaStream_t stream) {
    int tiles = (int)ceil_divide(shape->max_q_length, FMA_TILE);
    dim3 grid(attention_blocks(tiles, shape->heads, shape->num_segments),
              (unsigned)ceil_divide(shape->head_dim, SLICES * FMA_SLICE));
    if (shape->relative.vertical)
        LAUNCH((attend_fma<T, SLICES, true>), grid, FMA_THREADS, 0, stream, f, tiles);
    else
        LAUNCH((attend_fma<T, SLICES, false>), grid, FMA_THREADS, 0, stream, f, tiles);
}

// ---- tensor cores

enum {
    WMMA_WARPS = 4,
    WMMA_THREADS = 32 * WMMA_WARPS,
    WMMA_QUERIES = 16 * WMMA_WARPS,
    WMMA_KEYS = 32,
};

/// The scores of a lane's half of a row to weights, in their place; returns what the row's sums shrink by.
template <bool RELATIVE>
__device__ __forceinline__ float softmax_half_row(float *scores,
                                                  const ScoreRow<RELATIVE> &score_row, int key,
                                                  int visible, int window,
                                                  RunningSoftmax &softmax) {
    HalfRow<WMMA_KEYS> row(scores);
    float maximum = -INFINITY, sum = 0.0f;
    UNROLL
    for (int i = 0; i < WMMA_KEYS / 2; i++) {
        int column = key + row.column(i);
        row.values[i] =
            in_window(column, visible, window) ? score_row.score(row.values[i], column) : -INFINITY;
        maximum = fmaxf(maximum, row.values[i]);
    }
    maximum = fmaxf(maximum, __shfl_xor_sync(0xffffffffu, maximum, 1));
    float shrink = softmax.raise(maximum);
    UNROLL
    for (int i = 0; i < WMMA_KEYS / 2; i++) sum += row.values[i] = softmax.weight(row.values[i]);
    softmax.total += sum + __shfl_xor_sync(0xffffffffu, sum, 1);
    __syncwarp();
    row.put<2>(scores);
    return shrink;
}

/// sums *= a factor for each row, `factors` of which the warp's lanes have written.
template <int N>
__device__ __forceinline__ void scale_rows(const SumPlaces &places, const float *factors,
                                           SumFragment (&sums)[N]) {
    float factor[SumFragment::num_elements];
    UNROLL
    for (int i = 0; i < SumFragment::num_elements; i++) factor[i] = factors[places.row(i)];
    UNROLL
    for (int d = 0; d < N; d++) {
        UNROLL
        for (int i = 0; i < SumFragment::num_elements; i++) sums[d].x[i] *= factor[i];
    }
}

/// How many blocks of a multiprocessor should find registers; relative positions take some more.
template <int D, bool RELATIVE>
constexpr int wmma_blocks = D <= 64 && !RELATIVE ? 4
                            : D <= 128           ? 3
                                                 : 2;

template <int D> constexpr size_t wmma_shared() {
    return (WMMA_QUERIES + 2 * WMMA_KEYS) * staged_pitch<D> * sizeof(bfloat16) +
           WMMA_WARPS * score_floats<WMMA_KEYS> * sizeof(float);
}

/// A block: 64 queries of one head, 16 a warp. The next tile of keys or values is fetched while the warps multiply.
template <int D, bool RELATIVE>
__global__ void __launch_bounds__(WMMA_THREADS, wmma_blocks<D, RELATIVE>)
    attend_wmma(Forward<bfloat16> f, int tiles) {
    DYNAMIC_SHARED(bfloat16, queries);
    SHARED_ARRAY(float, factors, WMMA_QUERIES);
    bfloat16 *keys = queries + WMMA_QUERIES * staged_pitch<D>;
    bfloat16 *values = keys + WMMA_KEYS * staged_pitch<D>;
    AttentionPart part = attention_block(f.shape, f.shape.heads, tiles);
    int first = part.tile * WMMA_QUERIES, warp = (int)threadIdx.x / 32;
    if (first >= part.q_length) return;
    int lane = (int)threadIdx.x % 32, warp_query = first + 16 * warp, query = warp_query + lane / 2;
    const bfloat16 *warp_queries = queries + 16 * warp * staged_pitch<D>;
    float *scores = reinterpret_cast<float *>(values + WMMA_KEYS * staged_pitch<D>) +
                    warp * score_floats<WMMA_KEYS>;
    float *row_factors = factors + 16 * warp;
    HeadRows<const bfloat16> k = key_rows(f.k, f.shape, part), v = key_rows(f.v, f.shape, part);
    {
        HeadRows<const bfloat16> q = query_rows(f.q, f.shape, part);
        StagedRows<D, WMMA_QUERIES, WMMA_THREADS> rows;
        rows.fetch(q, first, f.shape);
        rows.put(q, first, f.shape, queries);
    }
    StagedRows<D, WMMA_KEYS, WMMA_THREADS> staged;
    int begin = part.hidden(first);
    staged.fetch(k, begin, f.shape);
    staged.put(k, begin, f.shape, keys);
    SumPlaces places(scores);
    ScoreRow<RELATIVE> score_row(f.shape, part, query);
    RunningSoftmax softmax;
    SumFragment sums[D / 16];
    UNROLL
    for (int d = 0; d < D / 16; d++) wmma::fill_fragment(sums[d], 0.0f);
    int seen = part.visible(min(first + WMMA_QUERIES, part.q_length) - 1);
    int warp_seen = part.visible(min(warp_query + 16, part.q_length) - 1);
    if (warp_query >= part.q_length) warp_seen = 0;
    int visible = query < part.q_length ? part.visible(query) : 0;
    for (int key = begin; key < seen; key += WMMA_KEYS) {
        __syncthreads();
        staged.fetch(v, key, f.shape);
        if (key < warp_seen) {
            SumFragment tile[WMMA_KEYS / 16];
            product_of_tiles<D>(warp_queries, keys, tile);
            UNROLL
            for (int t = 0; t < WMMA_KEYS / 16; t++)
                wmma::store_matrix_sync(scores + 16 * t, tile[t], score_pitch<WMMA_KEYS>,
                                        wmma::mem_row_major);
        }
        staged.put(v, key, f.shape, values);
        if (key < warp_seen) {
            __syncwarp();
            float shrink = softmax_half_row(scores, score_row, key, visible, part.window, softmax);
            if (__any_sync(0xffffffffu, shrink != 1.0f)) {
                if (lane % 2 == 0) row_factors[lane / 2] = shrink;
                __syncwarp();
                scale_rows(places, row_factors, sums);
            }
        }
        if (key + WMMA_KEYS < seen) staged.fetch(k, key + WMMA_KEYS, f.shape);
        __syncthreads();
        if (key < warp_seen)
            add_weighted_tiles<D, WMMA_KEYS / 16, 2>(reinterpret_cast<bfloat16 *>(scores), values,
                                                     sums);
        if (key + WMMA_KEYS < seen) staged.put(k, key + WMMA_KEYS, f.shape, keys);
    }
    __syncwarp();
    if (lane % 2 == 0) row_factors[lane / 2] = softmax.inverse();
    __syncwarp();
    scale_rows(places, row_factors, sums);
    write_tiles<D, WMMA_KEYS>(sums, 1.0f, scores, query_rows(f.y, f.shape, part), warp_query,
                              f.shape);
    if (lane % 2 == 0) f.write_log_sum(part, query, softmax);
}

template <int D>
void launch_wmma(const Forward<bfloat16> &f, const Attention *shape, cudaStream_t stream) {
    int tiles = (int)ceil_divide(shape->max_q_length, WMMA_QUERIES);
    unsigned blocks = attention_blocks(tiles, shape->heads, shape->num_segments);
    if (shape->relative.vertical) {
        allow_shared(attend_wmma<D, true>, wmma_shared<D>());
        LAUNCH((attend_wmma<D, true>), blocks, WMMA_THREADS, wmma_shared<D>(), stream, f, tiles);
    } else {
        allow_shared(attend_wmma<D, false>, wmma_shared<D>());
        LAUNCH((attend_wmma<D, false>), blocks, WMMA_THREADS, wmma_shared<D>(), stream, f, tiles);
    }
}

// ---- the table

template <typename T>
void launch(const Forward<T> &f, const Attention *shape, cudaStream_t stream) {
    if constexpr (std::is_same_v<T, bfloat16>) {
        if (shape->head_dim <= WMMA_MAX_HEAD_DIM)
            WITH_WMMA_WIDTH(shape->head_dim, D, launch_wmma<D>(f, shape, stream));
        else
            launch_fma<T, FMA_WIDE>(f, shape, stream);
    } else if (shape->head_dim <= FMA_SLICE) {
        launch_fma<T, 1>(f, shape, stream);
    } else {
        launch_fma<T, FMA_WIDE>(f, shape, stream);
    }
}

/// So few queries are bound by reading the keys.
enum { FEW_QUERIES = 4 };

void attention(const Tensor *q, const Tensor *k, const Tensor *v, const Attention *shape, Tensor *y,
               Tensor *log_sum_exp) {
    zero_unless_covered(y, shape, 1);
    if (shape->max_q_length == 0) return;
    if (shape->max_q_length <= FEW_QUERIES && !shape->relative.vertical) {
        attention_few_queries(q, k, v, shape, y, log_sum_exp);
        return;
    }
    WITH_TYPE(q->dtype, T, launch(Forward<T>(q, k, v, shape, y, log_sum_exp), shape, stream_of(y)));
}

} // namespace

void fill_attention(Kernels *table) {
    table->attention = attention;
    table->attention_gradient = attention_gradient_cuda;
    table->attention_rows = attention_rows_cuda;
}
