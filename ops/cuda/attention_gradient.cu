// Backward of attention, in tiles as forward. With P the softmax weights and delta = rowsum(grad_y * y):
//
//   grad_v = P^T grad_y     dS = P * (grad_y v^T - delta)     grad_q = scale dS k     grad_k = scale dS^T q
//
// P comes back from the scores and the log of the sum of their exponentials. All three are one scheme: a block owns rows of an output, goes
// over the rows at the other side (for keys: of every query head of the group), makes a tile of P or dS, and adds the rows it
// weighs. What is computed more than once so needs no atomics, and each output's bits do not depend on which others are asked for.
#include "ops/cuda/attention_wmma.h"

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

// ---- what a tile is made of

/// Of one query.
struct alignas(16) QueryNumbers {
    float log_sum_exp; ///< in units of log 2
    int visible;       ///< keys that it sees; 0 past the segment's end
    float delta;

    /// P of the query and a key, from its score in units of log 2.
    __device__ __forceinline__ float weight(int key, int window, float score) const {
        return in_window(key, visible, window) ? exp2f(score - log_sum_exp) : 0.0f;
    }
};

/// Of `count` queries from `first` on. No barrier.
template <typename T>
__device__ __forceinline__ void load_numbers(const Backward<T> &g, const AttentionPart &part,
                                             int first, int count, QueryNumbers *numbers) {
    int query = first + (int)threadIdx.x;
    if ((int)threadIdx.x >= count) return;
    QueryNumbers own = {0.0f, 0, 0.0f};
    if (query < part.q_length) {
        int64_t at = (part.q_row + query) * g.shape.heads + part.head;
        own = {g.log_sum_exp[at] * LOG2_E, part.visible(query), g.delta[at]};
    }
    numbers[threadIdx.x] = own;
}

/// Field by field: a choice of whole structures goes by way of local memory.
template <typename T>
__device__ __forceinline__ HeadRows<T> choose_rows(bool first, const HeadRows<T> &a,
                                                   const HeadRows<T> &b) {
    return {first ? a.data : b.data, first ? a.stride : b.stride, first ? a.length : b.length};
}

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
        own = choose_rows(keys, k, q);
        own_grad = choose_rows(keys, v, grad);
        other = choose_rows(keys, q, k);
        other_grad = choose_rows(keys, grad, v);
        int before = part.causal ? first - (part.k_length - part.q_length) : 0;
        // Of keys: from the first query that sees the first of them to the last that sees the last.
        begin = !keys ? part.hidden(first) : before > 0 ? before : 0;
        end = keys ? part.q_length : part.visible(min(first + count, part.q_length) - 1);
        if (keys && part.window < part.k_length)
            end = min(end, before + min(count, part.k_length - first) - 1 + part.window);
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

enum { GRADIENT_WARPS = 4, GRADIENT_THREADS = 32 * GRADIENT_WARPS };
enum { GRADIENT_OWN = 16 * GRADIENT_WARPS, GRADIENT_OTHER = 32, GRADIENT_TILES = 2 };

template <int D> constexpr size_t gradient_shared() {
    return 2 * (GRADIENT_OWN + GRADIENT_OTHER) * staged_pitch<D> * sizeof(bfloat16) +
           GRADIENT_WARPS * score_floats<GRADIENT_OTHER> * sizeof(float);
}

/// A warp's scores to its 16 rows of P.
template <bool KEYS>
__device__ __forceinline__ void weigh_tile(const QueryNumbers *numbers, const SumPlaces &places,
                                           int own, int first_key, int window, float scale,
                                           SumFragment (&scores)[GRADIENT_TILES]) {
    UNROLL
    for (int t = 0; t < GRADIENT_TILES; t++) {
        UNROLL
        for (int i = 0; i < SumFragment::num_elements; i++) {
            int row = own + places.row(i), col = 16 * t + places.column(i);
            const QueryNumbers &query = numbers[KEYS ? col : row];
            scores[t].x[i] =
                query.weight(first_key + (KEYS ? row : col), window, scores[t].x[i] * scale);
        }
    }
}

