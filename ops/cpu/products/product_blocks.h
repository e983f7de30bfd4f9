/// Inside the products of this folder only (bfloat16_product.c, float32_blocks.c), after a tile
/// header, which has the sizes of tiles and packs for them: how a product is cut.
///
/// Blocks as in Goto and van de Geijn, "Anatomy of High-Performance Matrix Multiplication" (2008),
/// for large b and few rows: a is packed once and read from the outer caches; a panel of
/// TILE_COLUMNS columns of b and BLOCK_STEPS of k lies in the first-level cache while all rows are
/// multiplied with it. The next panel is packed meanwhile, in pieces of 16 cache lines after each
/// tile, which the tile before has asked for: packing at one go costs four times as much, for the
/// rows of b lie a power of two apart and fall into few sets of the cache.
#pragma once
#include "ops/cpu/onednn.h"
#include "ops/cpu/products/product_tile.h"

#include <omp.h>

enum {
    /// whose sums are kept from one block of k to the next
    BLOCK_COLUMNS = 1024,
    /// at once
    MOST_ROWS = 1024,
    /// of k, as many as make a cache line of what is packed and of what it is packed from
    WHOLE_STEPS = 32 / STEP
};

static inline int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t up_to(int64_t n, int64_t multiple) {
    return (n + multiple - 1) / multiple * multiple;
}

/// A product and how it is cut. Rows are cut into tiles of nearly equal heights, the first `taller`
/// of which have one row more.
typedef struct Product {
    const Matmul *shape;
    ProductMatrix b;
    const float *bias;
    char *c;
    int64_t tiles, height, taller;
    /// of k: one element of a row, or a pair
    int64_t steps, block_steps, blocks;
    /// packed: [block][tile][step][row]
    Word *a;
} Product;

/// One thread's share: columns begin .. end.
typedef struct Share {
    int64_t begin, end, block_columns;
    /// [columns / TILE_COLUMNS][m][TILE_COLUMNS]
    float *sums;
    /// that in use and the next
    Word *panel[2];
    int in_use;
} Share;

static Product product_cut(const Matmul *shape) {
    Product p = {.shape = shape, .steps = (shape->k + STEP - 1) / STEP};
    p.tiles = (shape->m + TILE_ROWS - 1) / TILE_ROWS;
    p.height = shape->m / p.tiles;
    p.taller = shape->m % p.tiles;
    p.blocks = (p.steps + BLOCK_STEPS - 1) / BLOCK_STEPS;
    p.block_steps = up_to((p.steps + p.blocks - 1) / p.blocks, WHOLE_STEPS);
    p.blocks = (p.steps + p.block_steps - 1) / p.block_steps;
    return p;
}

/// How many steps the block that begins at `step` has.
static int64_t steps_in_block(const Product *p, int64_t step) {
    return least(p->steps - step, p->block_steps);
}

/// The same in elements: the last step may be half of one.
static int64_t elements_in_block(const Product *p, int64_t step) {
    return least(STEP * steps_in_block(p, step), p->shape->k - STEP * step);
}

static int64_t tile_rows(const Product *p, int64_t tile) { return p->height + (tile < p->taller); }

static size_t a_bytes(const Product *p) {
    return (size_t)up_to(p->steps * p->shape->m * (int64_t)sizeof *p->a, LINE);
}

static size_t panel_bytes(const Product *p) {
    return (size_t)(p->block_steps * TILE_COLUMNS) * sizeof(Word);
}

static size_t sums_bytes(const Product *p) {
    int64_t columns = least(up_to(p->shape->n, TILE_COLUMNS), BLOCK_COLUMNS);
    return (size_t)(p->shape->m * columns) * sizeof(float);
}

static size_t share_bytes(const Product *p) { return sums_bytes(p) + 2 * panel_bytes(p); }

