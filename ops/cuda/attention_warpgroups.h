/// Inside the CUDA kernels only: attention for Hopper, after FlashAttention-3 (Shah et al. 2024,
/// arXiv 2407.08608). In a block one warpgroup fetches and two multiply, of the block's 128 rows 64
/// each; a block takes tile after tile, so that what the next one needs is fetched while this one
/// is finished.
///
/// Products are as exact as those of attention_tiles.h: of bfloat16, added in float32, softmax
/// weights split in two.
#pragma once
#include "ops/cuda/attention_tiles.h"
#include "ops/cuda/warpgroup_matrix.h"

enum {
    /// warpgroups that multiply
    CONSUMERS = 2,
    CONSUMER_WARPS = 4 * CONSUMERS,
    GROUP_ROWS = 64,
    BLOCK_ROWS = CONSUMERS * GROUP_ROWS,
    BLOCK_THREADS = (1 + CONSUMERS) * WARPGROUP,
    /// tiles of the other side that are there or on their way
    STAGES = 2,
    /// of a thread; a multiprocessor has 512 for each of a warpgroup's
    PRODUCER_REGISTERS = 40,
    CONSUMER_REGISTERS = 232,
    /// bytes of shared memory that Hopper has for a block
    HOPPER_SHARED = 227 * 1024,
};

/// Columns of heads of up to D: whole slabs.
template <int D> constexpr int slab_columns = (D + SLAB - 1) / SLAB *SLAB;
/// Bytes of so many rows in slabs.
static constexpr int slab_bytes(int rows, int columns) { return rows * columns * 2; }
/// Bytes for the rows that a block's warps write.
template <int D>
constexpr int result_bytes = BLOCK_ROWS *staged_pitch<slab_columns<D>> *(int)sizeof(bfloat16);

/// Of a block's dynamic shared memory, the first byte where a slab may begin: SLAB_SLACK more bytes
/// are to be asked for.
enum { SLAB_SLACK = 1024 };
static __device__ __forceinline__ unsigned char *first_slab(unsigned char *dynamic) {
    return dynamic + (SLAB_SLACK - shared_address(dynamic) % SLAB_SLACK) % SLAB_SLACK;
}

// ---- who works on what

static __device__ __forceinline__ bool is_producer() { return threadIdx.x < WARPGROUP; }
/// Among those that multiply.
static __device__ __forceinline__ int consumer_group() { return (int)threadIdx.x / WARPGROUP - 1; }
/// Of the block's rows, the first that are this warp's.
static __device__ __forceinline__ int warp_row() {
    return ((int)threadIdx.x - WARPGROUP) / 32 * 16;
}

/// Number `index` of the tiles of all heads. Blocks take every so many; heads begin with different
/// tiles, so that no block gets all the long ones of a causal mask.
static __device__ __forceinline__ AttentionPart part_of_work(const AttentionShape &shape, int heads,
                                                             int tiles, int index) {
    AttentionPart part = attention_part(shape, index / tiles / heads, index / tiles % heads);
    part.tile = (index + index / tiles) % tiles;
    return part;
}

/// A grid for all tiles of `rows` rows (the longest segment's) of so many heads and segments.
struct WorkGrid {
    int tiles, count;
    unsigned blocks;

    WorkGrid(int64_t rows, int64_t heads, int64_t segments, const Tensor *like)
        : tiles((int)ceil_divide(rows, BLOCK_ROWS)),
          count((int)attention_blocks(tiles, heads, segments)),
          blocks((unsigned)min(count, cuda_device(like)->multiprocessors)) {}
};

// ---- passing tiles on

/// Of a place for a tile: it is full when all its copies are there, empty again when every warp has
/// read it.
struct Place {
    uint64_t full, empty;
};

/// `arrivals`: of each thread that fetches.
static __device__ __forceinline__ void open_places(Place *places, int count, unsigned arrivals) {
    if ((int)threadIdx.x < count) {
        barrier_open(&places[threadIdx.x].full, arrivals * WARPGROUP);
        barrier_open(&places[threadIdx.x].empty, CONSUMER_WARPS);
    }
    __syncthreads();
}

