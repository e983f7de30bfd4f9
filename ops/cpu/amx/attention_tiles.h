/// Inside the kernels of attention in tiles: its products, and what their operands look like.
///
/// Queries come in bands of 32, two tiles of rows; keys in blocks of KEYS. The scores of a band and
/// 32 keys are a group of three strips [BAND][16] of FLOAT32: the first and the last 16 keys, and a
/// strip of room. What a tile holds is 1 KiB in one piece. What becomes of scores is BFLOAT16 and
/// takes their place line by line, so that it is in the first-level cache when tiles read it:
///
///                    strips, lines                             read as
///   split weights    a part each; a row's 32 keys              left operand, depth of keys
///   split weights    a part each; pairs of rows, first and     right operand, depth of queries
///                    last 16 keys in turns
///   score gradients  a row's 32 keys; pairs of rows as above   either
///
/// Everything else is packed as for the kernels without tiles (attention_part.h): their panels of
/// 32 columns are two tiles side by side.
///
/// A product goes over 2 x 2 tiles of sums. Loads for each multiplication: 1, and 0.67 where one
/// operand is in three parts. The right operand (keys, values: second-level cache) is a stream of
/// lines, asked for a step ahead; the left one, and scores and what becomes of them, stay in the
/// first-level cache.
///
/// A head's elements are cut into steps of equally many pairs, at most 16: 40 elements are 2 x 10
/// pairs, 80 are 3 x 14, 8 are 4 and not 16. If the processor multiplies a tile in as many cycles
/// as it has pairs, a thin head costs what it needs; if it takes 16 cycles whatever there is, a
/// head of 8 has a quarter of the rate in the products over its elements (q k^T, grad_y v^T), one
/// of 40 five eighths. Loads follow the pairs in either case. Where steps are thin, tiles are
/// described twice for each band and block.
#pragma once
#include "ops/cpu/amx/tiles.h"
#include "ops/cpu/attention_part.h"

enum {
    /// queries whose scores are made together
    BAND = 2 * TILE_MOST_ROWS,
    /// floats of a strip
    STRIP = BAND * LANES,
    /// keys that a step of depth takes, and queries
    STEP_ROWS = 32,
    /// of a softmax weight (attention_weights.h)
    PARTS = 3,
    /// floats of a group, and of a band's scores of a block of keys
    GROUP = PARTS * STRIP,
    BAND_SCORES = KEYS / STEP_ROWS * GROUP,
    TILE_BYTES = TILE_MOST_ROWS * TILE_MOST_BYTES,
};
_Static_assert(LANES == 16 && PANEL == 32, "a panel is two tiles");
_Static_assert(BAND == STEP_ROWS && KEYS % STEP_ROWS == 0, "blocks are whole steps");

/// Floats of working memory of a thread, 0 where the kernels without tiles do it. Of each level.
int64_t LEVEL_NAME(attention_floats)(const Attention *shape);
int64_t LEVEL_NAME(attention_gradient_floats)(const Attention *shape);

/// How a head's elements are cut, and the tiles for that.
typedef struct HeadSteps {
    int64_t count, pairs;
    /// tiles 0 .. 3 sums, 4 and 5 left, 6 and 7 right operands
    TileShapes shapes;
} HeadSteps;

static inline HeadSteps head_steps(int64_t dim) {
    HeadSteps steps = {.shapes = whole_tiles};
    int64_t pairs = (dim + 1) / 2;
    steps.count = chunk_count(pairs, TILE_MOST_ROWS);
    steps.pairs = chunk_count(pairs, steps.count);
    for (int tile = 4; tile < TILES; tile++)
        if (tile < 6)
            steps.shapes.row_bytes[tile] = (uint16_t)(steps.pairs * (int64_t)sizeof(uint32_t));
        else
            steps.shapes.rows[tile] = (uint8_t)steps.pairs;
    return steps;
}

