/// Inside the CUDA kernels only: attention's tiles on the tensor cores, for bfloat16 heads of up to 160.
///
/// Products are of bfloat16 and added in float32. Softmax weights are not rounded to bfloat16 but split in two, a number and what
/// rounding it left (two products in place of one, over the same staged values), so that results are float32's, rounded once.
/// The gradients of scores are rounded: they end in gradients that carry the rounding of y, which is as large.
///
/// A fragment's layout is the hardware's secret. What depends on an element's row or column finds it in a matrix of places, loaded as a
/// fragment of the same kind.
#pragma once
#include "ops/cuda/attention_part.h"

#include <mma.h>

namespace wmma = nvcuda::wmma;

enum { WMMA_MAX_HEAD_DIM = 160 };

using LeftFragment = wmma::fragment<wmma::matrix_a, 16, 16, 16, bfloat16, wmma::row_major>;
using RightFragment = wmma::fragment<wmma::matrix_b, 16, 16, 16, bfloat16, wmma::row_major>;
using RightTransposed = wmma::fragment<wmma::matrix_b, 16, 16, 16, bfloat16, wmma::col_major>;
using SumFragment = wmma::fragment<wmma::accumulator, 16, 16, 16, float>;

/// Elements from one staged row to the next: 8 rows' 16-byte parts lie in different banks.
template <int D> constexpr int staged_pitch = D + 8;
/// Floats from one row of a warp's scores to the next.
template <int COLUMNS> constexpr int score_pitch = COLUMNS + 8;
/// Floats of a warp's scores, 16 rows; their weights, twice as many of half the size, take the same place.
template <int COLUMNS> constexpr int score_floats = 16 * score_pitch<COLUMNS>;

/// Calls code with D, the head's size padded to one that there are kernels for.
#define WITH_WMMA_WIDTH(head_dim, D, ...) \
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

/// Rows of a head on their way to shared memory: fetched into registers while the tile before is worked on. Eight threads take a row, so that
/// its parts of 128 bytes are read whole.
template <int D, int ROWS, int THREADS> class StagedRows {
    static constexpr int team = 8, step = THREADS / team, rows = ROWS / step;
    static constexpr int columns = (D + 8 * team - 1) / (8 * team);
    static_assert(ROWS % step == 0, "every team takes as many rows");
    Pack<unsigned, 4> packs[rows][columns]; ///< eight elements each, which are only moved

    static __device__ __forceinline__ int first_row() { return (int)threadIdx.x / team; }
    static __device__ __forceinline__ int column(int c) {
        return 8 * ((int)threadIdx.x % team + c * team);
    }

  public:
    /// Rows `first` and on. Only what can be moved in packs: the rest is left to put().
    __device__ __forceinline__ void fetch(const HeadRows<const bfloat16> &from, int first,
                                          const AttentionShape &shape) {
        if (!shape.packs) return;
        UNROLL
        for (int r = 0; r < rows; r++) {
            int row = first + first_row() + r * step;
            const bfloat16 *source = from.row(row);
            UNROLL
            for (int c = 0; c < columns; c++) {
                packs[r][c] = {};
                if (row < from.length && column(c) < shape.dim)
                    packs[r][c] = *reinterpret_cast<const Pack<unsigned, 4> *>(source + column(c));
            }
        }
    }
    /// The same rows to shared memory; zeros where the head ends. No barrier.
    __device__ __forceinline__ void put(const HeadRows<const bfloat16> &from, int first,
                                        const AttentionShape &shape, bfloat16 *to) const {
        if (!shape.packs) {
            put_elements(from, first, shape, to);
            return;
        }
        to += first_row() * staged_pitch<D> + column(0);
        UNROLL
        for (int r = 0; r < rows; r++) {
            UNROLL
            for (int c = 0; c < columns; c++)
                if (D % (8 * team) == 0 || column(c) < D)
                    *reinterpret_cast<Pack<unsigned, 4> *>(to + r * step * staged_pitch<D> +
                                                           c * team * 8) = packs[r][c];
        }
    }

  private:
    static __device__ __forceinline__ void put_elements(const HeadRows<const bfloat16> &from,
                                                        int first, const AttentionShape &shape,
                                                        bfloat16 *to) {
        for (int i = (int)threadIdx.x; i < ROWS * D; i += THREADS) {
            int row = i / D, at = i % D;
            bool exists = first + row < from.length && at < shape.dim;
            to[row * staged_pitch<D> + at] =
                exists ? from.row(first + row)[at] : from_float<bfloat16>(0.0f);
        }
    }
};

/// Where each of a lane's elements of a sum lies in the matrix.
struct SumPlaces {
    unsigned place[SumFragment::num_elements];

    /// `space`: 256 floats of the warp's own. Whole warps call it.
    __device__ __forceinline__ explicit SumPlaces(float *space) {
        int lane = (int)threadIdx.x % 32;
        SumFragment places;
        for (int i = lane; i < 256; i += 32) space[i] = (float)i;
        __syncwarp();
        wmma::load_matrix_sync(places, space, 16, wmma::mem_row_major);
        __syncwarp();
        UNROLL
        for (int i = 0; i < SumFragment::num_elements; i++) place[i] = (unsigned)places.x[i];
    }
    __device__ __forceinline__ int row(int i) const { return (int)(place[i] / 16); }
    __device__ __forceinline__ int column(int i) const { return (int)(place[i] % 16); }
};

