// Attention's forward pass for Hopper. While the tensor cores add up a tile's weighted values, the
// weights of the next are computed.
#include "ops/cuda/attention_softmax.h"
#include "ops/cuda/attention_warpgroups.h"

namespace {

/// Places for queries, and for keys and values in turn.
enum { QUERIES, KEYS, VALUES = KEYS + STAGES, PLACES = VALUES + STAGES };

/// Shared memory of a block.
template <int D> struct Space {
    static constexpr int columns = slab_columns<D>;
    /// of a tile: as many as there are registers for, scores beside weights and sums
    static constexpr int tile_keys = columns == 64 ? 128 : columns == 128 ? 96 : 64;
    static constexpr int query_bytes = slab_bytes(BLOCK_ROWS, columns),
                         key_bytes = slab_bytes(tile_keys, columns);
    static constexpr size_t bytes =
        SLAB_SLACK + query_bytes + 2 * STAGES * key_bytes + result_bytes<D>;
    static_assert(bytes <= HOPPER_SHARED, "more shared memory than there is");

    unsigned char *queries, *keys, *values;
    bfloat16 *results;

    __device__ __forceinline__ explicit Space(unsigned char *dynamic) {
        queries = first_slab(dynamic);
        keys = queries + query_bytes;
        values = keys + STAGES * key_bytes;
        results = reinterpret_cast<bfloat16 *>(values + STAGES * key_bytes);
    }
};

/// A tile of queries, and the keys that they see.
struct Work {
    AttentionPart part;
    int first, begin, seen;