static Share share_of(const Product *p, char *memory, int thread, int threads) {
    Share s = {0};
    int64_t n = p->shape->n, groups = (n + TILE_COLUMNS - 1) / TILE_COLUMNS;
    s.begin = groups * thread / threads * TILE_COLUMNS;
    s.end = least(groups * (thread + 1) / threads * TILE_COLUMNS, n);
    int64_t columns = s.end - s.begin, blocks = (columns + BLOCK_COLUMNS - 1) / BLOCK_COLUMNS;
    s.block_columns = blocks ? up_to((columns + blocks - 1) / blocks, TILE_COLUMNS) : 0;
    char *mine = memory + a_bytes(p) + (size_t)thread * share_bytes(p);
    s.sums = (float *)(void *)mine;
    for (int i = 0; i < 2; i++)
        s.panel[i] = (Word *)(void *)(mine + sums_bytes(p) + (size_t)i * panel_bytes(p));
    return s;
}

/// All blocks of k of one tile's rows.
static void pack_rows_of_a(const Product *p, ProductMatrix a, int64_t tile) {
    int64_t element = (int64_t)dtype_size(a.type), row_bytes = p->shape->k * element;
    int64_t rows = tile_rows(p, tile), row = tile * p->height + least(tile, p->taller);
    const char *from = (const char *)a.data + row * row_bytes;
    for (int64_t step = 0, steps; step < p->steps; step += steps) {
        steps = steps_in_block(p, step);
        pack_tile_rows(from + STEP * step * element, a.type, row_bytes, rows,
                       elements_in_block(p, step), p->a + step * p->shape->m + row * steps);
    }
}

/// The panel of the columns from `column` (of those before `end`) and the block of k that begins at
/// `step`.
static Panel panel_at(const Product *p, int64_t step, int64_t column, int64_t end, Word *to) {
    bool transposed = p->shape->b_transposed;
    int64_t element = (int64_t)dtype_size(p->b.type);
    int64_t row = (transposed ? p->shape->k : p->shape->n) * element;
    Panel panel = {.row = row,
                   .element = element,
                   .columns = least(TILE_COLUMNS, end - column),
                   .depth = elements_in_block(p, step),
                   .transposed = transposed,
                   .to = to};
    panel.from = (const char *)p->b.data + (transposed ? column * row + STEP * step * element
                                                       : STEP * step * row + column * element);
    panel.pieces = panel_pieces(&panel);
    return panel;
}

/// What follows the panel at (step, column) of a block of columns first .. end; no pieces: nothing.
static Panel panel_after(const Product *p, const Share *s, int64_t step, int64_t column,
                         int64_t first, int64_t end) {
    column += TILE_COLUMNS;
    if (column >= end) {
        column = first;
        step += steps_in_block(p, step);
    }
    if (step >= p->steps) {
        step = 0;
        column = end;
        end = s->end;
    }
    if (column >= s->end) return (Panel){0};
    return panel_at(p, step, column, end, s->panel[!s->in_use]);
}

/// What sums begin with if not zero: the bias, and what is in c.
static void begin_sums(const Product *p, int64_t column, int64_t columns, float *sums) {
    const Matmul *shape = p->shape;
    for (int64_t row = 0; row < shape->m; row++, sums += TILE_COLUMNS)
        for (int64_t j = 0; j < TILE_COLUMNS; j++) {
            int64_t at = row * shape->n + column + j;
            sums[j] = p->bias && j < columns ? p->bias[column + j] : 0.0f;
            if (!shape->accumulate || j >= columns) continue;
            sums[j] += shape->c_type == FLOAT32
                           ? ((const float *)(const void *)p->c)[at]
                           : bfloat16_to_float(((const uint16_t *)(const void *)p->c)[at]);
        }
}

