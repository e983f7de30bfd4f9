// Attention in tiles of queries and keys, after FlashAttention (Dao et al. 2022, arXiv 2205.14135):
// scores exist for one pair of tiles at a time, so memory grows with the length and not with its
// square. A row keeps its greatest score so far, the sum of exponentials under it, and the sum of
// values weighted by them; what was summed under a smaller one shrinks when a greater score comes.
#include "ops/cuda/attention_softmax.h"

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

enum { TILE_KEYS = 64 };

template <int D> constexpr size_t tile_shared() {
    return (TILE_OWN + 2 * TILE_KEYS) * staged_pitch<D> * sizeof(bfloat16);
}

/// A block: 64 queries of one head, 16 a warp. Values are fetched while keys are worked on, and the
/// next keys while values are.
template <int D, bool RELATIVE>
__global__ void __launch_bounds__(TILE_THREADS, 2) attend_tiles(Forward<bfloat16> f, int tiles) {
    DYNAMIC_SHARED(bfloat16, queries);
    bfloat16 *keys = queries + TILE_OWN * staged_pitch<D>;
    bfloat16 *values = keys + TILE_KEYS * staged_pitch<D>;
    AttentionPart part = attention_block(f.shape, f.shape.heads, tiles);
    int first = part.tile * TILE_OWN, own = (int)(threadIdx.x / 32) * 16, query = first + own;
    if (first >= part.q_length) return;
    HeadRows<const bfloat16> k = key_rows(f.k, f.shape, part), v = key_rows(f.v, f.shape, part);
    int begin = part.hidden(first);
    int seen = part.visible(min(first + TILE_OWN, part.q_length) - 1);
    stage_rows<D, TILE_OWN>(query_rows(f.q, f.shape, part), first, f.shape, queries);
    stage_rows<D, TILE_KEYS>(k, begin, f.shape, keys);
    queries += own * staged_pitch<D>; // the warp's own from here on
    int warp_seen = query < part.q_length ? part.visible(min(query + 16, part.q_length) - 1) : 0;
    LaneRows<RELATIVE> rows(f.shape, part, query + lane_row());
    Tile<D / 8> sums = {};
    for (int key = begin; key < seen; key += TILE_KEYS) {
        Tile<TILE_KEYS / 8> scores;
        wait_for_copies();
        __syncthreads();
        stage_rows<D, TILE_KEYS>(v, key, f.shape, values);
        if (key < warp_seen) {
            float shrink[2];
            product_of_tiles<D>(queries, keys, scores);
            if (__all_sync(0xffffffffu, rows.see_all(key, TILE_KEYS, part.window)))
                softmax_tile<false>(key, part.window, rows, scores, shrink);
            else
                softmax_tile<true>(key, part.window, rows, scores, shrink);
            if (__any_sync(0xffffffffu, shrink[0] != 1.0f || shrink[1] != 1.0f))
                scale_tile(shrink, sums);
        }
        wait_for_copies();
        __syncthreads();
        if (key + TILE_KEYS < seen) stage_rows<D, TILE_KEYS>(k, key + TILE_KEYS, f.shape, keys);
        if (key < warp_seen) add_weighted_tiles<D, 2>(scores, values, sums);
    }
    wait_for_copies(); // of queries, where no key is seen
    __syncthreads();
    float inverse[2];
    finish_rows(f, part, query + lane_row(), rows, inverse);
    scale_tile(inverse, sums);
    write_tile<D>(sums, queries, query_rows(f.y, f.shape, part), query, f.shape);
}

template <int D, bool RELATIVE>
void launch_tiles(const Forward<bfloat16> &f, const Attention *shape, cudaStream_t stream) {
    int tiles = (int)ceil_divide(shape->max_q_length, TILE_OWN);
    unsigned blocks = attention_blocks(tiles, shape->heads, shape->num_segments);
    allow_shared(attend_tiles<D, RELATIVE>, tile_shared<D>());
    LAUNCH((attend_tiles<D, RELATIVE>), blocks, TILE_THREADS, tile_shared<D>(), stream, f, tiles);
}

// ---- tensor cores, heads of up to 512 (the VAE's): sums of a row are two warps', which both make
// its scores

enum {
    WIDE_HEAD_DIM = 512,
    /// of a warp's sums
    WIDE_COLUMNS = WIDE_HEAD_DIM / 2,
    WIDE_THREADS = 2 * TILE_THREADS,
    WIDE_KEYS = 32,
    WIDE_PITCH = staged_pitch<WIDE_HEAD_DIM>,
};
/// 97.5 KiB, of 99 that every GPU from sm_80 on has for a block.
constexpr size_t WIDE_SHARED = (TILE_OWN + WIDE_KEYS) * WIDE_PITCH * sizeof(bfloat16);