static __device__ __forceinline__ void wait_until_full(Place *place, unsigned parity) {
    barrier_wait(&place->full, parity);
    show_to_products();
}

/// The warp has read it.
static __device__ __forceinline__ void give_back(Place *place) {
    __syncwarp();
    if (lane_of_thread() == 0) barrier_arrive(&place->empty);
}

/// Which of STAGES places is next, and for the how-manieth time.
struct Turn {
    int stage = 0;
    unsigned parity = 0;

    __device__ __forceinline__ void next() {
        if (++stage < STAGES) return;
        stage = 0;
        parity ^= 1;
    }
};

/// Rows `first` and on of a head on their way to slabs, zeros where the head or the segment ends.
template <int ROWS, int COLUMNS>
static __device__ __forceinline__ void stage_slabs(const HeadRows<const bfloat16> &from, int first,
                                                   const AttentionShape &shape, unsigned char *to) {
    constexpr int team = SLAB / 8, step = WARPGROUP / team;
    int thread = (int)threadIdx.x % WARPGROUP, lane = thread % team;
    UNROLL_BY(2)
    for (int r = 0; r < ROWS / step; r++) {
        int row = thread / team + r * step;
        const bfloat16 *source = from.row(first + row);
        UNROLL
        for (int slab = 0; slab < COLUMNS / SLAB; slab++) {
            int column = slab * SLAB + lane * 8;
            bool exists = first + row < from.length && column < shape.dim;
            copy_async(to + slab * ROWS * SLAB_ROW_BYTES + slab_offset(row, lane * 8),
                       exists ? source + column : from.data, exists);
        }
    }
}

// ---- products

/// tile = left right^T, of D columns: a group's 64 of BLOCK_ROWS rows, and 8 N rows.
template <int D, int N>
static __device__ __forceinline__ void begin_row_products(unsigned left, unsigned right,
                                                          Tile<N> &tile) {
    UNROLL
    for (int d = 0; d < D; d += 16) {
        unsigned slab = d / SLAB * SLAB_ROW_BYTES, column = d % SLAB * 2;
        multiply_rows(tile, matrix_address(left + slab * BLOCK_ROWS + column, 0),
                      matrix_address(right + slab * 8 * N + column, 0), d > 0);
    }
}

/// Weights of 8 N rows as operands, each in PARTS parts.
template <int N, int PARTS> struct Operand {
    unsigned parts[N / 2][PARTS][4];

    /// The weights are used up.
    __device__ __forceinline__ void take(Tile<N> &weights) {
        UNROLL
        for (int i = 0; i < N / 2; i++) {
            UNROLL
            for (int j = 0; j < 4 * PARTS; j++) {
                float(&four)[4] = weights[2 * i + j % 4 / 2];
                parts[i][j / 4][j % 4] = round_pair(four[j % 2 * 2], four[j % 2 * 2 + 1]);
            }
        }
    }
};

/// sums += weights rows, of 8 N rows
template <int COLUMNS, int N, int PARTS>
static __device__ __forceinline__ void begin_weighted_rows(const Operand<N, PARTS> &weights,
                                                           unsigned rows, Tile<COLUMNS / 8> &sums) {
    UNROLL
    for (int i = 0; i < N / 2; i++) { // 16 rows
        UNROLL
        for (int part = 0; part < PARTS; part++)
            multiply_columns(
                sums, weights.parts[i][part],
                matrix_address(rows + i * 16 * SLAB_ROW_BYTES, 8 * N * SLAB_ROW_BYTES));
    }
}

/// Writes a group's sums to the block's rows from `first` on. `space` is of
/// result_bytes.
template <int COLUMNS>
static __device__ __forceinline__ void write_results(Tile<COLUMNS / 8> &sums, bfloat16 *space,
                                                     const HeadRows<bfloat16> &to, int first,
                                                     const AttentionShape &shape) {
    write_tile<COLUMNS>(sums, space + warp_row() * staged_pitch<COLUMNS>, to, first + warp_row(),
                        shape);
}
