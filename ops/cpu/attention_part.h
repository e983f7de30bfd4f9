/// Inside the CPU kernels: what the forward and the backward pass of attention share, namely
/// blocks, the view of one segment and key head, packing, and working memory.
#pragma once
#include "ops/cpu/cpu.h"
#include "ops/cpu/tile_product.h"

#include <math.h>
#include <omp.h>

/// block sizes: multiples of TILE_ROWS and of PANEL
enum { QUERIES = 48, KEYS = 128 };
_Static_assert(QUERIES % TILE_ROWS == 0 && KEYS % PANEL == 0, "block sizes");

/// One segment and key head, as the kernels see it.
typedef struct Part {
    const Attention *shape;
    int64_t q_row, q_length, k_row, k_length, kv_head;
    /// head_dim, and head_dim rounded up to LANES
    int64_t dim, width;
    /// Products of what is stored as BFLOAT16 (q k^T, grad_y v^T) take it as pairs where the
    /// processor can. Softmax weights stay FLOAT32, so that results are float's, rounded once; the
    /// gradients of scores are rounded: they end in gradients that carry the rounding of y, which
    /// is as large.
    Element element;
    /// elements of a head's row, and from one such row to the next
    int64_t depth, row;
    /// Keys of a block that are packed as pairs of rows: padded to a multiple of it, with zeros.
    int64_t key_multiple;
} Part;

static inline Part part_of(const Attention *shape, DType type, int64_t owner) {
    const int32_t *s = (const int32_t *)shape->segments->data + owner / shape->kv_heads * 4;
    bool pairs = HAS_PAIRS && type == BFLOAT16;
    int64_t dim = shape->head_dim, width = round_up(dim, LANES);
    return (Part){.shape = shape,
                  .q_row = s[0],
                  .q_length = s[1],
                  .k_row = s[2],
                  .k_length = s[3],
                  .kv_head = owner % shape->kv_heads,
                  .dim = dim,
                  .width = width,
                  .element = pairs ? PAIRS : FLOATS,
                  .depth = pairs ? (dim + 1) / 2 : dim,
                  .row = pairs ? width / 2 : width,
                  .key_multiple = 2};
}

/// Query head number `member` of the part's group, as rows of x (a tensor of all heads).
static inline Slice query_slice(const Tensor *x, const Part *part, int64_t member) {
    int64_t group = part->shape->heads / part->shape->kv_heads;
    int64_t head = part->kv_head * group + member, stride = part->shape->heads * part->dim;
    return (Slice){x, part->q_row * stride + head * part->dim, stride};
}

static inline Slice key_slice(const Tensor *x, const Part *part) {
    int64_t stride = part->shape->kv_heads * part->dim;
    return (Slice){x, part->k_row * stride + part->kv_head * part->dim, stride};
}

/// How many keys the part's query sees.
static inline int64_t visible_keys(const Part *part, int64_t query) {
    if (!part->shape->causal) return part->k_length;
    int64_t visible = query + 1 + part->k_length - part->q_length;
    if (visible < 0) visible = 0;
    return visible < part->k_length ? visible : part->k_length;
}

/// How many of the keys that the part's query sees otherwise lie before its window.
static inline int64_t hidden_keys(const Part *part, int64_t query) {
    if (!part->shape->window) return 0;
    int64_t hidden = visible_keys(part, query) - part->shape->window;
    return hidden > 0 ? hidden : 0;
}

/// The keys that a row sees among those of a block: from `first` to `end`, both 0 where there are
/// none.
typedef struct KeyRange {
    int64_t first, end;
} KeyRange;

/// For the block of `count` keys that begins at `key`.
static inline KeyRange keys_in_block(const Part *part, int64_t query, int64_t key, int64_t count) {
    int64_t end = visible_keys(part, query) - key, first = hidden_keys(part, query) - key;
    end = end < count ? end : count;
    first = first > 0 ? first : 0;
    return first < end ? (KeyRange){first, end} : (KeyRange){0, 0};
}

