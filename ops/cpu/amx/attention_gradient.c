// Backward of attention in tiles, of ops/cpu/attention_gradient.c's formulas, for BFLOAT16; other
// types are left to the kernel without tiles. Layouts, loads and costs: attention_tiles.h.
//
// Four bands of queries go against a block of keys. Each band has its scores made and what becomes
// of them, and adds to the gradients of its queries, over a depth of keys; then the four together
// add to the gradients of the keys and values, which are transposed, over a depth of queries:
//
//   grad_v^T = grad_y^T P     grad_k^T = scale q^T dS     grad_q = scale dS k
//
// so that P and dS are right operands as they come, neighbouring rows joined to pairs. P is in
// three parts; dS is rounded (attention_part.h says why), to the same numbers in both uses. Sums
// are loaded and stored once for 4 multiplications and, of values, for 12. One thread owns a
// (segment, key head) with all the query heads of its group.
#include "ops/cpu/amx/attention_squares.h"

DECLARE_FAMILY(attention_gradient, v4_bf16)

enum { BANDS = 4, QUERY_BLOCK = BANDS * BAND };

typedef struct Inputs {
    const Tensor *q, *k, *v, *y, *log_sum_exp, *grad_y;
} Inputs;

/// Each may be NULL.
typedef struct Gradients {
    Tensor *q, *k, *v;
} Gradients;

/// One thread's working memory.
typedef struct Workspace {
    HeadSteps steps;
    /// packed transposed
    float *keys, *values;
    /// packed by rows
    float *key_rows;
    /// [k_length / KEYS][width,KEYS], sums
    float *grad_keys, *grad_values;
    /// [KEYS,width]
    float *space;
    /// [QUERY_BLOCK,width], and transposed: [width / 16][BANDS] tiles of [16 elements][BAND
    /// queries]
    uint16_t *queries, *grad_y, *queries_turned, *grad_y_turned;
    /// [QUERY_BLOCK,width]
    float *grad_queries;
    /// [BANDS] groups: scores and then split weights; their gradients
    float *weights, *grad_scores;
    /// [QUERY_BLOCK]: the log of the sum of exponentials, to base 2
    float *log_sum_exp, *delta;
} Workspace;

static Workspace workspace_carve(const Attention *shape, Carver *carver) {
    int64_t width = round_up(shape->head_dim, PANEL), keys = round_up(shape->max_k_length, KEYS);
    int64_t half_block = QUERY_BLOCK * width / 2;
    Workspace w = {.steps = head_steps(shape->head_dim)};
    w.keys = carve(carver, keys * width / 2);
    w.values = carve(carver, keys * width / 2);
    w.key_rows = carve(carver, keys * width / 2);
    w.grad_keys = carve(carver, keys * width);
    w.grad_values = carve(carver, keys * width);
    w.space = carve(carver, KEYS * width);
    w.queries = (uint16_t *)(void *)carve(carver, half_block);
    w.grad_y = (uint16_t *)(void *)carve(carver, half_block);
    w.queries_turned = (uint16_t *)(void *)carve(carver, half_block);
    w.grad_y_turned = (uint16_t *)(void *)carve(carver, half_block);
    w.grad_queries = carve(carver, QUERY_BLOCK * width);
    w.weights = carve(carver, (int64_t)BANDS * BAND_SCORES);
    w.grad_scores = carve(carver, (int64_t)BANDS * BAND_SCORES);
    w.log_sum_exp = carve(carver, QUERY_BLOCK);
    w.delta = carve(carver, QUERY_BLOCK);
    return w;
}

// ---- a block of queries

/// [rows,width], rows whole bands, to tiles of [16 elements][BAND rows].
static void turn_rows(const uint16_t *rows, int64_t count, int64_t width, uint16_t *turned) {
    for (int64_t row = 0; row < count; row += BAND)
        for (int64_t column = 0; column < width; column += LANES) {
            __m512i pairs[LANES];
            for (int64_t i = 0; i < LANES; i++)
                pairs[i] = (__m512i)join_rows(rows + (row + 2 * i) * width + column, width);
            transpose_words(pairs);
            uint16_t *to = turned + (column / LANES * BANDS + row / BAND) * (int64_t)(LANES * BAND);
            for (int64_t i = 0; i < LANES; i++) _mm512_store_si512(to + i * BAND, pairs[i]);
        }
}