/// For products over a head's elements, after tiles were whole, and back.
static inline void begin_head_tiles(const HeadSteps *steps) {
    if (steps->pairs < TILE_MOST_ROWS) tiles_begin(&steps->shapes);
}
static inline void begin_whole_tiles(const HeadSteps *steps) {
    if (steps->pairs < TILE_MOST_ROWS) tiles_begin(&whole_tiles);
}

/// part_of() with rows, panels and blocks of whole tiles.
static inline Part tile_part(const Attention *shape, const HeadSteps *steps, int64_t owner) {
    Part part = part_of(shape, BFLOAT16, owner);
    part.width = round_up(part.dim, PANEL);
    part.row = part.width / 2;
    part.depth = steps->count * steps->pairs;
    part.key_multiple = STEP_ROWS;
    return part;
}

/// Up to two tiles of a matrix; all distances in bytes.
typedef struct TileOperand {
    const void *from;
    /// from row to row, to the second tile, from a step of depth to the next
    int64_t stride, second, step;
    /// to the next part, where it is in parts
    int64_t part;
} TileOperand;

/// 2 x 2 tiles of FLOAT32.
typedef struct TileSums {
    float *at;
    int64_t stride, second_row, second_column;
} TileSums;

static inline __attribute__((always_inline)) const char *byte_of(TileOperand x, int64_t step,
                                                                 int64_t offset) {
    return (const char *)x.from + step * x.step + offset;
}

static inline __attribute__((always_inline)) float *sum_of(TileSums sums, int64_t offset) {
    return (float *)(void *)((char *)sums.at + offset);
}

/// One step of depth, of one part after the other.
static inline __attribute__((always_inline)) void multiply_step(bool two_rows, bool two_columns,
                                                                int left_parts, int right_parts,
                                                                int64_t step, TileOperand left,
                                                                TileOperand right) {
#pragma GCC unroll 3
    for (int part = 0; part < left_parts * right_parts; part++) {
        if (part == 0 || right_parts > 1) {
            TILE_LOAD(6, byte_of(right, step, part * right.part), right.stride);
            if (two_columns)
                TILE_LOAD(7, byte_of(right, step, part * right.part + right.second), right.stride);
        }
        if (part == 0 || left_parts > 1) {
            TILE_LOAD(4, byte_of(left, step, part * left.part), left.stride);
            if (two_rows)
                TILE_LOAD(5, byte_of(left, step, part * left.part + left.second), left.stride);
        }
        TILE_MULTIPLY(0, 4, 6);
        if (two_columns) TILE_MULTIPLY(1, 4, 7);
        if (two_rows) TILE_MULTIPLY(2, 5, 6);
        if (two_rows && two_columns) TILE_MULTIPLY(3, 5, 7);
    }
}

/// sums (+)= left right, steps of depth one after the other. `ahead`: lines of the right operand's
/// next step that are asked for in each.
static inline __attribute__((always_inline)) void multiply_tiles(bool two_rows, bool two_columns,
                                                                 int left_parts, int right_parts,
                                                                 int64_t steps, TileOperand left,
                                                                 TileOperand right, int64_t ahead,
                                                                 TileSums sums, bool accumulate) {
    int64_t last = sums.second_row + sums.second_column;
    if (accumulate) {
        TILE_LOAD(0, sums.at, sums.stride);
        if (two_columns) TILE_LOAD(1, sum_of(sums, sums.second_column), sums.stride);
        if (two_rows) TILE_LOAD(2, sum_of(sums, sums.second_row), sums.stride);
        if (two_rows && two_columns) TILE_LOAD(3, sum_of(sums, last), sums.stride);
    } else {
        TILE_ZERO(0);
        TILE_ZERO(1);
        TILE_ZERO(2);
        TILE_ZERO(3);
    }
    for (int64_t step = 0; step < steps; step++) {
        for (int64_t line = 0; line < ahead; line++)
            __builtin_prefetch(byte_of(right, step + 1, TILE_MOST_BYTES * line));
        multiply_step(two_rows, two_columns, left_parts, right_parts, step, left, right);
    }
    TILE_STORE(0, sums.at, sums.stride);
    if (two_columns) TILE_STORE(1, sum_of(sums, sums.second_column), sums.stride);
    if (two_rows) TILE_STORE(2, sum_of(sums, sums.second_row), sums.stride);
    if (two_rows && two_columns) TILE_STORE(3, sum_of(sums, last), sums.stride);
}

