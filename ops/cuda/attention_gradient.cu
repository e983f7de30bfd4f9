// Backward of attention, in tiles as forward. With P the softmax weights and delta = rowsum(grad_y
// * y):
//
//   grad_v = P^T grad_y     dS = P * (grad_y v^T - delta)     grad_q = scale dS k     grad_k =
//                           scale dS^T q
//
// P comes back from the scores and the log of the sum of their exponentials. All three are one
// scheme: a block owns rows of an output, goes over the rows at the other side (for keys: of every
// query head of the group), makes a tile of P or dS, and adds the rows it weighs; on tensor cores
// the gradients of keys and values are made together. What is computed more than once so needs no
// atomics, and each output's bits do not depend on which others are asked for.
#include "ops/cuda/attention_gradient.h"

namespace {

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

/// The block's part: of queries' heads, or of keys' heads with the first query head of the group.
__device__ __forceinline__ AttentionPart gradient_block(const AttentionShape &shape, bool keys,
                                                        int tiles) {
    AttentionPart part = attention_block(shape, keys ? shape.kv_heads : shape.heads, tiles);
    if (keys) begin_with_group(shape, part);
    return part;
}

// ---- float32 arithmetic

/// A block: 64 rows of one head of the output; blocks along y: its columns.
template <typename T, int SLICES>
__global__ void __launch_bounds__(FMA_THREADS)
    gradient_fma(Backward<T> g, Output output, int tiles) {
    SHARED_ARRAY(float, space, FMA_SPACE);
    SHARED_ARRAY(float, weights, FMA_WEIGHTS);
    SHARED_ARRAY(QueryNumbers, numbers, FMA_TILE);
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
            load_numbers(g, part, keys ? other : first, FMA_TILE, numbers);
            FmaScores scores, grads;
            product_of_rows(sides.own, first, sides.other, other, g.shape, space, scores);
            UNROLL
            for (int i = 0; i < 16; i++) {
                int row = 4 * ty + i / 4, col = tx + 16 * (i % 4);
                float &score = scores[i / 4][i % 4];
                score =
                    numbers[keys ? col : row].weight(keys ? first + row : other + col, part.window,
                                                     score * (g.shape.scale * LOG2_E));
            }
            if (output != OF_VALUES) {
                product_of_rows(sides.own_grad, first, sides.other_grad, other, g.shape, space,
                                grads);
                UNROLL
                for (int i = 0; i < 16; i++) {
                    int query = keys ? tx + 16 * (i % 4) : 4 * ty + i / 4;
                    scores[i / 4][i % 4] *= grads[i / 4][i % 4] - numbers[query].delta;
                }
            }
            keep_weights(scores, weights);
            add_weighted_rows(weights,
                              choose_rows(output == OF_VALUES, sides.other_grad, sides.other),
                              other, sides.end, column, g.shape, space, sums);
        }
    }
    float factor = output == OF_VALUES ? 1.0f : g.shape.scale,
          factors[4] = {factor, factor, factor, factor};
    T *to = output == OF_QUERIES ? g.grad[OF_QUERIES]
            : output == OF_KEYS  ? g.grad[OF_KEYS]
                                 : g.grad[OF_VALUES]; // an index would put g in local memory
    write_sums(sums, factors,
               choose_rows(keys, key_rows(to, g.shape, part), query_rows(to, g.shape, part)), first,
               column, g.shape);
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

// ---- tensor cores

/// rows that a block goes over at a time
enum { TILE_OTHER = 32 };

/// A block's own rows and, behind them, those for grad_y v^T, on their way to shared memory.
template <int D>
__device__ __forceinline__ void stage_own(const Sides<bfloat16> &sides, int first,
                                          const AttentionShape &shape, bfloat16 *own) {
    stage_rows<D, TILE_OWN>(sides.own, first, shape, own);
    stage_rows<D, TILE_OWN>(sides.own_grad, first, shape, own + TILE_OWN * staged_pitch<D>);
}

/// Two tiles of other rows, one worked on while the other is fetched; each has rows for the scores
/// and for grad_y v^T.
template <int D> struct OtherTiles {
    bfloat16 *space;

    __device__ __forceinline__ bfloat16 *rows(int slot) const {
        return space + slot * 2 * TILE_OTHER * staged_pitch<D>;
    }
    __device__ __forceinline__ bfloat16 *grads(int slot) const {
        return rows(slot) + TILE_OTHER * staged_pitch<D>;
    }
    __device__ __forceinline__ void stage(int slot, const Sides<bfloat16> &sides, int row,
                                          const AttentionShape &shape) const {
        stage_rows<D, TILE_OTHER>(sides.other, row, shape, rows(slot));
        stage_rows<D, TILE_OTHER>(sides.other_grad, row, shape, grads(slot));
    }
    static constexpr int elements = 4 * TILE_OTHER * staged_pitch<D>;
};

template <int D> constexpr size_t gradient_shared() {
    return (2 * TILE_OWN * staged_pitch<D> + OtherTiles<D>::elements) * sizeof(bfloat16);
}