    __device__ __forceinline__ Work(const AttentionShape &shape, int tiles, int index)
        : part(part_of_work(shape, shape.heads, tiles, index)) {
        first = part.tile * BLOCK_ROWS;
        begin = part.hidden(first);
        seen = part.visible(min(first + BLOCK_ROWS, part.q_length) - 1);
    }
    __device__ __forceinline__ bool exists() const { return first < part.q_length; }
};

template <int D>
__device__ __forceinline__ void fetch(const Forward<bfloat16> &f, const Work &work,
                                      const Space<D> &space, Place *places, Turn &turn,
                                      unsigned parity) {
    using S = Space<D>;
    HeadRows<const bfloat16> k = key_rows(f.k, f.shape, work.part),
                             v = key_rows(f.v, f.shape, work.part);
    barrier_wait(&places[QUERIES].empty, parity ^ 1);
    stage_slabs<BLOCK_ROWS, S::columns>(query_rows(f.q, f.shape, work.part), work.first, f.shape,
                                        space.queries);
    barrier_arrive_with_copies(&places[QUERIES].full);
    for (int key = work.begin; key < work.seen; key += S::tile_keys, turn.next()) {
        Place *keys = &places[KEYS + turn.stage], *values = &places[VALUES + turn.stage];
        int at = turn.stage * S::key_bytes;
        barrier_wait(&keys->empty, turn.parity ^ 1);
        stage_slabs<S::tile_keys, S::columns>(k, key, f.shape, space.keys + at);
        barrier_arrive_with_copies(&keys->full);
        barrier_wait(&values->empty, turn.parity ^ 1);
        stage_slabs<S::tile_keys, S::columns>(v, key, f.shape, space.values + at);
        barrier_arrive_with_copies(&values->full);
    }
}

template <int N>
__device__ __forceinline__ void softmax_of(const AttentionPart &part, int key,
                                           LaneRows<false> &rows, Tile<N> &scores,
                                           float (&shrink)[2]) {
    if (__all_sync(0xffffffffu, rows.see_all(key, 8 * N, part.window)))
        softmax_tile<false>(key, part.window, rows, scores, shrink);
    else
        softmax_tile<true>(key, part.window, rows, scores, shrink);
}

/// One warpgroup's 64 queries of a tile.
template <int D>
__device__ __forceinline__ void attend(const Forward<bfloat16> &f, const Work &work,
                                       const Space<D> &space, Place *places, Turn &turn,
                                       unsigned parity) {
    using S = Space<D>;
    constexpr int N = S::tile_keys / 8;
    int query = work.first + warp_row() + lane_row();
    unsigned queries =
        shared_address(space.queries) + consumer_group() * GROUP_ROWS * SLAB_ROW_BYTES;
    unsigned keys = shared_address(space.keys), values = shared_address(space.values);
    LaneRows<false> rows(f.shape, work.part, query);
    Tile<S::columns / 8> sums = {};
    Tile<N> scores;
    Operand<N, 2> weights;
    wait_until_full(&places[QUERIES], parity);
    if (work.begin < work.seen) {
        float shrink[2];
        wait_until_full(&places[KEYS + turn.stage], turn.parity);
        products_begin();
        begin_row_products<D>(queries, keys + turn.stage * S::key_bytes, scores);
        products_commit();
        products_wait<0>();
        tile_changed(scores);
        give_back(&places[KEYS + turn.stage]);
        softmax_of(work.part, work.begin, rows, scores, shrink);
    }
    for (int key = work.begin + S::tile_keys; key < work.seen; key += S::tile_keys) {
        float shrink[2];
        weights.take(scores);
        Turn before = turn;
        turn.next();
        wait_until_full(&places[KEYS + turn.stage], turn.parity);
        wait_until_full(&places[VALUES + before.stage], before.parity);
        tile_changed(sums);
        products_begin();
        begin_row_products<D>(queries, keys + turn.stage * S::key_bytes, scores);
        products_commit();
        begin_weighted_rows<S::columns>(weights, values + before.stage * S::key_bytes, sums);
        products_commit();
        products_wait<1>();
        tile_changed(scores);
        give_back(&places[KEYS + turn.stage]);
        softmax_of(work.part, key, rows, scores, shrink);
        products_wait<0>();
        tile_changed(sums);
        give_back(&places[VALUES + before.stage]);
        scale_tile(shrink, sums);
    }
    give_back(&places[QUERIES]);
    if (work.begin < work.seen) {
        weights.take(scores);
        wait_until_full(&places[VALUES + turn.stage], turn.parity);
        tile_changed(sums);
        products_begin();
        begin_weighted_rows<S::columns>(weights, values + turn.stage * S::key_bytes, sums);
        products_commit();
        products_wait<0>();
        tile_changed(sums);
        give_back(&places[VALUES + turn.stage]);
        turn.next();
    }
    float inverse[2];
    finish_rows(f, work.part, query, rows, inverse);
    scale_tile(inverse, sums);
    write_results<S::columns>(sums, space.results, query_rows(f.y, f.shape, work.part), work.first,
                              f.shape);
}

template <int D>
__global__ void __launch_bounds__(BLOCK_THREADS, 1)
    attend_warpgroups(Forward<bfloat16> f, int tiles, int count) {
    if constexpr (WITH_WARPGROUPS) {
        SHARED_ARRAY(Place, places, PLACES);
        DYNAMIC_SHARED(unsigned char, dynamic);
        Space<D> space(dynamic);
        open_places(places, PLACES, 1);
        Turn turn;
        unsigned parity = 0;
        if (is_producer()) {
            give_registers<PRODUCER_REGISTERS>();
            for (int index = (int)blockIdx.x; index < count; index += (int)gridDim.x) {
                Work work(f.shape, tiles, index);
                if (!work.exists()) continue;
                fetch(f, work, space, places, turn, parity);
                parity ^= 1;
            }
        } else {
            take_registers<CONSUMER_REGISTERS>();
            for (int index = (int)blockIdx.x; index < count; index += (int)gridDim.x) {
                Work work(f.shape, tiles, index);
                if (!work.exists()) continue;
                attend(f, work, space, places, turn, parity);
                parity ^= 1;
            }
        }
    }
}

template <int D> void launch(const Forward<bfloat16> &f, const Attention *shape, const Tensor *y) {
    WorkGrid grid(shape->max_q_length, shape->heads, shape->num_segments, y);
    allow_shared(attend_warpgroups<D>, Space<D>::bytes);
    LAUNCH(attend_warpgroups<D>, grid.blocks, BLOCK_THREADS, Space<D>::bytes, stream_of(y), f,
           grid.tiles, grid.count);
}

} // namespace

bool attention_by_warpgroups(const Tensor *q, const Tensor *k, const Tensor *v,
                             const Attention *shape, Tensor *y, Tensor *log_sum_exp) {
    if (!cuda_device(q)->warpgroups || q->dtype != BFLOAT16 ||
        shape->head_dim > TILE_MAX_HEAD_DIM || shape->relative.vertical)
        return false;
    Forward<bfloat16> f(q, k, v, shape, y, log_sum_exp);
    if (!f.shape.packs) return false;
    WITH_TILE_WIDTH(shape->head_dim, D, launch<D>(f, shape, y));
    return true;
}
