// Attention in tiles: bands of queries against blocks of keys, as ops/cpu/attention.c has it, for
// BFLOAT16; other types, and calls of single queries (bound by reading keys and values, once), are
// left to the kernels without tiles. Layouts, loads and costs: attention_tiles.h. With heads of 128
// a tile of 16 x 16 scores takes 4 multiplications, 64 cycles, and its weights times values 12,
// 192, beside some 25 vector instructions for each of its rows, about 200 cycles.
//
// Scores stay products of what is stored; the scale is in the exponent, which is to base 2. A
// row's sums do not depend on which thread or band it falls to.
#include "ops/cpu/amx/attention_tiles.h"
#include "ops/cpu/amx/attention_weights.h"

DECLARE_FAMILY(attention, v4_bf16)

/// One thread's working memory.
typedef struct Forward {
    HeadSteps steps;
    /// what a score is multiplied by to be an exponent of 2
    float factor;
    /// packed
    float *keys, *values;
    /// [KEYS,width] elements
    float *space;
    /// [BAND,width]
    uint16_t *queries;
    /// groups: scores, then split weights
    float *strips;
    /// [BAND,width]: weighted values
    float *sums;
    /// [BAND]: each row's greatest exponent so far, and what the last block made of earlier sums
    float *highest, *shrink;
    /// [BAND][LANES]: parts of the sum of exponentials
    float *totals;
    /// of the band's rows in a block of keys
    KeyRange seen[BAND];
} Forward;

static Forward forward_carve(const Attention *shape, Carver *carver) {
    int64_t width = round_up(shape->head_dim, PANEL), keys = round_up(shape->max_k_length, KEYS);
    Forward f = {.steps = head_steps(shape->head_dim),
                 .factor = shape->relative.vertical ? LOG2_E : shape->scale * LOG2_E};
    f.keys = carve(carver, keys * width / 2);
    f.values = carve(carver, keys * width / 2);
    f.space = carve(carver, KEYS * width / 2);
    f.queries = (uint16_t *)(void *)carve(carver, BAND * width / 2);
    f.strips = carve(carver, BAND_SCORES);
    f.sums = carve(carver, BAND * width);
    f.highest = carve(carver, BAND);
    f.shrink = carve(carver, BAND);
    f.totals = carve(carver, (int64_t)BAND * LANES);
    return f;
}

// ---- softmax

/// Two vectors of a row: scores of the 32 keys from `key`.
static inline float *scores_of(const Forward *f, int64_t row, int64_t key) {
    return f->strips + key / STEP_ROWS * GROUP + row * LANES;
}

/// The greatest score of each of 16 rows; -INFINITY where a row sees none of the keys.
static __m512 greatest_scores(const Forward *f, int64_t first_row, int64_t count) {
    __m512i greatest[LANES];
    for (int64_t row = 0; row < LANES; row++) {
        __m512 x = _mm512_set1_ps(-INFINITY);
        for (int64_t key = 0; key < count; key += STEP_ROWS) {
            const float *scores = scores_of(f, first_row + row, key);
            __mmask32 wanted = keys_seen(f->seen[first_row + row], key);
            x = _mm512_mask_max_ps(x, (__mmask16)wanted, _mm512_load_ps(scores), x);
            x = _mm512_mask_max_ps(x, (__mmask16)(wanted >> LANES), _mm512_load_ps(scores + STRIP),
                                   x);
        }
        greatest[row] = _mm512_castps_si512(x);
    }
    transpose_words(greatest);
    __m512 x = _mm512_castsi512_ps(greatest[0]);
    for (int i = 1; i < LANES; i++) x = _mm512_max_ps(x, _mm512_castsi512_ps(greatest[i]));
    return x;
}