/// How many blocks of a multiprocessor should find registers.
template <int D> constexpr int query_gradient_blocks = D <= 128 ? 3 : 2;

/// grad_q. A block: 64 queries of one head, 16 a warp.
template <int D>
__global__ void __launch_bounds__(TILE_THREADS, query_gradient_blocks<D>)
    query_gradient(Backward<bfloat16> g, int tiles) {
    constexpr int pitch = staged_pitch<D>;
    DYNAMIC_SHARED(bfloat16, own);
    bfloat16 *own_grad = own + TILE_OWN * pitch;
    OtherTiles<D> other = {own_grad + TILE_OWN * pitch};
    AttentionPart part = gradient_block(g.shape, false, tiles);
    int first = part.tile * TILE_OWN, warp_row = (int)(threadIdx.x / 32) * 16;
    if (first >= part.q_length) return;
    Sides<bfloat16> sides(g, part, false, first, TILE_OWN);
    stage_own<D>(sides, first, g.shape, own);
    own += warp_row * pitch; // the warp's own from here on
    own_grad += warp_row * pitch;
    QueryNumbers numbers[2];
    UNROLL
    for (int h = 0; h < 2; h++)
        numbers[h] = query_numbers(g, part, first + warp_row + lane_row() + 8 * h);
    float scale = g.shape.scale * LOG2_E; // to units of log 2
    int warp_seen = part.visible(min(first + warp_row + 16, part.q_length) - 1);
    Tile<D / 8> sums = {};
    if (sides.begin < sides.end) other.stage(0, sides, sides.begin, g.shape);
    for (int row = sides.begin, slot = 0; row < sides.end; row += TILE_OTHER, slot ^= 1) {
        wait_for_copies();
        __syncthreads();
        if (row + TILE_OTHER < sides.end) other.stage(slot ^ 1, sides, row + TILE_OTHER, g.shape);
        if (row >= warp_seen) continue;
        Tile<TILE_OTHER / 8> weights, grads;
        products_of_tiles<D>(own, other.rows(slot), weights, own_grad, other.grads(slot), grads);
        UNROLL
        for (int i = 0; i < TILE_OTHER / 2; i++) {
            int key = row + i / 4 * 8 + lane_column() + i % 2;
            float &weight = weights[i / 4][i % 4];
            const QueryNumbers &query = numbers[i / 2 % 2];
            weight = query.weight(key, part.window, weight * scale) *
                     (grads[i / 4][i % 4] - query.delta);
        }
        add_weighted_tiles<D, 1>(weights, other.rows(slot), sums);
    }
    wait_for_copies();
    __syncthreads();
    const float factors[2] = {g.shape.scale, g.shape.scale};
    scale_tile(factors, sums);
    write_tile<D>(sums, own, query_rows(g.grad[OF_QUERIES], g.shape, part), first + warp_row,
                  g.shape);
}

/// What a block of keys makes: the widest heads' gradients do not both find registers.
enum KeyOutputs { KEYS_ALONE, VALUES_ALONE, KEYS_AND_VALUES };

/// grad_k and grad_v, of which one may not be wanted. A block: 64 keys of one head, 16 a warp.
template <int D, KeyOutputs OUTPUTS>
__global__ void __launch_bounds__(TILE_THREADS, 2) key_gradient(Backward<bfloat16> g, int tiles) {
    constexpr int pitch = staged_pitch<D>;
    constexpr bool keys = OUTPUTS != VALUES_ALONE, values = OUTPUTS != KEYS_ALONE;
    DYNAMIC_SHARED(bfloat16, own);
    SHARED_ARRAY(QueryNumbers, numbers, 2 * TILE_OTHER);
    bfloat16 *own_value = own + TILE_OWN * pitch;
    OtherTiles<D> other = {own_value + TILE_OWN * pitch};
    AttentionPart part = gradient_block(g.shape, true, tiles);
    int first = part.tile * TILE_OWN, warp_row = (int)(threadIdx.x / 32) * 16;
    if (first >= part.k_length) return;
    Sides<bfloat16> sides(g, part, true, first, TILE_OWN);
    stage_own<D>(sides, first, g.shape, own);
    own += warp_row * pitch; // the warp's own from here on
    own_value += warp_row * pitch;
    float scale = g.shape.scale * LOG2_E; // to units of log 2
    Tile<keys ? D / 8 : 1> key_sums = {};
    Tile<values ? D / 8 : 1> value_sums = {};
    int first_head = part.head, key = first + warp_row + lane_row();
    // That sees one of the warp's keys.
    int first_query = part.causal ? first + warp_row - (part.k_length - part.q_length) : 0;
    for (int member = 0; member < g.shape.heads / g.shape.kv_heads; member++) {
        part.head = first_head + member;
        sides = Sides<bfloat16>(g, part, true, first, TILE_OWN);
        __syncthreads();
        if (sides.begin < sides.end) {
            other.stage(0, sides, sides.begin, g.shape);
            load_numbers(g, part, sides.begin, TILE_OTHER, numbers);
        }
        for (int row = sides.begin, slot = 0; row < sides.end; row += TILE_OTHER, slot ^= 1) {
            wait_for_copies();
            __syncthreads();
            int next = row + TILE_OTHER;
            if (next < sides.end) {
                other.stage(slot ^ 1, sides, next, g.shape);
                load_numbers(g, part, next, TILE_OTHER, numbers + (slot ^ 1) * TILE_OTHER);
            }
            if (next <= first_query) continue;
            const QueryNumbers *queries = numbers + slot * TILE_OTHER;
            Tile<TILE_OTHER / 8> weights, grads;
            if constexpr (keys)
                products_of_tiles<D>(own, other.rows(slot), weights, own_value, other.grads(slot),
                                     grads);
            else
                product_of_tiles<D>(own, other.rows(slot), weights);
            UNROLL
            for (int i = 0; i < TILE_OTHER / 2; i++) {
                const QueryNumbers &query = queries[i / 4 * 8 + lane_column() + i % 2];
                float &weight = weights[i / 4][i % 4];
                weight = query.weight(key + i / 2 % 2 * 8, part.window, weight * scale);
                if (keys) grads[i / 4][i % 4] = weight * (grads[i / 4][i % 4] - query.delta);
            }
            if constexpr (keys) add_weighted_tiles<D, 1>(grads, other.rows(slot), key_sums);
            if constexpr (values) add_weighted_tiles<D, 2>(weights, other.grads(slot), value_sums);
        }
    }
    wait_for_copies();
    __syncthreads();
    part.head = first_head;
    if constexpr (keys) {
        const float factors[2] = {g.shape.scale, g.shape.scale};
        scale_tile(factors, key_sums);
        if (g.grad[OF_KEYS])
            write_tile<D>(key_sums, own, key_rows(g.grad[OF_KEYS], g.shape, part), first + warp_row,
                          g.shape);
    }
    if constexpr (values) {
        if (g.grad[OF_VALUES])
            write_tile<D>(value_sums, own_value, key_rows(g.grad[OF_VALUES], g.shape, part),
                          first + warp_row, g.shape);
    }
}