/// All rows times the panel in use, which lies at (step, column); packs the next one.
static void multiply_panel(const Product *p, const Share *s, int64_t step, int64_t column,
                           float *sums, const Panel *next) {
    const Matmul *shape = p->shape;
    bool begun = p->bias || shape->accumulate;
    int64_t element = (int64_t)dtype_size(shape->c_type);
    // A tile asks for what is packed after the next one: all before the last.
    int64_t askers = p->tiles > 1 ? p->tiles - 1 : 1;
    int64_t each = (next->pieces + askers - 1) / askers, packed = 0, asked = 0;
    if (step == 0 && begun) begin_sums(p, column, least(TILE_COLUMNS, s->end - column), sums);
    Tile t = {.a = p->a + step * shape->m,
              .b = s->panel[s->in_use],
              .sums = sums,
              .c = p->c + column * element,
              .c_row = shape->n * element,
              .columns = s->end - column,
              .steps = steps_in_block(p, step),
              .first = step == 0 && !begun,
              .last = step + steps_in_block(p, step) >= p->steps,
              .float32 = shape->c_type == FLOAT32};
    for (int64_t tile = 0; tile < p->tiles; tile++) {
        int64_t rows = tile_rows(p, tile);
        t.prefetches = 0;
        if (p->blocks > 1)
            ask_for_lines(&t, t.sums + rows * TILE_COLUMNS, LINE,
                          rows * TILE_COLUMNS * (int64_t)sizeof(float) / LINE);
        int64_t arrived = asked;
        for (; asked < least(arrived + each, next->pieces); asked++) ask_for_piece(next, asked, &t);
        multiply_tile_of[rows - LOWEST_TILE](&t);
        while (packed < arrived) pack_piece(next, packed++);
        t.a += rows * t.steps;
        t.sums += rows * TILE_COLUMNS;
        t.c += rows * t.c_row;
    }
    while (packed < next->pieces) pack_piece(next, packed++);
}

static void multiply_share(const Product *p, Share *s) {
    if (s->begin >= s->end) return;
    int64_t end;
    for (int64_t first = s->begin; first < s->end; first = end) {
        end = least(first + s->block_columns, s->end);
        if (first == s->begin) {
            Panel panel = panel_at(p, 0, first, end, s->panel[s->in_use]);
            for (int64_t i = 0; i < panel.pieces; i++) pack_piece(&panel, i);
        }
        for (int64_t step = 0; step < p->steps; step += steps_in_block(p, step))
            for (int64_t column = first; column < end; column += TILE_COLUMNS) {
                Panel next = panel_after(p, s, step, column, first, end);
                multiply_panel(p, s, step, column, s->sums + (column - first) * p->shape->m, &next);
                s->in_use = !s->in_use;
            }
    }
}

static void multiply_rows(const Matmul *shape, ProductMatrix a, ProductMatrix b, const float *bias,
                          char *c, int threads, char *memory) {
    Product p = product_cut(shape);
    p.b = b;
    p.bias = bias;
    p.c = c;
    p.a = (Word *)(void *)memory;
#pragma omp parallel num_threads(threads)
    {
        Share share = share_of(&p, memory, omp_get_thread_num(), omp_get_num_threads());
#pragma omp for schedule(static)
        for (int64_t tile = 0; tile < p.tiles; tile++) pack_rows_of_a(&p, a, tile);
        multiply_share(&p, &share);
    }
}

/// Rows are done in equal parts, so that working memory stays small, and a part of a in the caches.
static int64_t row_parts(const Matmul *shape) { return (shape->m + MOST_ROWS - 1) / MOST_ROWS; }

/// Bytes of working memory of multiply_blocks().
static size_t blocks_bytes(const Matmul *shape, int threads) {
    Matmul largest = *shape;
    largest.m = (shape->m + row_parts(shape) - 1) / row_parts(shape);
    Product p = product_cut(&largest);
    return a_bytes(&p) + (size_t)threads * share_bytes(&p);
}

/// c (+)= a b + bias. `memory`: blocks_bytes().
static void multiply_blocks(const Matmul *shape, ProductMatrix a, ProductMatrix b,
                            const float *bias, char *c, int threads, char *memory) {
    int64_t parts = row_parts(shape);
    int64_t a_row = shape->k * (int64_t)dtype_size(a.type);
    int64_t c_row = shape->n * (int64_t)dtype_size(shape->c_type);
    for (int64_t part = 0; part < parts; part++) {
        int64_t first = shape->m * part / parts;
        Matmul rows = *shape;
        rows.m = shape->m * (part + 1) / parts - first;
        ProductMatrix a_rows = {(const char *)a.data + first * a_row, a.type};
        multiply_rows(&rows, a_rows, b, bias, c + first * c_row, threads, memory);
    }
}
