/// Inside the CPU kernels: what the forward and the backward pass of attention share, namely blocks, the view of one segment and
/// key head, packing, and working memory.
#pragma once
#include "ops/cpu/cpu.h"
#include "ops/cpu/tile_product.h"

#include <math.h>
#include <omp.h>

enum { QUERIES = 48, KEYS = 128 }; ///< block sizes: multiples of TILE_ROWS and of PANEL
_Static_assert(QUERIES % TILE_ROWS == 0 && KEYS % PANEL == 0, "block sizes");

/// One segment and key head, as the kernels see it.
typedef struct Part {
    const Attention *shape;
    int64_t q_row, q_length, k_row, k_length, kv_head;
    int64_t dim, width; ///< head_dim, and head_dim rounded up to LANES
} Part;

static inline Part part_of(const Attention *shape, int64_t owner) {
    const int32_t *s = (const int32_t *)shape->segments->data + owner / shape->kv_heads * 4;
    return (Part){shape,
                  s[0],
                  s[1],
                  s[2],
                  s[3],
                  owner % shape->kv_heads,
                  shape->head_dim,
                  round_up(shape->head_dim, LANES)};
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

/// The keys that a row sees among those of a block: from `first` to `end`, both 0 where there are none.
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

/// Packs keys or values block by block: `transposed` for products with queries, `rows` for products with weights; either may be
/// NULL. `space` holds KEYS * width floats.
static inline void pack_keys(const Tensor *x, const Part *part, float *transposed, float *rows,
                             float *space) {
    Slice slice = key_slice(x, part);
    for (int64_t key = 0; key < part->k_length; key += KEYS) {
        int64_t count = part->k_length - key < KEYS ? part->k_length - key : KEYS;
        int64_t padded = round_up(count, LANES);
        copy_rows(slice, key, count, part->dim, 1.0f, padded, part->width, space);
        if (transposed)
            pack_transposed(space, padded, part->dim, part->width, transposed + key * part->dim);
        if (rows) pack_rows(space, count, part->width, KEYS, rows + key * part->width);
    }
}

/// Scores of keys that a row does not see, up to a whole vector, so that loops over rows need no remainder: they become weights of
/// zero. Returns how many scores are then to be worked on; those from there to `columns` are set to zero.
static inline int64_t mask_scores(float *scores, KeyRange seen, int64_t columns) {
    int64_t whole = round_up(seen.end, LANES);
    for (int64_t j = 0; j < seen.first; j++) scores[j] = -INFINITY;
    for (int64_t j = seen.end; j < whole; j++) scores[j] = -INFINITY;
    for (int64_t j = whole; j < columns; j++) scores[j] = 0.0f;
    return whole;
}

/// Columns to compute for the first `count` keys of the block at `key`: whole panels as they were packed, which may hold more.
static inline int64_t block_columns(const Part *part, int64_t key, int64_t count) {
    int64_t packed = part->k_length - key < KEYS ? part->k_length - key : KEYS;
    int64_t panels = round_up(count, PANEL), end = round_up(packed, LANES);
    return panels < end ? panels : end;
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

/// Zeroes x if the segments (their lengths at `which`: 1 queries, 3 keys) leave out some of its rows.
static inline void zero_unless_covered(Tensor *x, const Attention *shape, int which) {
    if (!x) return;
    const int32_t *segments = shape->segments->data;
    int64_t covered = 0;
    for (int64_t i = 0; i < shape->num_segments; i++) covered += segments[4 * i + which];
    if (covered < tensor_rows(x))
        x->device->fill_zero(x->device, x->data, (size_t)tensor_numel(x) * dtype_size(x->dtype));
}

/// Small attention is not worth waking the other threads for.
static inline int attention_threads(const Attention *shape) {
    int64_t work = (int64_t)shape->num_segments * shape->heads * shape->max_q_length *
                   shape->max_k_length * shape->head_dim;
    return work < 16 * SERIAL_BELOW ? 1 : omp_get_max_threads();
}

void LEVEL_NAME(attention_gradient)(const Tensor *q, const Tensor *k, const Tensor *v,
                                    const Tensor *y, const Tensor *log_sum_exp,
                                    const Tensor *grad_y, const Attention *shape, Tensor *grad_q,
                                    Tensor *grad_k, Tensor *grad_v);