/// Up to 16 elements as floats, the others zero.
static inline __m512 floats_of(const uint16_t *x, int64_t count) {
    __mmask16 there = (__mmask16)first_of_32(count);
    return _mm512_castsi512_ps(
        _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(there, x)), 16));
}

static inline float product_of_rows(const uint16_t *a, const uint16_t *b, int64_t dim) {
    __m512 sum = _mm512_setzero_ps();
    for (int64_t d = 0; d < dim; d += LANES)
        sum = _mm512_fmadd_ps(floats_of(a + d, dim - d), floats_of(b + d, dim - d), sum);
    return sum_of_lanes((Lanes)sum);
}

/// Reads a block of queries with what belongs to its rows, filled up to whole bands.
static void load_queries(Workspace *w, const Part *part, const Inputs *in, int64_t member,
                         int64_t first, int64_t rows) {
    int64_t width = part->width, dim = part->dim, padded = round_up(rows, BAND);
    Slice out = query_slice(in->y, part, member), grad_y = query_slice(in->grad_y, part, member);
    copy_bfloat16_rows(query_slice(in->q, part, member), first, rows, dim, padded, width,
                       w->queries);
    copy_bfloat16_rows(grad_y, first, rows, dim, padded, width, w->grad_y);
    turn_rows(w->queries, padded, width, w->queries_turned);
    turn_rows(w->grad_y, padded, width, w->grad_y_turned);
    for (int64_t row = 0; row < padded; row++) {
        int64_t start = out.first + (first + row) * out.stride;
        w->delta[row] = w->log_sum_exp[row] = 0.0f;
        if (row >= rows) continue;
        w->delta[row] = product_of_rows((const uint16_t *)out.tensor->data + start,
                                        w->grad_y + row * width, dim);
        w->log_sum_exp[row] = ((const float *)in->log_sum_exp->data)[start / dim] * LOG2_E;
    }
    for (int64_t i = 0; i < padded * width; i++) w->grad_queries[i] = 0.0f;
}

// ---- a block of queries and a block of keys

/// A band's groups of scores and of gradients of weights, for the `count` keys of the block at
/// `key`, to split weights and gradients of scores.
static void band_gradient(const Workspace *w, const Part *part, int64_t first, int64_t rows,
                          int64_t band, int64_t key, int64_t count) {
    float *weights = w->weights + band * BAND_SCORES;
    float *gradients = w->grad_scores + band * BAND_SCORES;
    __m512 factor = _mm512_set1_ps(part->shape->scale * LOG2_E);
    for (int64_t i = 0; i < BAND; i += 2) {
        RowPair pair;
        for (int64_t j = 0; j < 2; j++) {
            int64_t row = band * BAND + i + j;
            pair.log_sum_exp[j] = _mm512_set1_ps(w->log_sum_exp[row]);
            pair.delta[j] = _mm512_set1_ps(w->delta[row]);
            pair.seen[j] =
                row < rows ? keys_in_block(part, first + row, key, count) : (KeyRange){0, 0};
        }
        for (int64_t j = 0; j < count; j += STEP_ROWS) {
            int64_t at = j / STEP_ROWS * GROUP + i * LANES;
            __mmask32 seen[2] = {keys_seen(pair.seen[0], j), keys_seen(pair.seen[1], j)};
            Square s = {0};
            if (seen[0] | seen[1]) s = square_of(&pair, factor, seen, weights + at, gradients + at);
            store_weights(&s, weights + at);
            store_gradients(&s, gradients + at);
        }
    }
}

/// Some of a block's bands: those between have none of the keys either.
typedef struct BandRange {
    int64_t first, end;
} BandRange;