/// The rows' new maxima; what was summed under the old ones shrinks to them.
static void raise_maxima(Forward *f, int64_t rows, int64_t count, int64_t width) {
    for (int64_t row = 0; row < rows; row += LANES) {
        __m512 old = _mm512_load_ps(f->highest + row);
        __m512 now = _mm512_max_ps(
            old, _mm512_mul_ps(greatest_scores(f, row, count), _mm512_set1_ps(f->factor)));
        __mmask16 risen = _mm512_cmp_ps_mask(old, _mm512_set1_ps(-INFINITY), _CMP_GT_OQ) &
                          _mm512_cmp_ps_mask(now, old, _CMP_GT_OQ);
        __m512 shrink = powers_of_two(_mm512_sub_ps(old, now), risen);
        _mm512_store_ps(f->highest + row, now);
        _mm512_store_ps(f->shrink + row, _mm512_mask_mov_ps(_mm512_set1_ps(1.0f), risen, shrink));
    }
    for (int64_t row = 0; row < rows; row++) {
        if (f->shrink[row] == 1.0f) continue;
        float *total = f->totals + row * LANES;
        scale_floats(total, LANES, f->shrink[row], total);
        scale_floats(f->sums + row * width, width, f->shrink[row], f->sums + row * width);
    }
}

/// A row's scores to split weights.
static void split_row(Forward *f, int64_t row, int64_t count) {
    __m512 factor = _mm512_set1_ps(f->factor), highest = _mm512_set1_ps(f->highest[row]);
    __m512 total = _mm512_load_ps(f->totals + row * LANES);
    for (int64_t key = 0; key < count; key += STEP_ROWS) {
        float *scores = scores_of(f, row, key);
        __m512 weight[2] = {_mm512_setzero_ps(), _mm512_setzero_ps()};
        __mmask32 wanted = keys_seen(f->seen[row], key);
        for (int i = 0; i < 2 && wanted; i++) {
            __m512 score = _mm512_load_ps(scores + i * STRIP);
            weight[i] = powers_of_two(_mm512_fmsub_ps(score, factor, highest),
                                      (__mmask16)(wanted >> (i * LANES)));
            total = _mm512_add_ps(total, weight[i]);
        }
        Split first = split(weight[0]), second = split(weight[1]);
        for (int part = 0; part < PARTS; part++)
            _mm512_store_si512(scores + part * STRIP,
                               in_a_row(first.parts[part], second.parts[part]));
    }
    _mm512_store_ps(f->totals + row * LANES, total);
}

/// Scores of a block of keys with the scale, and with what places on the grid say.
static void place_scores(Forward *f, const Part *part, int64_t head, int64_t first, int64_t rows,
                         int64_t key, int64_t columns) {
    __m512 scale = _mm512_set1_ps(part->shape->scale);
    for (int64_t row = 0; row < rows; row++) {
        float places[KEYS] = {0};
        add_positions(places, part, head, first + row, key, f->seen[row].end);
        for (int64_t j = 0; j < columns; j += LANES) {
            float *scores = scores_of(f, row, j) + j / LANES % 2 * STRIP;
            _mm512_store_ps(scores, _mm512_fmadd_ps(_mm512_load_ps(scores), scale,
                                                    _mm512_loadu_ps(places + j)));
        }
    }
}

// ---- a band of queries

/// Queries first .. first+rows of one head against all keys that any of them sees. Tiles are whole
/// before and after.
static void forward_band(Forward *f, const Part *part, int64_t member, int64_t first,
                         int64_t rows) {
    int64_t head = part->kv_head * (part->shape->heads / part->shape->kv_heads) + member;
    int64_t width = part->width, seen = visible_keys(part, first + rows - 1);
    int64_t padded = round_up(rows, TILE_MOST_ROWS);
    for (int64_t i = 0; i < padded * width; i++) f->sums[i] = 0.0f;
    for (int64_t i = 0; i < padded * LANES; i++) f->totals[i] = 0.0f;
    for (int64_t row = 0; row < padded; row++) f->highest[row] = -INFINITY;
    for (int64_t key = hidden_keys(part, first) / KEYS * KEYS; key < seen; key += KEYS) {
        int64_t count = seen - key < KEYS ? seen - key : KEYS;
        int64_t columns = block_columns(part, key, count);
        for (int64_t row = 0; row < padded; row++)
            f->seen[row] =
                row < rows ? keys_in_block(part, first + row, key, count) : (KeyRange){0, 0};
        begin_head_tiles(&f->steps);
        multiply_band(part, &f->steps, rows, columns, f->queries, f->keys + key * part->depth,
                      f->strips);
        begin_whole_tiles(&f->steps);
        if (part->shape->relative.vertical) place_scores(f, part, head, first, rows, key, columns);
        raise_maxima(f, padded, count, width);
        for (int64_t row = 0; row < padded; row++) split_row(f, row, count);
        multiply_strips(part, PARTS, rows, count, f->strips, f->values + key / 2 * width, f->sums);
    }
}

