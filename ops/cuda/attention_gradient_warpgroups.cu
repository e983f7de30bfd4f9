// Attention's backward pass for Hopper, by the formulas of attention_gradient.cu: one kernel for
// the gradient of queries, one for those of keys and values, no atomics.
#include "ops/cuda/attention_gradient.h"
#include "ops/cuda/attention_warpgroups.h"

namespace {

/// Wider heads' sums do not find registers: they take the portable kernels.
enum { WIDEST_HEAD = 128 };

/// Places for the block's own rows and, behind them, those for grad_y v^T, and for the rows of the
/// other side: for scores and for grad_y v^T, in turns.
enum { OWN, OTHER, OTHER_GRAD = OTHER + STAGES, PLACES = OTHER_GRAD + STAGES };

/// Shared memory of a block that goes over ROWS of the other side at a time.
template <int D, int ROWS> struct Space {
    static constexpr int columns = slab_columns<D>, rows = ROWS;
    static constexpr int own_bytes = slab_bytes(BLOCK_ROWS, columns),
                         other_bytes = slab_bytes(rows, columns);
    static constexpr size_t bytes =
        SLAB_SLACK + 2 * own_bytes + 2 * STAGES * other_bytes + result_bytes<D>;
    static_assert(bytes <= HOPPER_SHARED - 8192, "more shared memory than there is");

    unsigned char *own, *own_grad, *other, *other_grad;
    bfloat16 *results;

    __device__ __forceinline__ explicit Space(unsigned char *dynamic) {
        own = first_slab(dynamic);
        own_grad = own + own_bytes;
        other = own_grad + own_bytes;
        other_grad = other + STAGES * other_bytes;
        results = reinterpret_cast<bfloat16 *>(other_grad + STAGES * other_bytes);
    }
};

/// A tile of queries, or of keys with the first query head of their group.
struct Work {
    AttentionPart part;
    int first;
    bool exists;

