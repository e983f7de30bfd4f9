/// Inside the CUDA kernels only: what the forward and the backward pass of attention share: the
/// view of one segment and head, and the products of tiles in float32 arithmetic.
#pragma once
#include "ops/cuda/reduce.h"

/// A loop that is unrolled no more than n times, or all its loads would come first, in registers
/// that are needed elsewhere.
#ifdef __CUDACC__
#define PRAGMA_TEXT(text) _Pragma(#text)
#define UNROLL_BY(n) PRAGMA_TEXT(unroll n)
#else
#define UNROLL_BY(n)
#endif

/// exp(x) is computed as exp2(x LOG2_E): scores are scaled by it once.
static constexpr float LOG2_E = 1.4426950408889634f, LN_2 = 0.6931471805599453f;

/// 2^x; 0 where that is denormal, which exp2f() takes instructions for.
static __device__ __forceinline__ float power_of_two(float x) {
#ifdef __CUDACC__
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
#else
    return exp2f(x);
#endif
}

/// What every kernel knows of a call.
struct AttentionShape {
    /// on the device
    const int32_t *segments;
    int heads, kv_heads, dim;
    int num_segments;
    float scale;
    bool causal;
    /// whether every head's rows can be moved 16 bytes at a time
    bool packs;
    /// INT32_MAX: none
    int window;
    /// relative positions, or NULL
    const float *vertical, *horizontal;
    /// of their grid
    int height, width;
};

template <typename T, typename... Pointer>
static inline AttentionShape attention_shape(const Attention *shape, Pointer... tensors) {
    return {data_of<int32_t>(shape->segments),
            shape->heads,
            shape->kv_heads,
            shape->head_dim,
            shape->num_segments,
            shape->scale,
            shape->causal,
            shape->head_dim % pack_size<T> == 0 && all_aligned(tensors...),
            shape->window ? shape->window : INT32_MAX,
            data_or_null<float>(shape->relative.vertical),
            data_or_null<float>(shape->relative.horizontal),
            shape->relative.height,
            shape->relative.width};
}

/// A grid of one dimension: tiles of each head of each segment. Segments shorter than the longest
/// leave blocks without work.
static inline unsigned attention_blocks(int64_t tiles, int64_t heads, int64_t segments) {
    int64_t blocks = tiles * heads * segments;
    CHECK(blocks <= INT32_MAX, "attention: %lld tiles", (long long)blocks);
    return (unsigned)blocks;
}

/// One segment and one head of it.
struct AttentionPart {
    int64_t q_row, k_row;
    int q_length, k_length;
    int head, kv_head;
    bool causal;
    /// of the block
    int tile;
    int window;

    /// How many keys the query sees.
    __device__ __forceinline__ int visible(int query) const {
        if (!causal) return k_length;
        int count = query + 1 + k_length - q_length;
        return count < 0 ? 0 : count < k_length ? count : k_length;
    }
    /// How many of these lie before its window.
    __device__ __forceinline__ int hidden(int query) const {
        return max(visible(query) - window, 0);
    }
};

/// Whether a key is among the last `window` of the first `visible`; both may be counted from any
/// key on.
static __device__ __forceinline__ bool in_window(int key, int visible, int window) {
    return (unsigned)(visible - 1 - key) < (unsigned)window;
}

static __device__ __forceinline__ AttentionPart attention_part(const AttentionShape &shape,
                                                               int segment, int head) {
    const int32_t *s = shape.segments + 4 * (int64_t)segment;
    return {s[0],         s[2], s[1],        s[3], head, head / (shape.heads / shape.kv_heads),
            shape.causal, 0,    shape.window};
}

/// What the block works on, in a grid of attention_blocks(): segments, in each its heads, in each
/// its tiles. The last come first: under a causal mask they have most to do.
static __device__ __forceinline__ AttentionPart attention_block(const AttentionShape &shape,
                                                                int heads, int tiles) {
    int block = (int)blockIdx.x, head = block / tiles % heads;
    AttentionPart part = attention_part(shape, block / tiles / heads, head);
    part.tile = tiles - 1 - block % tiles;
    return part;
}

/// Rows of one head: row r begins at data + r * stride.
template <typename T> struct HeadRows {
    T *data;
    int stride, length;

    __device__ __forceinline__ T *row(int r) const { return data + (int64_t)r * stride; }
};