/// A head's rows of x, times factor, as left operand of a product: [padded][part->row] elements.
/// Pairs are copied as they are.
static inline void load_rows(const Part *part, Slice x, int64_t first, int64_t rows, float factor,
                             int64_t padded, float *to) {
    if (part->element == PAIRS)
        copy_bfloat16_rows(x, first, rows, part->dim, padded, part->width, (uint16_t *)(void *)to);
    else
        copy_rows(x, first, rows, part->dim, factor, padded, part->width, to);
}

/// Packs keys or values block by block, transposed for products with queries. `space` holds KEYS *
/// width floats.
static inline void pack_keys_transposed(const Tensor *x, const Part *part, float *packed,
                                        float *space) {
    for (int64_t key = 0; key < part->k_length; key += KEYS) {
        int64_t count = part->k_length - key < KEYS ? part->k_length - key : KEYS;
        int64_t padded = round_up(count, LANES);
        load_rows(part, key_slice(x, part), key, count, 1.0f, padded, space);
        pack_transposed(space, padded, part->depth, part->row, packed + key * part->depth);
    }
}

/// Packs keys or values by rows, as `element`, for products with weights or their gradients.
static inline void pack_key_rows(const Tensor *x, const Part *part, Element element, float *packed,
                                 float *space) {
    for (int64_t key = 0; key < part->k_length; key += KEYS) {
        int64_t count = part->k_length - key < KEYS ? part->k_length - key : KEYS;
        int64_t width = part->width;
        if (element == PAIRS) {
            uint16_t *rows = (uint16_t *)(void *)space;
            int64_t padded = round_up(count, part->key_multiple);
            copy_bfloat16_rows(key_slice(x, part), key, count, part->dim, padded, width, rows);
            pack_row_pairs(rows, padded / 2, width, KEYS / 2, packed + key / 2 * width);
        } else {
            copy_rows(key_slice(x, part), key, count, part->dim, 1.0f, count, width, space);
            pack_rows(space, count, width, KEYS, packed + key * width);
        }
    }
}

/// out [rows,KEYS] = loaded rows times packed keys or values of one block.
static inline void multiply_keys(const Part *part, int64_t rows, int64_t columns,
                                 const float *loaded, const float *packed, float *out) {
    TileStrides strides = {part->row, 1, part->depth, KEYS};
    if (part->element == PAIRS)
        tile_product(PAIRS, rows, columns, part->depth, loaded, packed, out, strides, false);
    else
        tile_product(FLOATS, rows, columns, part->depth, loaded, packed, out, strides, false);
}

/// Scores of the block of keys at `key`: queries that were loaded with the scale times packed keys.
static inline void multiply_queries(const Part *part, int64_t rows, int64_t columns,
                                    const float *queries, const float *keys, int64_t key,
                                    float *scores) {
    multiply_keys(part, rows, columns, queries, keys + key * part->depth, scores);
    if (part->element == PAIRS) // whose queries have no scale
        for (int64_t row = 0; row < rows; row++)
            scale_floats(scores + row * KEYS, columns, part->shape->scale, scores + row * KEYS);
}

/// Scores of keys that a row does not see, up to a whole vector, so that loops over rows need no
/// remainder: they become weights of zero. Returns how many scores are then to be worked on; those
/// from there to `columns` are set to zero.
static inline int64_t mask_scores(float *scores, KeyRange seen, int64_t columns) {
    int64_t whole = round_up(seen.end, LANES);
    for (int64_t j = 0; j < seen.first; j++) scores[j] = -INFINITY;
    for (int64_t j = seen.end; j < whole; j++) scores[j] = -INFINITY;
    for (int64_t j = whole; j < columns; j++) scores[j] = 0.0f;
    return whole;
}