/// P to dS.
template <bool KEYS>
__device__ __forceinline__ void weigh_gradients(const QueryNumbers *numbers,
                                                const SumPlaces &places, int own,
                                                const SumFragment (&grads)[GRADIENT_TILES],
                                                SumFragment (&weights)[GRADIENT_TILES]) {
    UNROLL
    for (int t = 0; t < GRADIENT_TILES; t++) {
        UNROLL
        for (int i = 0; i < SumFragment::num_elements; i++) {
            int query = KEYS ? 16 * t + places.column(i) : own + places.row(i);
            weights[t].x[i] *= grads[t].x[i] - numbers[query].delta;
        }
    }
}

/// sums += weights other, the weights by way of the warp's place for scores, in PARTS parts.
template <int D, int PARTS>
__device__ __forceinline__ void add_weighted(const SumFragment (&weights)[GRADIENT_TILES],
                                             float *space, const bfloat16 *other,
                                             SumFragment (&sums)[D / 16]) {
    UNROLL
    for (int t = 0; t < GRADIENT_TILES; t++)
        wmma::store_matrix_sync(space + 16 * t, weights[t], score_pitch<GRADIENT_OTHER>,
                                wmma::mem_row_major);
    __syncwarp();
    HalfRow<GRADIENT_OTHER> row(space);
    __syncwarp();
    row.template put<PARTS>(space);
    __syncwarp();
    add_weighted_tiles<D, GRADIENT_TILES, PARTS>(reinterpret_cast<bfloat16 *>(space), other, sums);
}

/// How many blocks of a multiprocessor should find registers. 0: as the compiler likes, which for the narrowest heads is four, and a spill.
template <int D> constexpr int gradient_blocks = D <= 48 ? 3 : D <= 128 ? 0 : 2;