template <typename T>
static __device__ __forceinline__ HeadRows<T> query_rows(T *x, const AttentionShape &shape,
                                                         const AttentionPart &part) {
    int stride = shape.heads * shape.dim;
    return {x + part.q_row * stride + part.head * shape.dim, stride, part.q_length};
}

template <typename T>
static __device__ __forceinline__ HeadRows<T> key_rows(T *x, const AttentionShape &shape,
                                                       const AttentionPart &part) {
    int stride = shape.kv_heads * shape.dim;
    return {x + part.k_row * stride + part.kv_head * shape.dim, stride, part.k_length};
}

/// One query's scores in units of log 2, from products with keys: times scale, and with what
/// relative positions add.
template <bool RELATIVE> struct ScoreRow {
    float scale;

    __device__ __forceinline__ ScoreRow(const AttentionShape &shape, const AttentionPart &, int)
        : scale(shape.scale * LOG2_E) {}
    __device__ __forceinline__ float score(float product, int) const { return product * scale; }
};

template <> struct ScoreRow<true> {
    float scale;
    /// at the query's own place
    const float *vertical, *horizontal;
    int width;

    __device__ __forceinline__ ScoreRow(const AttentionShape &shape, const AttentionPart &part,
                                        int query)
        : scale(shape.scale * LOG2_E), width(shape.width) {
        query = min(query, part.q_length - 1);
        int64_t at = (part.q_row + query) * shape.heads + part.head;
        vertical = shape.vertical + at * (2 * shape.height - 1) + shape.height - 1 - query / width;
        horizontal = shape.horizontal + at * (2 * width - 1) + width - 1 - query % width;
    }
    __device__ __forceinline__ float score(float product, int key) const {
        return fmaf(product, scale, (vertical[key / width] + horizontal[key % width]) * LOG2_E);
    }
};

/// A row's softmax so far, in units of log 2.
struct RunningSoftmax {
    float highest = -INFINITY, total = 0.0f;

    /// Takes in a row's new greatest score; returns what sums gathered so far shrink by.
    __device__ __forceinline__ float raise(float maximum) {
        float before = highest;
        highest = fmaxf(highest, maximum);
        float shrink = power_of_two(before - shift());
        total *= shrink;
        return shrink;
    }
    /// A score's weight; 0 for one that is not seen (-INFINITY).
    __device__ __forceinline__ float weight(float score) const {
        return power_of_two(score - shift());
    }
    __device__ __forceinline__ float inverse() const { return total > 0.0f ? 1.0f / total : 0.0f; }
    __device__ __forceinline__ float log_sum() const {
        return total > 0.0f ? highest * LN_2 + logf(total) : -INFINITY;
    }

  private:
    __device__ __forceinline__ float shift() const { return highest == -INFINITY ? 0.0f : highest; }
};

/// A call of attention().
template <typename T> struct Forward {
    AttentionShape shape;
    const T *q, *k, *v;
    T *y;
    /// or NULL
    float *log_sum_exp;

    Forward(const Tensor *q_, const Tensor *k_, const Tensor *v_, const Attention *shape_,
            Tensor *y_, Tensor *log_sum_exp_)
        : q(data_of<T>(q_)), k(data_of<T>(k_)), v(data_of<T>(v_)), y(data_of<T>(y_)),
          log_sum_exp(data_or_null<float>(log_sum_exp_)) {
        shape = attention_shape<T>(shape_, q, k, v, y);
    }
    __device__ __forceinline__ void write_log_sum(const AttentionPart &part, int query,
                                                  const RunningSoftmax &softmax) const {
        if (log_sum_exp && query < part.q_length)
            log_sum_exp[(part.q_row + query) * shape.heads + part.head] = softmax.log_sum();
    }
};

/// Zeroes x (NULL allowed), of `rows` rows that segments cover, if these may leave out some of its
/// rows.
static inline void zero_unless_covered(Tensor *x, int64_t rows) {
    if (x && rows < tensor_rows(x))
        cuda_check(cudaMemsetAsync(x->data, 0, (size_t)tensor_numel(x) * dtype_size(x->dtype),
                                   stream_of(x)),
                   "zeroing a result");
}

