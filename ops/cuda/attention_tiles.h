/// Inside the CUDA kernels only: attention's tiles on the tensor cores, for bfloat16 heads of up to
/// 160, after FlashAttention-2 (Dao 2023, arXiv 2307.08691): a warp has 16 rows of its own, whose
/// scores, weights and sums stay in its registers.
///
/// Products are of bfloat16 and added in float32. Softmax weights are not rounded to bfloat16 but
/// split in two, a number and what rounding it left (two products in place of one, over the same
/// loaded values), which keeps 16 bits of them. The gradients of scores are rounded: they end in
/// gradients that carry the rounding of y, which is as large.
///
/// A lane's part of a tile of 16 rows is of rows lane / 4 and lane / 4 + 8, and of every 8 columns
/// 2 (lane % 4) and the next.
#pragma once
#include "ops/cuda/attention_part.h"
#include "ops/cuda/warp_matrix.h"

enum {
    TILE_MAX_HEAD_DIM = 160,
    TILE_WARPS = 4,
    TILE_THREADS = 32 * TILE_WARPS,
    /// rows of a block
    TILE_OWN = 16 * TILE_WARPS,
};

/// A tile of 16 rows and 8 N columns.
template <int N> using Tile = float[N][4];

/// Elements from one staged row to the next: 8 rows' 16-byte parts lie in different banks.
template <int D> constexpr int staged_pitch = D + 8;

/// Calls code with D, the head's size padded to one that there are kernels for.
#define WITH_TILE_WIDTH(head_dim, D, ...) \
    do {                                  \
        if ((head_dim) <= 48) {           \
            constexpr int D = 48;         \
            __VA_ARGS__;                  \
        } else if ((head_dim) <= 64) {    \
            constexpr int D = 64;         \
            __VA_ARGS__;                  \
        } else if ((head_dim) <= 80) {    \
            constexpr int D = 80;         \
            __VA_ARGS__;                  \
        } else if ((head_dim) <= 128) {   \
            constexpr int D = 128;        \
            __VA_ARGS__;                  \
        } else {                          \
            constexpr int D = 160;        \
            __VA_ARGS__;                  \
        }                                 \
    } while (0)

static __device__ __forceinline__ unsigned lane_of_thread() { return threadIdx.x % 32; }
/// Of a lane's rows, the first.
static __device__ __forceinline__ int lane_row() { return (int)(lane_of_thread() / 4); }
/// Of a lane's columns, the first.
static __device__ __forceinline__ int lane_column() { return (int)(lane_of_thread() % 4 * 2); }

/// Rows `first` and on of a head on their way to shared memory, zeros where the head or the segment
/// ends. They are there after wait_for_copies() and a barrier.
template <int D, int ROWS, int THREADS = TILE_THREADS>
static __device__ __forceinline__ void stage_rows(const HeadRows<const bfloat16> &from, int first,
                                                  const AttentionShape &shape, bfloat16 *to) {
    constexpr unsigned team = 8;
    constexpr int step = THREADS / team; // rows at a time, by so many threads each
    static_assert(ROWS % step == 0, "every team takes as many rows");
    if (!shape.packs) {
        for (unsigned i = threadIdx.x; i < ROWS * D; i += THREADS) {
            int row = (int)(i / D), column = (int)(i % D);
            bool exists = first + row < from.length && column < shape.dim;
            to[row * staged_pitch<D> + column] =
                exists ? from.row(first + row)[column] : from_float<bfloat16>(0.0f);
        }
        return;
    }
    int lane = (int)(threadIdx.x % team);
    UNROLL
    for (int r = 0; r < ROWS / step; r++) {
        int row = (int)(threadIdx.x / team) + r * step;
        const bfloat16 *source = from.row(first + row);
        UNROLL
        for (int c = 0; c < (int)((D + 8 * team - 1) / (8 * team)); c++) {
            int column = 8 * (lane + c * (int)team);
            bool exists = first + row < from.length && column < shape.dim;
            if (D % (8 * team) == 0 || column < D)
                copy_async(to + row * staged_pitch<D> + column,
                           exists ? source + column : from.data, exists);
        }
    }
}

/// Of a lane, in products a b^T of a warp's 16 staged rows of a and 8 N of b: where its matrices
/// begin.
template <int D> struct TileProduct {
    const bfloat16 *a, *b;

    __device__ __forceinline__ TileProduct(const bfloat16 *a_, const bfloat16 *b_) {
        unsigned lane = lane_of_thread();
        a = a_ + lane % 16 * staged_pitch<D> + lane / 16 * 8;
        b = b_ + (lane / 16 * 8 + lane % 8) * staged_pitch<D> + lane / 8 % 2 * 8;
    }
    /// scores += the products of columns d to d + 15.
    template <int N> __device__ __forceinline__ void add(int d, Tile<N> &scores) const {
        unsigned left[4];
        load_matrices(left, a + d);
        UNROLL
        for (int n = 0; n < N; n += 2) {
            unsigned right[4];
            load_matrices(right, b + n * 8 * staged_pitch<D> + d);
            multiply_add(scores[n], left, right[0], right[1]);
            multiply_add(scores[n + 1], left, right[2], right[3]);
        }
    }
};