template <int D, KeyOutputs OUTPUTS>
void launch_keys(const Backward<bfloat16> &g, const Attention *shape, cudaStream_t stream) {
    int tiles = (int)ceil_divide(shape->max_k_length, TILE_OWN);
    unsigned blocks = attention_blocks(tiles, shape->kv_heads, shape->num_segments);
    allow_shared(key_gradient<D, OUTPUTS>, gradient_shared<D>());
    LAUNCH((key_gradient<D, OUTPUTS>), blocks, TILE_THREADS, gradient_shared<D>(), stream, g,
           tiles);
}

template <int D>
void launch_tiles(const Backward<bfloat16> &g, const Attention *shape, cudaStream_t stream) {
    if (g.grad[OF_QUERIES] && shape->max_q_length > 0) {
        int tiles = (int)ceil_divide(shape->max_q_length, TILE_OWN);
        unsigned blocks = attention_blocks(tiles, shape->heads, shape->num_segments);
        allow_shared(query_gradient<D>, gradient_shared<D>());
        LAUNCH(query_gradient<D>, blocks, TILE_THREADS, gradient_shared<D>(), stream, g, tiles);
    }
    if (shape->max_k_length == 0) return;
    if constexpr (D > 128) {
        if (g.grad[OF_KEYS]) launch_keys<D, KEYS_ALONE>(g, shape, stream);
        if (g.grad[OF_VALUES]) launch_keys<D, VALUES_ALONE>(g, shape, stream);
    } else if (g.grad[OF_KEYS] || g.grad[OF_VALUES]) {
        launch_keys<D, KEYS_AND_VALUES>(g, shape, stream);
    }
}

template <typename T>
void launch(const Backward<T> &g, const Attention *shape, const Tensor *like) {
    cudaStream_t stream = stream_of(like);
    if constexpr (std::is_same_v<T, bfloat16>) {
        if (attention_gradient_by_warpgroups(g, shape, like)) return;
        if (shape->head_dim <= TILE_MAX_HEAD_DIM)
            WITH_TILE_WIDTH(shape->head_dim, D, launch_tiles<D>(g, shape, stream));
        else
            launch_fma<T, FMA_WIDE>(g, shape, stream);
    } else if (shape->head_dim <= FMA_SLICE) {
        launch_fma<T, 1>(g, shape, stream);
    } else {
        launch_fma<T, FMA_WIDE>(g, shape, stream);
    }
}

void attention_gradient(const Tensor *q, const Tensor *k, const Tensor *v, const Tensor *y,
                        const Tensor *log_sum_exp, const Tensor *grad_y, const Attention *shape,
                        Tensor *grad_q, Tensor *grad_k, Tensor *grad_v) {
    zero_unless_covered(grad_q, shape->q_rows);
    zero_unless_covered(grad_k, shape->k_rows);
    zero_unless_covered(grad_v, shape->k_rows);
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
        if (g.rows > 0) compute_delta(g, q);
        launch(g, shape, q);
    });
}

} // namespace

FILL_FAMILY(attention_gradient)