// ---- products of tiles, in float32 arithmetic: for float32, and for heads too wide for the tensor
// cores' kernels.
//
// A block of 16 x 16 threads holds a tile of 64 x 64 scores: thread (ty, tx) rows 4 ty + i and
// columns tx + 16 j. The tile's product with 64 rows of values has the same rows and, of each slice
// of 128 columns, columns 4 tx + 64 c + 0..3.

enum {
    FMA_THREADS = 256,
    FMA_TILE = 64,
    /// columns of a head at a time, for scores
    FMA_CHUNK = 32,
    /// 16-byte reads of 8 rows hit every bank once
    FMA_CHUNK_PITCH = FMA_CHUNK + 4,
    FMA_WEIGHT_PITCH = FMA_TILE + 4,
    /// columns of a head at a time, for sums
    FMA_SLICE = 128,
    FMA_SLICE_ROWS = 32,
    /// floats of shared memory for what is staged
    FMA_SPACE = 2 * FMA_TILE * FMA_CHUNK_PITCH,
    /// and for a tile of weights
    FMA_WEIGHTS = FMA_TILE * FMA_WEIGHT_PITCH,
};

/// Scores of a tile, or sums of a slice.
typedef float FmaScores[4][4];
typedef float FmaSums[4][2][4];

/// Stages rows `first` and on, columns `column` and on, as floats; zeros where the head ends.
template <int ROWS, int COLUMNS, int PITCH, typename T>
static __device__ __forceinline__ void stage_floats(const HeadRows<const T> &from, int first,
                                                    int column, const AttentionShape &shape,
                                                    float *to) {
    constexpr int N = pack_size<T>, across = COLUMNS / N;
    static_assert(ROWS * across % FMA_THREADS == 0, "every thread moves as much");
    UNROLL_BY(2)
    for (int i = 0; i < ROWS * across / FMA_THREADS; i++) {
        int at = i * FMA_THREADS + (int)threadIdx.x, row = at / across, c = at % across * N;
        float values[N] = {};
        if (first + row < from.length && column + c < shape.dim) {
            const T *source = from.row(first + row) + column + c;
            if (shape.packs)
                load_pack<N>(source, values);
            else
                for (int j = 0; j < N; j++)
                    values[j] = column + c + j < shape.dim ? to_float(source[j]) : 0.0f;
        }
        UNROLL
        for (int j = 0; j < N; j += 4)
            *reinterpret_cast<Pack<float, 4> *>(to + row * PITCH + c + j) = {
                {values[j], values[j + 1], values[j + 2], values[j + 3]}};
    }
}

static __device__ __forceinline__ Pack<float, 4> four_floats(const float *from) {
    return *reinterpret_cast<const Pack<float, 4> *>(from);
}

/// scores = a b^T for 64 rows of a and 64 of b. Begins with a barrier, so `space` may still be in
/// use before.
template <typename T>
static __device__ __forceinline__ void product_of_rows(const HeadRows<const T> &a, int a_first,
                                                       const HeadRows<const T> &b, int b_first,
                                                       const AttentionShape &shape, float *space,
                                                       FmaScores &scores) {
    int tx = (int)threadIdx.x % 16, ty = (int)threadIdx.x / 16;
    float *a_chunk = space, *b_chunk = space + FMA_TILE * FMA_CHUNK_PITCH;
    for (int i = 0; i < 4; i++)
        for (int j = 0; j < 4; j++) scores[i][j] = 0.0f;
    for (int column = 0; column < shape.dim; column += FMA_CHUNK) {
        __syncthreads();
        stage_floats<FMA_TILE, FMA_CHUNK, FMA_CHUNK_PITCH>(a, a_first, column, shape, a_chunk);
        stage_floats<FMA_TILE, FMA_CHUNK, FMA_CHUNK_PITCH>(b, b_first, column, shape, b_chunk);
        __syncthreads();
        UNROLL_BY(1)
        for (int d = 0; d < FMA_CHUNK; d += 4) {
            Pack<float, 4> from_a[4], from_b[4];
            UNROLL
            for (int i = 0; i < 4; i++)
                from_a[i] = four_floats(a_chunk + (4 * ty + i) * FMA_CHUNK_PITCH + d);
            UNROLL
            for (int j = 0; j < 4; j++)
                from_b[j] = four_floats(b_chunk + (tx + 16 * j) * FMA_CHUNK_PITCH + d);
            UNROLL
            for (int n = 0; n < 64; n++) {
                int e = n / 16, i = n / 4 % 4, j = n % 4;
                scores[i][j] = fmaf(from_a[i].values[e], from_b[j].values[e], scores[i][j]);
            }
        }
    }
}

