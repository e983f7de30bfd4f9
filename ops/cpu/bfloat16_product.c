// Blocks as in Goto and van de Geijn, "Anatomy of High-Performance Matrix Multiplication" (2008),
// for large b and few rows: a is packed once and read from the outer caches; a panel of 32 columns
// of b and 320 of k lies in the first-level cache while all rows are multiplied with it. The next
// panel is packed meanwhile, in pieces of 16 cache lines after each tile, which the tile before has
// asked for: packing at one go costs four times as much, for the rows of b lie a power of two apart
// and fall into few sets of the cache.
#include "ops/cpu/bfloat16_product.h"

#if defined(__AVX512BF16__) && defined(__AVX512BW__)
#include "ops/cpu/bfloat16_tile.h"

#include <omp.h>

enum {
    /// of k in a panel at most
    BLOCK_PAIRS = 160,
    /// whose sums are kept from one block of k to the next
    BLOCK_COLUMNS = 1024,
    /// below, packing is not worth its while
    FEWEST_ROWS = 33,
    /// at once
    MOST_ROWS = 1024,
    FEWEST_PRODUCTS = 1 << 24
};

static inline int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t up_to(int64_t n, int64_t multiple) {
    return (n + multiple - 1) / multiple * multiple;
}

/// A product and how it is cut. Rows are cut into tiles of nearly equal heights, the first `taller`
/// of which have one row more.
typedef struct Product {
    const Matmul *shape;
    const uint16_t *b;
    const float *bias;
    char *c;
    int64_t tiles, height, taller;
    /// of k
    int64_t pairs, block_pairs, blocks;
    /// packed: [block][tile][pair][row]
    uint32_t *a;
} Product;

/// One thread's share: columns begin .. end.
typedef struct Share {
    int64_t begin, end, block_columns;
    /// [columns / TILE_COLUMNS][m][TILE_COLUMNS]
    float *sums;
    /// that in use and the next
    uint32_t *panel[2];
    int in_use;
} Share;

static Product product_cut(const Matmul *shape) {
    // With n tiles there are more than 14 (n - 1) rows, and n is at least 3: 43 rows in 4 tiles
    // make the lowest.
    _Static_assert(FEWEST_ROWS / 3 >= LOWEST_TILE && (3 * TILE_ROWS + 1) / 4 == LOWEST_TILE,
                   "heights");
    Product p = {.shape = shape, .pairs = (shape->k + 1) / 2};
    p.tiles = (shape->m + TILE_ROWS - 1) / TILE_ROWS;
    p.height = shape->m / p.tiles;
    p.taller = shape->m % p.tiles;
    p.blocks = (p.pairs + BLOCK_PAIRS - 1) / BLOCK_PAIRS;
    p.block_pairs = up_to((p.pairs + p.blocks - 1) / p.blocks, 16); // whole cache lines
    p.blocks = (p.pairs + p.block_pairs - 1) / p.block_pairs;
    return p;
}

/// How many pairs the block that begins at `pair` has.
static int64_t pairs_in_block(const Product *p, int64_t pair) {
    return least(p->pairs - pair, p->block_pairs);
}

static int64_t tile_rows(const Product *p, int64_t tile) { return p->height + (tile < p->taller); }

static size_t a_bytes(const Product *p) {
    return (size_t)up_to(p->pairs * p->shape->m * (int64_t)sizeof *p->a, 64);
}

static size_t panel_bytes(const Product *p) {
    return (size_t)(p->block_pairs * TILE_COLUMNS) * sizeof(uint32_t);
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
        s.panel[i] = (uint32_t *)(void *)(mine + sums_bytes(p) + (size_t)i * panel_bytes(p));
    return s;
}

/// All blocks of k of one tile's rows.
static void pack_rows_of_a(const Product *p, const uint16_t *a, int64_t tile) {
    int64_t k = p->shape->k, rows = tile_rows(p, tile);
    int64_t row = tile * p->height + least(tile, p->taller);
    for (int64_t pair = 0, pairs; pair < p->pairs; pair += pairs) {
        pairs = pairs_in_block(p, pair);
        pack_tile_rows(a + row * k + 2 * pair, k, rows, least(2 * pairs, k - 2 * pair),
                       p->a + pair * p->shape->m + row * pairs);
    }
}

/// The panel of the columns from `column` (of those before `end`) and the block of k that begins at
/// `pair`.
static Panel panel_at(const Product *p, int64_t pair, int64_t column, int64_t end, uint32_t *to) {
    bool transposed = p->shape->b_transposed;
    int64_t row = transposed ? p->shape->k : p->shape->n;
    Panel panel = {.row = row,
                   .columns = least(TILE_COLUMNS, end - column),
                   .depth = least(2 * pairs_in_block(p, pair), p->shape->k - 2 * pair),
                   .transposed = transposed,
                   .to = to};
    panel.from = transposed ? p->b + column * row + 2 * pair : p->b + 2 * pair * row + column;
    panel.pieces = transposed ? (panel.depth + 31) / 32 * 2 : (panel.depth + 15) / 16;
    return panel;
}