/// The same with two tiles of rows and of columns where those are asked for; the numbers of parts
/// and `accumulate` are constants.
static inline __attribute__((always_inline)) void multiply_up_to_two(
    bool two_rows, bool two_columns, int left_parts, int right_parts, int64_t steps,
    TileOperand left, TileOperand right, int64_t ahead, TileSums sums, bool accumulate) {
    if (two_rows && two_columns)
        multiply_tiles(true, true, left_parts, right_parts, steps, left, right, ahead, sums,
                       accumulate);
    else if (two_rows)
        multiply_tiles(true, false, left_parts, right_parts, steps, left, right, ahead, sums,
                       accumulate);
    else if (two_columns)
        multiply_tiles(false, true, left_parts, right_parts, steps, left, right, ahead, sums,
                       accumulate);
    else
        multiply_tiles(false, false, left_parts, right_parts, steps, left, right, ahead, sums,
                       accumulate);
}

/// groups = `rows` loaded rows of a band ([rows][part->width] elements) times `columns` packed keys
/// or values. Tiles are the head's.
static inline void multiply_band(const Part *part, const HeadSteps *steps, int64_t rows,
                                 int64_t columns, const uint16_t *loaded, const float *packed,
                                 float *strips) {
    enum { PAIR = sizeof(uint32_t) };
    int64_t row = part->width * (int64_t)sizeof *loaded;
    TileOperand left = {
        .from = loaded, .stride = row, .second = TILE_MOST_ROWS * row, .step = steps->pairs * PAIR};
    TileSums sums = {strips, TILE_MOST_BYTES, TILE_BYTES, STRIP * (int64_t)sizeof *strips};
    for (int64_t column = 0; column < columns; column += PANEL) {
        int64_t width = columns - column < PANEL ? LANES : PANEL;
        TileOperand right = {.from = packed + column * part->depth,
                             .stride = width * PAIR,
                             .second = TILE_MOST_BYTES,
                             .step = steps->pairs * width * PAIR};
        sums.at = strips + column / STEP_ROWS * GROUP;
        multiply_up_to_two(rows > TILE_MOST_ROWS, width == PANEL, 1, 1, steps->count, left, right,
                           steps->pairs * width / LANES, sums, false);
    }
}

/// sums [rows of a band][part->width] += what lies in the strips of `keys` keys (depth) times
/// `packed`, pairs of rows of keys or values. `parts`, a constant: PARTS where strips are
/// split weights, otherwise 1. Tiles are whole.
static inline __attribute__((always_inline)) void multiply_strips(const Part *part, int parts,
                                                                  int64_t rows, int64_t keys,
                                                                  const float *strips,
                                                                  const float *packed, float *out) {
    enum { STRIP_BYTES = STRIP * sizeof(float) };
    TileOperand left = {.from = strips,
                        .stride = TILE_MOST_BYTES,
                        .second = TILE_BYTES,
                        .step = PARTS * STRIP_BYTES,
                        .part = STRIP_BYTES};
    int64_t row = part->width * (int64_t)sizeof *out;
    TileSums sums = {out, row, TILE_MOST_ROWS * row, TILE_MOST_BYTES};
    for (int64_t column = 0; column < part->dim; column += PANEL) {
        TileOperand right = {.from = packed + column * (KEYS / 2),
                             .stride = PANEL * (int64_t)sizeof *packed,
                             .second = TILE_MOST_BYTES,
                             .step = (int64_t)2 * TILE_BYTES};
        sums.at = out + column;
        multiply_up_to_two(rows > TILE_MOST_ROWS, column + LANES < part->dim, parts, 1,
                           chunk_count(keys, STEP_ROWS), left, right, (int64_t)2 * TILE_MOST_ROWS,
                           sums, true);
    }
}