/// sums / total to y, and the log of the sum of exponentials. A row that sees no key is zero.
static void forward_finish(const Forward *f, const Part *part, int64_t member, int64_t first,
                           int64_t rows, Tensor *y, Tensor *log_sum_exp) {
    Slice out = query_slice(y, part, member);
    for (int64_t row = 0; row < rows; row++) {
        float total = sum_of_lanes(*(const Lanes *)(f->totals + row * LANES));
        float *sums = f->sums + row * part->width, inverse = total > 0.0f ? 1.0f / total : 0.0f;
        int64_t start = out.first + (first + row) * out.stride;
        scale_floats(sums, part->dim, inverse, sums);
        chunk_write(y, start, part->dim, sums);
        if (log_sum_exp)
            ((float *)log_sum_exp->data)[start / part->dim] =
                total > 0.0f ? fmaf(f->highest[row], LN_2, logf(total)) : -INFINITY;
    }
}

// ---- the kernel

/// Bands first_band .. end_band of every head of the part's group.
static void forward_part(Forward *f, const Part *part, int64_t first_band, int64_t end_band,
                         const Tensor *q, const Tensor *k, const Tensor *v, Tensor *y,
                         Tensor *log_sum_exp) {
    int64_t group = part->shape->heads / part->shape->kv_heads;
    pack_keys_transposed(k, part, f->keys, f->space);
    pack_key_rows(v, part, PAIRS, f->values, f->space);
    for (int64_t member = 0; member < group; member++)
        for (int64_t band = first_band; band < end_band; band++) {
            int64_t first = band * BAND, rows = chunk_length(part->q_length, BAND, band);
            copy_bfloat16_rows(query_slice(q, part, member), first, rows, part->dim,
                               round_up(rows, TILE_MOST_ROWS), part->width, f->queries);
            forward_band(f, part, member, first, rows);
            forward_finish(f, part, member, first, rows, y, log_sum_exp);
        }
}

static void attention_without_tiles(const Tensor *q, const Tensor *k, const Tensor *v,
                                    const Attention *shape, Tensor *y, Tensor *log_sum_exp) {
    Kernels without = {0};
    fill_attention_v4_bf16(&without);
    without.attention(q, k, v, shape, y, log_sum_exp);
}

static bool has_single_queries(const Attention *shape) { return shape->max_q_length <= 1; }

int64_t LEVEL_NAME(attention_floats)(const Attention *shape) {
    Carver count = {0};
    forward_carve(shape, &count);
    return has_single_queries(shape) ? 0 : count.used;
}

static void attention(const Tensor *q, const Tensor *k, const Tensor *v, const Attention *shape,
                      Tensor *y, Tensor *log_sum_exp) {
    if (q->dtype != BFLOAT16 || has_single_queries(shape)) {
        attention_without_tiles(q, k, v, shape, y, log_sum_exp);
        return;
    }
    zero_unless_covered(y, shape, 1);
    int64_t owners = (int64_t)shape->num_segments * shape->kv_heads;
    int64_t pieces = query_pieces(shape, BAND);
    int threads = attention_threads(shape);
    int64_t floats = LEVEL_NAME(attention_floats)(shape);
    size_t bytes = (size_t)(threads * floats) * sizeof(float);
    float *memory = q->device->allocate(q->device, bytes);
#pragma omp parallel num_threads(threads)
    {
        Carver mine = {memory + omp_get_thread_num() * floats, 0};
        Forward f = forward_carve(shape, &mine);
        tiles_begin(&whole_tiles);
#pragma omp for schedule(dynamic)
        for (int64_t task = 0; task < owners * pieces; task++) {
            Part part = tile_part(shape, &f.steps, task / pieces);
            int64_t bands = chunk_count(part.q_length, BAND), piece = task % pieces;
            int64_t first_band = bands * piece / pieces, end_band = bands * (piece + 1) / pieces;
            if (first_band < end_band)
                forward_part(&f, &part, first_band, end_band, q, k, v, y, log_sum_exp);
        }
        tiles_end();
    }
    q->device->release(q->device, memory, bytes);
}

FILL_FAMILY(attention)