/// Writes a thread's weights for add_weighted_rows(); no barrier.
static __device__ __forceinline__ void keep_weights(const FmaScores &scores, float *weights) {
    int tx = (int)threadIdx.x % 16, ty = (int)threadIdx.x / 16;
    UNROLL
    for (int n = 0; n < 16; n++)
        weights[(4 * ty + n / 4) * FMA_WEIGHT_PITCH + tx + 16 * (n % 4)] = scores[n / 4][n % 4];
}

/// sums += weights b for rows `first` to `end` (at most 64) of b, columns `column` and on. Begins
/// with a barrier.
template <int SLICES, typename T>
static __device__ __forceinline__ void add_weighted_rows(const float *weights,
                                                         const HeadRows<const T> &b, int first,
                                                         int end, int column,
                                                         const AttentionShape &shape, float *space,
                                                         FmaSums (&sums)[SLICES]) {
    int tx = (int)threadIdx.x % 16, ty = (int)threadIdx.x / 16;
    UNROLL
    for (int slice = 0; slice < SLICES; slice++) {
        int from_column = column + slice * FMA_SLICE;
        if (slice > 0 && from_column >= shape.dim) continue; // the first has the barrier
        for (int row = 0; row < FMA_TILE; row += FMA_SLICE_ROWS) {
            if (row > 0 && first + row >= end) continue;
            __syncthreads();
            stage_floats<FMA_SLICE_ROWS, FMA_SLICE, FMA_SLICE>(b, first + row, from_column, shape,
                                                               space);
            __syncthreads();
            UNROLL_BY(1)
            for (int k = 0; k < FMA_SLICE_ROWS; k += 4) {
                Pack<float, 4> weight[4];
                UNROLL
                for (int i = 0; i < 4; i++)
                    weight[i] = four_floats(weights + (4 * ty + i) * FMA_WEIGHT_PITCH + row + k);
                UNROLL
                for (int n = 0; n < 8; n++) {
                    int e = n / 2, c = n % 2;
                    if (c > 0 && from_column + 64 * c >= shape.dim) continue;
                    Pack<float, 4> value =
                        four_floats(space + (k + e) * FMA_SLICE + 4 * tx + 64 * c);
                    UNROLL
                    for (int m = 0; m < 16; m++) {
                        float &sum = sums[slice][m / 4][c][m % 4];
                        sum = fmaf(weight[m / 4].values[e], value.values[m % 4], sum);
                    }
                }
            }
        }
    }
}

/// Writes a thread's sums, row i times factor[i], to rows `first` and on, columns `column` and on.
template <int SLICES, typename T>
static __device__ __forceinline__ void write_sums(const FmaSums (&sums)[SLICES],
                                                  const float (&factor)[4], const HeadRows<T> &to,
                                                  int first, int column,
                                                  const AttentionShape &shape) {
    int tx = (int)threadIdx.x % 16, ty = (int)threadIdx.x / 16;
    UNROLL
    for (int n = 0; n < 8 * SLICES; n++) {
        int slice = n / 8, i = n / 2 % 4, c = n % 2;
        int row = first + 4 * ty + i, from = column + slice * FMA_SLICE + 64 * c + 4 * tx;
        if (row >= to.length || from >= shape.dim) continue;
        float values[4];
        UNROLL
        for (int j = 0; j < 4; j++) values[j] = sums[slice][i][c][j] * factor[i];
        T *target = to.row(row) + from;
        if (shape.packs)
            store_pack<4>(target, values);
        else
            for (int j = 0; j < 4 && from + j < shape.dim; j++)
                target[j] = from_float<T>(values[j]);
    }
}

/// How many slices a block holds: several, or scores would be computed for each.
enum { FMA_WIDE = 4 };

// ---- attention_row.cu

void attention_few_queries(const Tensor *q, const Tensor *k, const Tensor *v,
                           const Attention *shape, Tensor *y, Tensor *log_sum_exp);

// ---- attention_warpgroups.cu

/// Does what attention() is to do if it has a faster way on this GPU; otherwise does nothing and
/// returns false.
bool attention_by_warpgroups(const Tensor *q, const Tensor *k, const Tensor *v,
                             const Attention *shape, Tensor *y, Tensor *log_sum_exp);