template <int N> static __device__ __forceinline__ void clear_tile(Tile<N> &tile) {
    UNROLL
    for (int i = 0; i < 4 * N; i++) tile[i / 4][i % 4] = 0.0f;
}

/// scores = a b^T
template <int D, int N>
static __device__ __forceinline__ void product_of_tiles(const bfloat16 *a, const bfloat16 *b,
                                                        Tile<N> &scores) {
    TileProduct<D> product(a, b);
    clear_tile(scores);
    UNROLL_BY(2)
    for (int d = 0; d < D; d += 16) product.add(d, scores);
}

/// Two products that do not wait for one another: scores = a b^T, grads = c d^T.
template <int D, int N>
static __device__ __forceinline__ void products_of_tiles(const bfloat16 *a, const bfloat16 *b,
                                                         Tile<N> &scores, const bfloat16 *c,
                                                         const bfloat16 *d, Tile<N> &grads) {
    TileProduct<D> first(a, b), second(c, d);
    clear_tile(scores);
    clear_tile(grads);
    UNROLL_BY(1)
    for (int at = 0; at < D; at += 16) {
        first.add(at, scores);
        second.add(at, grads);
    }
}

/// sums += weights b: D columns of 8 N staged rows of b, the weights in PARTS parts. The weights
/// are used up.
template <int D, int PARTS, int PITCH = staged_pitch<D>, int N>
static __device__ __forceinline__ void add_weighted_tiles(Tile<N> &weights, const bfloat16 *b,
                                                          Tile<D / 8> &sums) {
    unsigned lane = lane_of_thread();
    b += lane % 16 * PITCH + lane / 16 * 8;
    UNROLL
    for (int n = 0; n < N; n += 2) {
        unsigned left[PARTS][4];
        UNROLL
        for (int p = 0; p < PARTS; p++) {
            UNROLL
            for (int i = 0; i < 4; i++)
                left[p][i] =
                    round_pair(weights[n + i / 2][i % 2 * 2], weights[n + i / 2][i % 2 * 2 + 1]);
        }
        UNROLL
        for (int d = 0; d < D / 8; d += 2) {
            unsigned right[4];
            // Or so much is loaded ahead that wide heads run out of registers.
            if (D >= 80 && d % 8 == 0) __syncwarp();
            load_transposed(right, b + n * 8 * PITCH + d * 8);
            UNROLL
            for (int p = 0; p < PARTS; p++) {
                multiply_add(sums[d], left[p], right[0], right[1]);
                multiply_add(sums[d + 1], left[p], right[2], right[3]);
            }
        }
    }
}

/// sums *= factors, of the lane's two rows.
template <int N>
static __device__ __forceinline__ void scale_tile(const float (&factors)[2], Tile<N> &sums) {
    UNROLL
    for (int i = 0; i < 4 * N; i++) sums[i / 4][i % 4] *= factors[i / 2 % 2];
}

/// Writes a warp's 16 rows of sums to rows `first` and on, columns `column` and on, by way of
/// `space`, the warp's own: 16 rows.
template <int D, int PITCH = staged_pitch<D>>
static __device__ __forceinline__ void write_tile(const Tile<D / 8> &sums, bfloat16 *space,
                                                  const HeadRows<bfloat16> &to, int first,
                                                  const AttentionShape &shape, int column = 0) {
    __syncwarp();
    bfloat16 *mine = space + lane_row() * PITCH + lane_column();
    UNROLL
    for (int i = 0; i < D / 4; i++) {
        float left = sums[i / 2][i % 2 * 2], right = sums[i / 2][i % 2 * 2 + 1];
        *reinterpret_cast<unsigned *>(mine + i % 2 * 8 * PITCH + i / 2 * 8) =
            round_pair(left, right);
    }
    __syncwarp();
    constexpr unsigned across = D / 8;
    for (unsigned i = lane_of_thread(); i < 16 * across; i += 32) {
        int row = (int)(i / across), at = (int)(i % across * 8);
        if (first + row >= to.length || column + at >= shape.dim) continue;
        const bfloat16 *from = space + row * PITCH + at;
        bfloat16 *target = to.row(first + row) + column + at;
        if (shape.packs)
            *reinterpret_cast<Pack<unsigned, 4> *>(target) =
                *reinterpret_cast<const Pack<unsigned, 4> *>(from);
        else
            for (int j = 0; j < 8 && column + at + j < shape.dim; j++) target[j] = from[j];
    }
}