/// The bands of which some row sees some of the `count` keys at `key`.
static BandRange bands_that_see(const Part *part, int64_t first, int64_t rows, int64_t key,
                                int64_t count) {
    BandRange seeing = {0, 0};
    for (int64_t band = 0; band * BAND < rows; band++) {
        int64_t begin = first + band * BAND;
        int64_t last = (band + 1) * BAND < rows ? begin + BAND - 1 : first + rows - 1;
        if (visible_keys(part, last) <= key || hidden_keys(part, begin) >= key + count) continue;
        if (seeing.end == 0) seeing.first = band;
        seeing.end = band + 1;
    }
    return seeing;
}

/// sums [width,KEYS] += turned rows of the bands (depth) times the pairs in their groups, from the
/// first strip of these. `parts`, a constant: PARTS for split weights, otherwise 1.
static inline __attribute__((always_inline)) void multiply_bands(const Part *part, int parts,
                                                                 BandRange bands, int64_t count,
                                                                 const uint16_t *turned,
                                                                 const float *strips, float *sums) {
    enum { FLOAT = sizeof(float), LINE = TILE_MOST_BYTES };
    int64_t steps = bands.end - bands.first;
    for (int64_t key = 0; key < count; key += STEP_ROWS)
        for (int64_t d = 0; d < part->dim; d += STEP_ROWS) {
            TileOperand left = {.from = turned +
                                        (d / LANES * BANDS + bands.first) * (int64_t)(LANES * BAND),
                                .stride = LINE,
                                .second = (int64_t)BANDS * TILE_BYTES,
                                .step = TILE_BYTES};
            TileOperand right = {.from =
                                     strips + bands.first * BAND_SCORES + key / STEP_ROWS * GROUP,
                                 .stride = (int64_t)2 * LINE,
                                 .second = LINE,
                                 .step = (int64_t)BAND_SCORES * FLOAT,
                                 .part = (int64_t)STRIP * FLOAT};
            TileSums to = {sums + d * KEYS + key, (int64_t)KEYS * FLOAT,
                           (int64_t)TILE_MOST_ROWS * KEYS * FLOAT, LINE};
            multiply_up_to_two(d + LANES < part->dim, key + LANES < count, 1, parts, steps, left,
                               right, 0, to, true);
        }
}

static void block_gradient(Workspace *w, const Part *part, const Gradients *wanted, int64_t first,
                           int64_t rows, int64_t key, int64_t count) {
    int64_t width = part->width, columns = block_columns(part, key, count);
    BandRange bands = bands_that_see(part, first, rows, key, count);
    for (int64_t band = bands.first; band < bands.end; band++) {
        int64_t row = band * BAND, band_rows = rows - row < BAND ? rows - row : BAND;
        float *weights = w->weights + band * BAND_SCORES;
        float *gradients = w->grad_scores + band * BAND_SCORES;
        begin_head_tiles(&w->steps);
        multiply_band(part, &w->steps, band_rows, columns, w->queries + row * width,
                      w->keys + key * part->depth, weights);
        multiply_band(part, &w->steps, band_rows, columns, w->grad_y + row * width,
                      w->values + key * part->depth, gradients);
        begin_whole_tiles(&w->steps);
        band_gradient(w, part, first, rows, band, key, count);
        if (wanted->q)
            multiply_strips(part, 1, band_rows, count, gradients, w->key_rows + key / 2 * width,
                            w->grad_queries + row * width);
    }
    if (wanted->v)
        multiply_bands(part, PARTS, bands, count, w->grad_y_turned, w->weights,
                       w->grad_values + key * width);
    if (wanted->k)
        multiply_bands(part, 1, bands, count, w->queries_turned, w->grad_scores + STRIP,
                       w->grad_keys + key * width);
}

// ---- the kernel

/// 16 rows of a transposed block to as many columns.
static inline void turn_square(const float *from, float *to, int64_t width) {
    __m512i x[LANES];
    for (int64_t i = 0; i < LANES; i++) x[i] = _mm512_load_si512(from + i * KEYS);
    transpose_words(x);
    for (int64_t i = 0; i < LANES; i++) _mm512_store_si512(to + i * width, x[i]);
}