/// A block: 64 queries of one head. Keys and values take turns in one place.
__global__ void __launch_bounds__(WIDE_THREADS, 1) attend_wide(Forward<bfloat16> f, int tiles) {
    DYNAMIC_SHARED(bfloat16, queries);
    bfloat16 *others = queries + TILE_OWN * WIDE_PITCH;
    AttentionPart part = attention_block(f.shape, f.shape.heads, tiles);
    int warp = (int)(threadIdx.x / 32), own = warp % TILE_WARPS * 16;
    int first = part.tile * TILE_OWN, query = first + own,
        column = warp / TILE_WARPS * WIDE_COLUMNS;
    if (first >= part.q_length) return;
    HeadRows<const bfloat16> k = key_rows(f.k, f.shape, part), v = key_rows(f.v, f.shape, part);
    int seen = part.visible(min(first + TILE_OWN, part.q_length) - 1);
    stage_rows<WIDE_HEAD_DIM, TILE_OWN, WIDE_THREADS>(query_rows(f.q, f.shape, part), first,
                                                      f.shape, queries);
    queries += own * WIDE_PITCH;
    LaneRows<false> rows(f.shape, part, query + lane_row());
    Tile<WIDE_COLUMNS / 8> sums = {};
    for (int key = part.hidden(first); key < seen; key += WIDE_KEYS) {
        stage_rows<WIDE_HEAD_DIM, WIDE_KEYS, WIDE_THREADS>(k, key, f.shape, others);
        wait_for_copies();
        __syncthreads();
        Tile<WIDE_KEYS / 8> scores;
        float shrink[2];
        product_of_tiles<WIDE_HEAD_DIM>(queries, others, scores);
        __syncthreads();
        stage_rows<WIDE_HEAD_DIM, WIDE_KEYS, WIDE_THREADS>(v, key, f.shape, others);
        softmax_tile<true>(key, part.window, rows, scores, shrink);
        if (__any_sync(0xffffffffu, shrink[0] != 1.0f || shrink[1] != 1.0f))
            scale_tile(shrink, sums);
        wait_for_copies();
        __syncthreads();
        add_weighted_tiles<WIDE_COLUMNS, 2, WIDE_PITCH>(scores, others + column, sums);
        __syncthreads();
    }
    wait_for_copies(); // of queries, where no key is seen
    __syncthreads();
    float inverse[2];
    finish_rows(f, part, query + lane_row(), rows, inverse);
    scale_tile(inverse, sums);
    write_tile<WIDE_COLUMNS, WIDE_PITCH>(sums, queries + column, query_rows(f.y, f.shape, part),
                                         query, f.shape, column);
}

void launch_wide(const Forward<bfloat16> &f, const Attention *shape, cudaStream_t stream) {
    int tiles = (int)ceil_divide(shape->max_q_length, TILE_OWN);
    unsigned blocks = attention_blocks(tiles, shape->heads, shape->num_segments);
    allow_shared(attend_wide, WIDE_SHARED);
    LAUNCH(attend_wide, blocks, WIDE_THREADS, WIDE_SHARED, stream, f, tiles);
}

// ---- the table

template <typename T>
void launch(const Forward<T> &f, const Attention *shape, cudaStream_t stream) {
    if constexpr (std::is_same_v<T, bfloat16>) {
        if (shape->head_dim <= TILE_MAX_HEAD_DIM && shape->relative.vertical)
            WITH_TILE_WIDTH(shape->head_dim, D, launch_tiles<D, true>(f, shape, stream));
        else if (shape->head_dim <= TILE_MAX_HEAD_DIM)
            WITH_TILE_WIDTH(shape->head_dim, D, launch_tiles<D, false>(f, shape, stream));
        else if (shape->head_dim <= WIDE_HEAD_DIM && !shape->relative.vertical)
            launch_wide(f, shape, stream);
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
    zero_unless_covered(y, shape->q_rows);
    if (shape->max_q_length == 0) return;
    if (shape->max_q_length <= FEW_QUERIES && !shape->relative.vertical) {
        attention_few_queries(q, k, v, shape, y, log_sum_exp);
        return;
    }
    if (attention_by_warpgroups(q, k, v, shape, y, log_sum_exp)) return;
    WITH_TYPE(q->dtype, T, launch(Forward<T>(q, k, v, shape, y, log_sum_exp), shape, stream_of(y)));
}

} // namespace

FILL_FAMILY(attention)