/// A block: 64 rows of the output, 16 a warp. It goes over 32 other rows at a time, which are fetched while the warps multiply.
template <int D, Output OUTPUT>
__global__ void __launch_bounds__(GRADIENT_THREADS, gradient_blocks<D>)
    gradient_wmma(Backward<bfloat16> g, int tiles) {
    constexpr bool keys = OUTPUT != OF_QUERIES;
    constexpr int pitch = staged_pitch<D>;
    DYNAMIC_SHARED(bfloat16, own);
    SHARED_ARRAY(QueryNumbers, numbers, GRADIENT_OWN);
    bfloat16 *own_grad = own + GRADIENT_OWN * pitch, *other = own_grad + GRADIENT_OWN * pitch;
    bfloat16 *other_grad = other + GRADIENT_OTHER * pitch;
    int warp = (int)threadIdx.x / 32, own_row = 16 * warp;
    float *space = reinterpret_cast<float *>(other_grad + GRADIENT_OTHER * pitch) +
                   warp * score_floats<GRADIENT_OTHER>;
    AttentionPart part = gradient_block(g.shape, keys, tiles);
    int first = part.tile * GRADIENT_OWN, length = keys ? part.k_length : part.q_length;
    if (first >= length) return;
    SumPlaces places(space);
    SumFragment sums[D / 16];
    UNROLL
    for (int d = 0; d < D / 16; d++) wmma::fill_fragment(sums[d], 0.0f);
    Sides<bfloat16> sides(g, part, keys, first, GRADIENT_OWN);
    {
        StagedRows<D, GRADIENT_OWN, GRADIENT_THREADS> staged;
        staged.fetch(sides.own, first, g.shape);
        staged.put(sides.own, first, g.shape, own);
        if (OUTPUT != OF_VALUES) {
            staged.fetch(sides.own_grad, first, g.shape);
            staged.put(sides.own_grad, first, g.shape, own_grad);
        }
    }
    if (!keys) load_numbers(g, part, first, GRADIENT_OWN, numbers);
    int first_head = part.head, members = keys ? g.shape.heads / g.shape.kv_heads : 1;
    for (int member = 0; member < members; member++) {
        part.head = first_head + member;
        sides = Sides<bfloat16>(g, part, keys, first, GRADIENT_OWN);
        StagedRows<D, GRADIENT_OTHER, GRADIENT_THREADS> staged;
        if (sides.begin < sides.end) staged.fetch(sides.other, sides.begin, g.shape);
        for (int row = sides.begin; row < sides.end; row += GRADIENT_OTHER) {
            __syncthreads();
            staged.put(sides.other, row, g.shape, other);
            if (keys) load_numbers(g, part, row, GRADIENT_OTHER, numbers);
            __syncthreads();
            staged.fetch(sides.other_grad, row, g.shape);
            SumFragment scores[GRADIENT_TILES];
            product_of_tiles<D>(own + own_row * pitch, other, scores);
            weigh_tile<keys>(numbers, places, own_row, keys ? first : row, part.window,
                             g.shape.scale * LOG2_E, scores);
            staged.put(sides.other_grad, row, g.shape, other_grad);
            __syncthreads();
            int next = row + GRADIENT_OTHER;
            if (next < sides.end) staged.fetch(sides.other, next, g.shape);
            if (OUTPUT == OF_VALUES) {
                add_weighted<D, 2>(scores, space, other_grad, sums);
            } else {
                SumFragment grads[GRADIENT_TILES];
                product_of_tiles<D>(own_grad + own_row * pitch, other_grad, grads);
                weigh_gradients<keys>(numbers, places, own_row, grads, scores);
                add_weighted<D, 1>(scores, space, other, sums);
            }
        }
    }
    part.head = first_head;
    bfloat16 *to = g.grad[OUTPUT];
    write_tiles<D, GRADIENT_OTHER>(
        sums, OUTPUT == OF_VALUES ? 1.0f : g.shape.scale, space,
        choose_rows(keys, key_rows(to, g.shape, part), query_rows(to, g.shape, part)),
        first + own_row, g.shape);
}

template <int D, Output OUTPUT>
void launch_wmma_output(const Backward<bfloat16> &g, const Attention *shape, cudaStream_t stream) {
    bool keys = OUTPUT != OF_QUERIES;
    int longest = keys ? shape->max_k_length : shape->max_q_length;
    if (!g.grad[OUTPUT] || longest == 0) return;
    int tiles = (int)ceil_divide(longest, GRADIENT_OWN);
    unsigned blocks =
        attention_blocks(tiles, keys ? shape->kv_heads : shape->heads, shape->num_segments);
    allow_shared(gradient_wmma<D, OUTPUT>, gradient_shared<D>());
    LAUNCH((gradient_wmma<D, OUTPUT>), blocks, GRADIENT_THREADS, gradient_shared<D>(), stream, g,
           tiles);
}

template <int D>
void launch_wmma(const Backward<bfloat16> &g, const Attention *shape, cudaStream_t stream) {
    launch_wmma_output<D, OF_QUERIES>(g, shape, stream);
    launch_wmma_output<D, OF_KEYS>(g, shape, stream);
    launch_wmma_output<D, OF_VALUES>(g, shape, stream);
}

template <typename T>
void launch(const Backward<T> &g, const Attention *shape, cudaStream_t stream) {
    if constexpr (std::is_same_v<T, bfloat16>) {
        if (shape->head_dim <= WMMA_MAX_HEAD_DIM)
            WITH_WMMA_WIDTH(shape->head_dim, D, launch_wmma<D>(g, shape, stream));
        else
            launch_fma<T, FMA_WIDE>(g, shape, stream);
    } else if (shape->head_dim <= FMA_SLICE) {
        launch_fma<T, 1>(g, shape, stream);
    } else {
        launch_fma<T, FMA_WIDE>(g, shape, stream);
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
        launch(g, shape, stream_of(q));
    });
}