/// Writes sums of transposed blocks, times factor, to a tensor (NULL is allowed).
static void store_turned(Workspace *w, const Part *part, Tensor *x, float factor,
                         const float *sums) {
    int64_t width = part->width;
    if (!x) return;
    for (int64_t key = 0; key < part->k_length; key += KEYS) {
        int64_t count = part->k_length - key < KEYS ? part->k_length - key : KEYS;
        const float *from = sums + key * width;
        for (int64_t i = 0; i < count; i += LANES)
            for (int64_t d = 0; d < part->dim; d += LANES)
                turn_square(from + d * KEYS + i, w->space + i * width + d, width);
        store_rows(x, key_slice(x, part), key, count, part->dim, width, factor, w->space,
                   w->grad_queries);
    }
}

static void part_gradient(Workspace *w, const Part *part, const Inputs *in,
                          const Gradients *wanted) {
    int64_t width = part->width, group = part->shape->heads / part->shape->kv_heads;
    pack_keys_transposed(in->k, part, w->keys, w->space);
    pack_keys_transposed(in->v, part, w->values, w->space);
    pack_key_rows(in->k, part, PAIRS, w->key_rows, w->space);
    for (int64_t i = 0; i < round_up(part->k_length, KEYS) * width; i++)
        w->grad_keys[i] = w->grad_values[i] = 0.0f;
    for (int64_t member = 0; member < group; member++)
        for (int64_t first = 0; first < part->q_length; first += QUERY_BLOCK) {
            int64_t left = part->q_length - first, rows = left < QUERY_BLOCK ? left : QUERY_BLOCK;
            load_queries(w, part, in, member, first, rows);
            int64_t seen = visible_keys(part, first + rows - 1);
            for (int64_t key = hidden_keys(part, first) / KEYS * KEYS; key < seen; key += KEYS)
                block_gradient(w, part, wanted, first, rows, key,
                               seen - key < KEYS ? seen - key : KEYS);
            if (wanted->q)
                store_rows(wanted->q, query_slice(wanted->q, part, member), first, rows, part->dim,
                           width, part->shape->scale, w->grad_queries, w->space);
        }
    store_turned(w, part, wanted->k, part->shape->scale, w->grad_keys);
    store_turned(w, part, wanted->v, 1.0f, w->grad_values);
}

int64_t LEVEL_NAME(attention_gradient_floats)(const Attention *shape) {
    Carver count = {0};
    workspace_carve(shape, &count);
    return count.used;
}

static void attention_gradient(const Tensor *q, const Tensor *k, const Tensor *v, const Tensor *y,
                               const Tensor *log_sum_exp, const Tensor *grad_y,
                               const Attention *shape, Tensor *grad_q, Tensor *grad_k,
                               Tensor *grad_v) {
    if (q->dtype != BFLOAT16) {
        Kernels without = {0};
        fill_attention_gradient_v4_bf16(&without);
        without.attention_gradient(q, k, v, y, log_sum_exp, grad_y, shape, grad_q, grad_k, grad_v);
        return;
    }
    zero_unless_covered(grad_q, shape, 1);
    zero_unless_covered(grad_k, shape, 3);
    zero_unless_covered(grad_v, shape, 3);
    check_disjoint_keys(shape);
    Inputs in = {q, k, v, y, log_sum_exp, grad_y};
    Gradients wanted = {grad_q, grad_k, grad_v};
    int64_t owners = (int64_t)shape->num_segments * shape->kv_heads;
    int threads = attention_threads(shape);
    int64_t floats = LEVEL_NAME(attention_gradient_floats)(shape);
    size_t bytes = (size_t)(threads * floats) * sizeof(float);
    float *memory = q->device->allocate(q->device, bytes);
#pragma omp parallel num_threads(threads)
    {
        Carver mine = {memory + omp_get_thread_num() * floats, 0};
        Workspace w = workspace_carve(shape, &mine);
        tiles_begin(&whole_tiles);
#pragma omp for schedule(dynamic)
        for (int64_t owner = 0; owner < owners; owner++) {
            Part part = tile_part(shape, &w.steps, owner);
            part_gradient(&w, &part, &in, &wanted);
        }
        tiles_end();
    }
    q->device->release(q->device, memory, bytes);
}

FILL_FAMILY(attention_gradient)