/// Columns to compute for the first `count` keys of the block at `key`: whole panels as they were
/// packed, which may hold more.
static inline int64_t block_columns(const Part *part, int64_t key, int64_t count) {
    int64_t packed = part->k_length - key < KEYS ? part->k_length - key : KEYS;
    int64_t panels = round_up(count, PANEL), end = round_up(packed, LANES);
    return panels < end ? panels : end;
}

/// Adds to a row's scores of keys key .. key+count what their places on the grid say; they lie in
/// runs of one row of the grid.
static inline void add_positions(float *scores, const Part *part, int64_t head, int64_t query,
                                 int64_t key, int64_t count) {
    const RelativePositions *relative = &part->shape->relative;
    int64_t height = relative->height, width = relative->width;
    int64_t at = (part->q_row + query) * part->shape->heads + head;
    const float *vertical = (const float *)relative->vertical->data + at * (2 * height - 1) +
                            height - 1 - query / width;
    const float *horizontal = (const float *)relative->horizontal->data + at * (2 * width - 1) +
                              width - 1 - query % width;
    for (int64_t j = 0, run; j < count; j += run) {
        int64_t y = (key + j) / width, x = (key + j) % width;
        run = width - x < count - j ? width - x : count - j;
#pragma omp simd
        for (int64_t i = 0; i < run; i++) scores[j + i] += vertical[y] + horizontal[x + i];
    }
}

/// Writes rows [count,width] times factor to a tensor (NULL is allowed) by way of `space`.
static inline void store_rows(Tensor *x, Slice slice, int64_t first, int64_t count, int64_t dim,
                              int64_t width, float factor, const float *rows, float *space) {
    if (!x) return;
    for (int64_t row = 0; row < count; row++) {
        int64_t start = slice.first + (first + row) * slice.stride;
        float *target = chunk_target(x, start, space);
        scale_floats(rows + row * width, dim, factor, target);
        chunk_write(x, start, dim, target);
    }
}

/// Working memory cut into arrays; with memory NULL it only counts.
typedef struct Carver {
    float *memory;
    int64_t used;
} Carver;

static inline float *carve(Carver *carver, int64_t floats) {
    float *taken = carver->memory ? carver->memory + carver->used : NULL;
    carver->used += round_up(floats, 16);
    return taken;
}

/// Zeroes x if the segments (their lengths at `which`: 1 queries, 3 keys) leave out some of its
/// rows.
static inline void zero_unless_covered(Tensor *x, const Attention *shape, int which) {
    if (!x) return;
    const int32_t *segments = shape->segments->data;
    int64_t covered = 0;
    for (int64_t i = 0; i < shape->num_segments; i++) covered += segments[4 * i + which];
    if (covered < tensor_rows(x))
        x->device->fill_zero(x->device, x->data, (size_t)tensor_numel(x) * dtype_size(x->dtype));
}

/// Each part's owner writes its keys' gradients, so no key may belong to two segments.
static inline void check_disjoint_keys(const Attention *shape) {
    const int32_t *s = shape->segments->data;
    for (int64_t i = 1; i < shape->num_segments; i++)
        CHECK(
            s[4 * i + 2] >= s[4 * i - 2] + s[4 * i - 1],
            "attention_gradient: the keys of segment %lld begin before those of the one before end",
            (long long)i);
}

/// Small attention is not worth waking the other threads for.
static inline int attention_threads(const Attention *shape) {
    int64_t work = (int64_t)shape->num_segments * shape->heads * shape->max_q_length *
                   shape->max_k_length * shape->head_dim;
    return work < 16 * SERIAL_BELOW ? 1 : omp_get_max_threads();
}

/// How many ways to cut each part's queries, in blocks of `queries`, so that every thread gets
/// several pieces of work.
static inline int64_t query_pieces(const Attention *shape, int64_t queries) {
    int64_t owners = (int64_t)shape->num_segments * shape->kv_heads;
    int64_t wanted = chunk_count(4 * (int64_t)omp_get_max_threads(), owners);
    int64_t blocks = chunk_count(shape->max_q_length, queries);
    return wanted < blocks ? wanted : blocks;
}