/// What follows the panel at (pair, column) of a block of columns first .. end; no pieces: nothing.
static Panel panel_after(const Product *p, const Share *s, int64_t pair, int64_t column,
                         int64_t first, int64_t end) {
    column += TILE_COLUMNS;
    if (column >= end) {
        column = first;
        pair += pairs_in_block(p, pair);
    }
    if (pair >= p->pairs) {
        pair = 0;
        column = end;
        end = s->end;
    }
    if (column >= s->end) return (Panel){0};
    return panel_at(p, pair, column, end, s->panel[!s->in_use]);
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

/// A file's matrix need not begin at a cache line: then a piece ends in lines of its own, and
/// begins in those of the piece before it. A block's first pieces have none; their beginnings were
/// last read a block of columns ago.
static void ask_for_piece(const Panel *panel, int64_t piece, Tile *t) {
    const char *begin = (const char *)piece_begin(panel, piece);
    int64_t row = panel->row * (int64_t)sizeof(uint16_t);
    if (panel->transposed && piece < 2 && (uintptr_t)begin % 64) ask_for_lines(t, begin, row, 16);
    ask_for_lines(t, begin + 63, row, 16);
}

/// All rows times the panel in use, which lies at (pair, column); packs the next one.
static void multiply_panel(const Product *p, const Share *s, int64_t pair, int64_t column,
                           float *sums, const Panel *next) {
    const Matmul *shape = p->shape;
    bool begun = p->bias || shape->accumulate;
    int64_t element = (int64_t)dtype_size(shape->c_type);
    // A tile asks for what is packed after the next one: all before the last.
    int64_t each = (next->pieces + p->tiles - 2) / (p->tiles - 1), packed = 0, asked = 0;
    if (pair == 0 && begun) begin_sums(p, column, least(TILE_COLUMNS, s->end - column), sums);
    Tile t = {.a = p->a + pair * shape->m,
              .b = s->panel[s->in_use],
              .sums = sums,
              .c = p->c + column * element,
              .c_row = shape->n * element,
              .columns = first_bits(s->end - column),
              .pairs = pairs_in_block(p, pair),
              .first = pair == 0 && !begun,
              .last = pair + pairs_in_block(p, pair) >= p->pairs,
              .float32 = shape->c_type == FLOAT32};
    for (int64_t tile = 0; tile < p->tiles; tile++) {
        int64_t rows = tile_rows(p, tile);
        t.prefetches = 0;
        if (p->blocks > 1) ask_for_lines(&t, t.sums + rows * TILE_COLUMNS, 64, 2 * rows);
        int64_t arrived = asked;
        for (; asked < least(arrived + each, next->pieces); asked++) ask_for_piece(next, asked, &t);
        multiply_tile_of[rows - LOWEST_TILE](&t);
        while (packed < arrived) pack_piece(next, packed++);
        t.a += rows * t.pairs;
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
        for (int64_t pair = 0; pair < p->pairs; pair += pairs_in_block(p, pair))
            for (int64_t column = first; column < end; column += TILE_COLUMNS) {
                Panel next = panel_after(p, s, pair, column, first, end);
                multiply_panel(p, s, pair, column, s->sums + (column - first) * p->shape->m, &next);
                s->in_use = !s->in_use;
            }
    }
}

/// Tiles pay where there are several rows of them, and every thread has columns.
static bool worth_its_while(const Matmul *shape, int threads) {
    return shape->type == BFLOAT16 && !shape->a_transposed && shape->m >= FEWEST_ROWS &&
           shape->n >= TILE_COLUMNS * threads &&
           shape->m * shape->n * shape->k >= FEWEST_PRODUCTS && onednn_has_bfloat16();
}

/// Rows are done in equal parts, so that working memory stays small, and a part of a in the caches.
static int64_t row_parts(const Matmul *shape) { return (shape->m + MOST_ROWS - 1) / MOST_ROWS; }

static size_t product_bytes(const Matmul *shape, int threads) {
    if (!worth_its_while(shape, threads)) return 0;
    Matmul largest = *shape;
    largest.m = (shape->m + row_parts(shape) - 1) / row_parts(shape);
    Product p = product_cut(&largest);
    return a_bytes(&p) + (size_t)threads * share_bytes(&p);
}

static void multiply_rows(const Matmul *shape, const uint16_t *a, const uint16_t *b,
                          const float *bias, char *c, int threads, char *memory) {
    Product p = product_cut(shape);
    p.b = b;
    p.bias = bias;
    p.c = c;
    p.a = (uint32_t *)(void *)memory;
#pragma omp parallel num_threads(threads)
    {
        Share share = share_of(&p, memory, omp_get_thread_num(), omp_get_num_threads());
#pragma omp for schedule(static)
        for (int64_t tile = 0; tile < p.tiles; tile++) pack_rows_of_a(&p, a, tile);
        multiply_share(&p, &share);
    }
}

static bool multiply(const Matmul *shape, const uint16_t *a, const uint16_t *b, const float *bias,
                     void *c, Device *device) {
    int threads = omp_get_max_threads();
    size_t bytes = product_bytes(shape, threads);
    if (!bytes) return false;
    char *memory = device->allocate(device, bytes);
    int64_t parts = row_parts(shape), row_bytes = shape->n * (int64_t)dtype_size(shape->c_type);
    for (int64_t part = 0; part < parts; part++) {
        int64_t first = shape->m * part / parts;
        Matmul rows = *shape;
        rows.m = shape->m * (part + 1) / parts - first;
        multiply_rows(&rows, a + first * shape->k, b, bias, (char *)c + first * row_bytes, threads,
                      memory);
    }
    device->release(device, memory, bytes);
    return true;
}

#else

static size_t product_bytes(const Matmul *shape, int threads) {
    (void)shape, (void)threads;
    return 0;
}

static bool multiply(const Matmul *shape, const uint16_t *a, const uint16_t *b, const float *bias,
                     void *c, Device *device) {
    (void)shape, (void)a, (void)b, (void)bias, (void)c, (void)device;
    return false;
}

#endif

const OwnProduct bfloat16_product = {multiply, product_bytes};