/// scores = a b^T: 16 staged rows of a, 16 TILES of b.
template <int D, int TILES>
static __device__ __forceinline__ void product_of_tiles(const bfloat16 *a, const bfloat16 *b,
                                                        SumFragment (&scores)[TILES]) {
    UNROLL
    for (int t = 0; t < TILES; t++) wmma::fill_fragment(scores[t], 0.0f);
    UNROLL_BY(1)
    for (int d = 0; d < D; d += 16) {
        LeftFragment left;
        wmma::load_matrix_sync(left, a + d, staged_pitch<D>);
        UNROLL
        for (int t = 0; t < TILES; t++) {
            RightTransposed right;
            wmma::load_matrix_sync(right, b + t * 16 * staged_pitch<D> + d, staged_pitch<D>);
            wmma::mma_sync(scores[t], left, right, scores[t]);
        }
    }
}

/// sums += weights b: 16 rows of weights in PARTS parts, 16 TILES staged rows of b.
template <int D, int TILES, int PARTS>
static __device__ __forceinline__ void add_weighted_tiles(const bfloat16 *weights,
                                                          const bfloat16 *b,
                                                          SumFragment (&sums)[D / 16]) {
    constexpr int pitch = score_pitch<16 * TILES>;
    UNROLL_BY(1)
    for (int t = 0; t < TILES; t++) {
        LeftFragment left[PARTS];
        UNROLL
        for (int p = 0; p < PARTS; p++)
            wmma::load_matrix_sync(left[p], weights + p * 16 * pitch + t * 16, pitch);
        UNROLL
        for (int d = 0; d < D / 16; d++) {
            RightFragment right;
            wmma::load_matrix_sync(right, b + t * 16 * staged_pitch<D> + d * 16, staged_pitch<D>);
            UNROLL
            for (int p = 0; p < PARTS; p++) wmma::mma_sync(sums[d], left[p], right, sums[d]);
        }
    }
}

/// Half a row of a warp's scores: lane's row is lane / 2, its columns 8 i + 4 (lane % 2) + 0..3.
template <int COLUMNS> struct HalfRow {
    float values[COLUMNS / 2];

    static __device__ __forceinline__ int place(int i) {
        int lane = (int)threadIdx.x % 32;
        return lane / 2 * score_pitch<COLUMNS> + column(i);
    }
    static __device__ __forceinline__ int column(int i) {
        return i / 4 * 8 + (int)threadIdx.x % 2 * 4 + i % 4;
    }
    /// The warp's stores come before, and __syncwarp().
    __device__ __forceinline__ explicit HalfRow(const float *scores) {
        UNROLL
        for (int i = 0; i < COLUMNS / 2; i += 4) {
            Pack<float, 4> four = four_floats(scores + place(i));
            UNROLL
            for (int j = 0; j < 4; j++) values[i + j] = four.values[j];
        }
    }
    /// Over the scores' place, in PARTS parts; __syncwarp() before and after.
    template <int PARTS> __device__ __forceinline__ void put(float *scores) const {
        bfloat16 *weights = reinterpret_cast<bfloat16 *>(scores);
        UNROLL
        for (int i = 0; i < COLUMNS / 2; i += 4) {
            float rest[4] = {values[i], values[i + 1], values[i + 2], values[i + 3]};
            UNROLL
            for (int p = 0; p < PARTS; p++) {
                Pack<bfloat16, 4> four;
                UNROLL
                for (int j = 0; j < 4; j++) {
                    four.values[j] = from_float<bfloat16>(rest[j]);
                    rest[j] -= to_float(four.values[j]);
                }
                *reinterpret_cast<Pack<bfloat16, 4> *>(weights + p * 16 * score_pitch<COLUMNS> +
                                                       place(i)) = four;
            }
        }
    }
};

/// Writes a warp's sums times factor to rows `first` and on, by way of the place of its scores.
template <int D, int COLUMNS>
static __device__ __forceinline__ void write_tiles(const SumFragment (&sums)[D / 16], float factor,
                                                   float *space, const HeadRows<bfloat16> &to,
                                                   int first, const AttentionShape &shape) {
    constexpr int tiles = COLUMNS / 16, across = COLUMNS / 8, pitch = score_pitch<COLUMNS>;
    int lane = (int)threadIdx.x % 32;
    UNROLL
    for (int base = 0; base < D / 16; base += tiles) {
        __syncwarp();
        UNROLL
        for (int t = 0; t < tiles; t++)
            if (base + t < D / 16)
                wmma::store_matrix_sync(space + t * 16, sums[base + t], pitch, wmma::mem_row_major);
        __syncwarp();
        for (int i = lane; i < 16 * across; i += 32) {
            int row = i / across, column = base * 16 + i % across * 8;
            if (first + row >= to.length || column >= shape.dim) continue;
            const float *from = space + row * pitch + i % across * 8;
            bfloat16 *target = to.row(first + row) + column;
            float values[8];
            UNROLL
            for (int j = 0; j < 8; j++) values[j] = from[j] * factor;
            if (shape.packs)
                store_pack<8>(target, values);
            else
                for (int j = 0; j < 8 && column + j < shape.dim; j++)
                    target[j] = from_float<bfloat16>(values[j]);
        }
    }
}