    __device__ __forceinline__ Work(const AttentionShape &shape, bool keys, int tiles, int index)
        : part(part_of_work(shape, keys ? shape.kv_heads : shape.heads, tiles, index)) {
        if (keys) begin_with_group(shape, part);
        first = part.tile * BLOCK_ROWS;
        exists = first < (keys ? part.k_length : part.q_length);
    }
};

/// Own rows on their way.
template <typename S>
__device__ __forceinline__ void fetch_own(const Backward<bfloat16> &g, const Work &work, bool keys,
                                          const S &space, Place *places, unsigned parity,
                                          unsigned arrivals) {
    Sides<bfloat16> sides(g, work.part, keys, work.first, BLOCK_ROWS);
    barrier_wait(&places[OWN].empty, parity ^ 1);
    stage_slabs<BLOCK_ROWS, S::columns>(sides.own, work.first, g.shape, space.own);
    stage_slabs<BLOCK_ROWS, S::columns>(sides.own_grad, work.first, g.shape, space.own_grad);
    for (unsigned i = 1; i < arrivals; i++) barrier_arrive(&places[OWN].full);
    barrier_arrive_with_copies(&places[OWN].full);
}

template <int COLUMNS>
__device__ __forceinline__ void scale_sums(float factor, Tile<COLUMNS / 8> &sums) {
    const float factors[2] = {factor, factor};
    scale_tile(factors, sums);
}

// ---- queries

/// Keys of a tile: as many as there are registers for.
template <int D> using QuerySpace = Space<D, slab_columns<D> == 64 ? 128 : 96>;

template <int D>
__device__ __forceinline__ void fetch_keys(const Backward<bfloat16> &g, const Work &work,
                                           const QuerySpace<D> &space, Place *places, Turn &turn) {
    using S = QuerySpace<D>;
    Sides<bfloat16> sides(g, work.part, false, work.first, BLOCK_ROWS);
    for (int row = sides.begin; row < sides.end; row += S::rows, turn.next()) {
        Place *other = &places[OTHER + turn.stage], *grad = &places[OTHER_GRAD + turn.stage];
        int at = turn.stage * S::other_bytes;
        barrier_wait(&other->empty, turn.parity ^ 1);
        stage_slabs<S::rows, S::columns>(sides.other, row, g.shape, space.other + at);
        barrier_arrive_with_copies(&other->full);
        barrier_wait(&grad->empty, turn.parity ^ 1);
        stage_slabs<S::rows, S::columns>(sides.other_grad, row, g.shape, space.other_grad + at);
        barrier_arrive_with_copies(&grad->full);
    }
}

/// dS, in place of the scores.
template <int N>
__device__ __forceinline__ void score_gradients(const QueryNumbers (&numbers)[2], int key,
                                                int window, float scale, Tile<N> &scores,
                                                const Tile<N> &grads) {
    UNROLL
    for (int i = 0; i < 4 * N; i++) {
        const QueryNumbers &query = numbers[i / 2 % 2];
        float &score = scores[i / 4][i % 4];
        score = query.weight(key + i / 4 * 8 + lane_column() + i % 2, window, score * scale) *
                (grads[i / 4][i % 4] - query.delta);
    }
}

/// One warpgroup's 64 queries of a tile. While the tensor cores add up a tile's keys, dS of the
/// next is computed.
template <int D>
__device__ __forceinline__ void differentiate_queries(const Backward<bfloat16> &g, const Work &work,
                                                      const QuerySpace<D> &space, Place *places,
                                                      Turn &turn, unsigned parity) {
    using S = QuerySpace<D>;
    constexpr int N = S::rows / 8;
    Sides<bfloat16> sides(g, work.part, false, work.first, BLOCK_ROWS);
    int begin = sides.begin, end = sides.end, window = work.part.window;
    unsigned group = consumer_group() * GROUP_ROWS * SLAB_ROW_BYTES;
    unsigned own = shared_address(space.own) + group,
             own_grad = shared_address(space.own_grad) + group;
    unsigned keys = shared_address(space.other), values = shared_address(space.other_grad);
    float scale = g.shape.scale * LOG2_E; // to units of log 2
    QueryNumbers numbers[2];
    UNROLL
    for (int h = 0; h < 2; h++)
        numbers[h] = query_numbers(g, work.part, work.first + warp_row() + lane_row() + 8 * h);
    Tile<S::columns / 8> sums = {};
    Tile<N> scores, grads;
    Operand<N, 1> weights;
    wait_until_full(&places[OWN], parity);
    if (begin < end) {
        wait_until_full(&places[OTHER + turn.stage], turn.parity);
        wait_until_full(&places[OTHER_GRAD + turn.stage], turn.parity);
        products_begin();
        begin_row_products<D>(own, keys + turn.stage * S::other_bytes, scores);
        begin_row_products<D>(own_grad, values + turn.stage * S::other_bytes, grads);
        products_commit();
        products_wait<0>();
        tile_changed(scores);
        tile_changed(grads);
        give_back(&places[OTHER_GRAD + turn.stage]);
        score_gradients(numbers, begin, window, scale, scores, grads);
    }
    for (int key = begin + S::rows; key < end; key += S::rows) {
        weights.take(scores);
        Turn before = turn;
        turn.next();
        wait_until_full(&places[OTHER + turn.stage], turn.parity);
        wait_until_full(&places[OTHER_GRAD + turn.stage], turn.parity);
        tile_changed(sums);
        products_begin();
        begin_row_products<D>(own, keys + turn.stage * S::other_bytes, scores);
        begin_row_products<D>(own_grad, values + turn.stage * S::other_bytes, grads);
        products_commit();
        begin_weighted_rows<S::columns>(weights, keys + before.stage * S::other_bytes, sums);
        products_commit();
        products_wait<1>();
        tile_changed(scores);
        tile_changed(grads);
        give_back(&places[OTHER_GRAD + turn.stage]);
        score_gradients(numbers, key, window, scale, scores, grads);
        products_wait<0>();
        tile_changed(sums);
        give_back(&places[OTHER + before.stage]);
    }
    give_back(&places[OWN]);
    if (begin < end) {
        weights.take(scores);
        tile_changed(sums);
        products_begin();
        begin_weighted_rows<S::columns>(weights, keys + turn.stage * S::other_bytes, sums);
        products_commit();
        products_wait<0>();
        tile_changed(sums);
        give_back(&places[OTHER + turn.stage]);
        turn.next();
    }
    scale_sums<S::columns>(g.shape.scale, sums);
    write_results<S::columns>(sums, space.results,
                              query_rows(g.grad[OF_QUERIES], g.shape, work.part), work.first,
                              g.shape);
}

template <int D>
__global__ void __launch_bounds__(BLOCK_THREADS, 1)
    query_gradient_warpgroups(Backward<bfloat16> g, int tiles, int count) {
    if constexpr (WITH_WARPGROUPS) {
        SHARED_ARRAY(Place, places, PLACES);
        DYNAMIC_SHARED(unsigned char, dynamic);
        QuerySpace<D> space(dynamic);
        open_places(places, PLACES, 1);
        Turn turn;
        unsigned parity = 0;
        if (is_producer()) {
            give_registers<PRODUCER_REGISTERS>();
            for (int index = (int)blockIdx.x; index < count; index += (int)gridDim.x) {
                Work work(g.shape, false, tiles, index);
                if (!work.exists) continue;
                fetch_own(g, work, false, space, places, parity, 1);
                fetch_keys<D>(g, work, space, places, turn);
                parity ^= 1;
            }
        } else {
            take_registers<CONSUMER_REGISTERS>();
            for (int index = (int)blockIdx.x; index < count; index += (int)gridDim.x) {
                Work work(g.shape, false, tiles, index);
                if (!work.exists) continue;
                differentiate_queries<D>(g, work, space, places, turn, parity);
                parity ^= 1;
            }
        }
    }
}

// ---- keys and values

enum { KEY_QUERIES = 64 };

template <int D> using KeySpace = Space<D, KEY_QUERIES>;

/// Rows of queries and of grad_y, and what is known of the queries.
template <int D>
__device__ __forceinline__ void fetch_queries(const Backward<bfloat16> &g, Work work,
                                              const KeySpace<D> &space, Place *places,
                                              QueryNumbers *numbers, Turn &turn) {
    using S = KeySpace<D>;
    int members = g.shape.heads / g.shape.kv_heads;
    for (int member = 0; member < members; member++, work.part.head++) {
        Sides<bfloat16> sides(g, work.part, true, work.first, BLOCK_ROWS);
        for (int row = sides.begin; row < sides.end; row += S::rows, turn.next()) {
            Place *other = &places[OTHER + turn.stage];
            int at = turn.stage * S::other_bytes;
            barrier_wait(&other->empty, turn.parity ^ 1);
            load_numbers(g, work.part, row, S::rows, numbers + turn.stage * S::rows);
            barrier_arrive(&other->full); // copies do not order what the thread itself has written
            stage_slabs<S::rows, S::columns>(sides.other, row, g.shape, space.other + at);
            stage_slabs<S::rows, S::columns>(sides.other_grad, row, g.shape, space.other_grad + at);
            barrier_arrive_with_copies(&other->full);
        }
    }
}

/// P in place of the transposed scores, dS in place of the products with grad_y.
template <int N>
__device__ __forceinline__ void weights_and_gradients(const QueryNumbers *numbers, int key,
                                                      int window, float scale, Tile<N> &scores,
                                                      Tile<N> &grads) {
    UNROLL
    for (int i = 0; i < 4 * N; i++) {
        const QueryNumbers &query = numbers[i / 4 * 8 + lane_column() + i % 2];
        float &score = scores[i / 4][i % 4], &grad = grads[i / 4][i % 4];
        score = query.weight(key + i / 2 % 2 * 8, window, score * scale);
        grad = score * (grad - query.delta);
    }
}

/// One warpgroup's 64 keys of a tile.
template <int D>
__device__ __forceinline__ void differentiate_keys(const Backward<bfloat16> &g, Work work,
                                                   const KeySpace<D> &space, Place *places,
                                                   const QueryNumbers *numbers, Turn &turn,
                                                   unsigned parity) {
    using S = KeySpace<D>;
    constexpr int N = S::rows / 8;
    unsigned group = consumer_group() * GROUP_ROWS * SLAB_ROW_BYTES;
    unsigned own = shared_address(space.own) + group,
             own_value = shared_address(space.own_grad) + group;
    float scale = g.shape.scale * LOG2_E; // to units of log 2
    int members = g.shape.heads / g.shape.kv_heads;
    Tile<S::columns / 8> key_sums = {}, value_sums = {};
    wait_until_full(&places[OWN], parity);
    for (int member = 0; member < members; member++, work.part.head++) {
        Sides<bfloat16> sides(g, work.part, true, work.first, BLOCK_ROWS);
        for (int row = sides.begin; row < sides.end; row += S::rows, turn.next()) {
            unsigned at = turn.stage * S::other_bytes;
            unsigned queries = shared_address(space.other) + at,
                     grad_y = shared_address(space.other_grad) + at;
            Tile<N> scores, grads;
            Operand<N, 2> weights;
            Operand<N, 1> score_grads;
            wait_until_full(&places[OTHER + turn.stage], turn.parity);
            products_begin();
            begin_row_products<D>(own, queries, scores);
            begin_row_products<D>(own_value, grad_y, grads);
            products_commit();
            products_wait<0>();
            tile_changed(scores);
            tile_changed(grads);
            weights_and_gradients(numbers + turn.stage * S::rows,
                                  work.first + warp_row() + lane_row(), work.part.window, scale,
                                  scores, grads);
            score_grads.take(grads);
            weights.take(scores);
            tile_changed(key_sums);
            tile_changed(value_sums);
            products_begin();
            begin_weighted_rows<S::columns>(weights, grad_y, value_sums);
            begin_weighted_rows<S::columns>(score_grads, queries, key_sums);
            products_commit();
            products_wait<0>();
            tile_changed(key_sums);
            tile_changed(value_sums);
            give_back(&places[OTHER + turn.stage]);
        }
    }
    give_back(&places[OWN]);
    scale_sums<S::columns>(g.shape.scale, key_sums);
    if (g.grad[OF_KEYS])
        write_results<S::columns>(key_sums, space.results,
                                  key_rows(g.grad[OF_KEYS], g.shape, work.part), work.first,
                                  g.shape);
    if (g.grad[OF_VALUES])
        write_results<S::columns>(value_sums, space.results,
                                  key_rows(g.grad[OF_VALUES], g.shape, work.part), work.first,
                                  g.shape);
}

template <int D>
__global__ void __launch_bounds__(BLOCK_THREADS, 1)
    key_gradient_warpgroups(Backward<bfloat16> g, int tiles, int count) {
    if constexpr (WITH_WARPGROUPS) {
        SHARED_ARRAY(Place, places, PLACES);
        SHARED_ARRAY(QueryNumbers, numbers, STAGES * KEY_QUERIES);
        DYNAMIC_SHARED(unsigned char, dynamic);
        KeySpace<D> space(dynamic);
        open_places(places, PLACES, 2);
        Turn turn;
        unsigned parity = 0;
        if (is_producer()) {
            give_registers<PRODUCER_REGISTERS>();
            for (int index = (int)blockIdx.x; index < count; index += (int)gridDim.x) {
                Work work(g.shape, true, tiles, index);
                if (!work.exists) continue;
                fetch_own(g, work, true, space, places, parity, 2);
                fetch_queries<D>(g, work, space, places, numbers, turn);
                parity ^= 1;
            }
        } else {
            take_registers<CONSUMER_REGISTERS>();
            for (int index = (int)blockIdx.x; index < count; index += (int)gridDim.x) {
                Work work(g.shape, true, tiles, index);
                if (!work.exists) continue;
                differentiate_keys<D>(g, work, space, places, numbers, turn, parity);
                parity ^= 1;
            }
        }
    }
}

template <int D>
void launch(const Backward<bfloat16> &g, const Attention *shape, const Tensor *like) {
    if constexpr (D <= WIDEST_HEAD) {
        cudaStream_t stream = stream_of(like);
        if (g.grad[OF_QUERIES] && shape->max_q_length > 0) {
            WorkGrid grid(shape->max_q_length, shape->heads, shape->num_segments, like);
            allow_shared(query_gradient_warpgroups<D>, QuerySpace<D>::bytes);
            LAUNCH(query_gradient_warpgroups<D>, grid.blocks, BLOCK_THREADS, QuerySpace<D>::bytes,
                   stream, g, grid.tiles, grid.count);
        }
        if ((g.grad[OF_KEYS] || g.grad[OF_VALUES]) && shape->max_k_length > 0) {
            WorkGrid grid(shape->max_k_length, shape->kv_heads, shape->num_segments, like);
            allow_shared(key_gradient_warpgroups<D>, KeySpace<D>::bytes);
            LAUNCH(key_gradient_warpgroups<D>, grid.blocks, BLOCK_THREADS, KeySpace<D>::bytes,
                   stream, g, grid.tiles, grid.count);
        }
    }
}

} // namespace

bool attention_gradient_by_warpgroups(const Backward<bfloat16> &g, const Attention *shape,
                                      const Tensor *like) {
    if (!cuda_device(like)->warpgroups || shape->head_dim > WIDEST_HEAD || !g.shape.packs)
        return false;
    WITH_TILE_WIDTH(shape->head_dim, D, launch<D>(g, shape, like));
    return true;
}
