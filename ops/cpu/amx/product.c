// What a product takes from memory is the larger of its operands, so that one is read once: 32 of
// its rows or columns and 256 of k at a time, a panel, are packed into the first-level cache while
// those before are multiplied. The smaller operand is packed once as a whole; of it, as much of k
// as a panel has lies in the second-level cache (1024 rows: 512 KiB) while all panels of a block
// are multiplied with it, whose sums lie there too between one part of k and the next. Going
// through all of k panel by panel would read the packed operand, 5 MB of a 7B model's activations,
// from the last-level cache 128 times, which a core's share of it cannot give.
//
// Either side of a multiplication of tiles may be the panel. An operand whose k lies side by side
// costs nothing on the left, one that is stored across is cheap on the right:
//   y = x W^T             the panel is on the left, the other is transposed when it is packed
//   grad_x = grad_y W     grad_y on the left
//   grad_W += grad_y^T x  the panel is on the right, the other is transposed when it is packed
// With b on the left the sums come out transposed, and are turned as they are written.
#include "ops/cpu/amx/product.h"

#include "ops/cpu/amx/product_tile.h"
#include "ops/cpu/cpu.h"

#include <omp.h>

enum {
    /// of k in a panel at most
    BLOCK_STEPS = 8,
    /// of the packed operand at once
    MOST_GROUPS = 32,
    /// of a thread, between parts of k: two threads and their packed operand share 2 MiB
    SUMS_BYTES = 640 << 10,
    /// of rows, and of columns: half a tile
    FEWEST_OF_A_SIDE = 8,
    /// half of a step
    FEWEST_OF_K = 16,
    /// below, waking the threads costs more
    FEWEST_PRODUCTS = 1 << 18
};

/// A product and how it is cut. Of the packed operand, groups first .. end are at hand.
typedef struct Product {
    const Matmul *shape;
    const float *bias;
    char *c;
    Operand panel, packed;
    /// of k, in all and in a block
    int64_t steps, block_steps;
    /// groups of the packed operand at once
    int64_t part_groups, first, end;
    /// [block of k][group][step][tile]
    char *memory;
} Product;

/// One thread's share: groups begin .. end of the panels' operand times first .. last of the packed
/// one.
typedef struct Share {
    int64_t begin, end, first, last;
    /// groups of panels whose sums are kept
    int64_t block_groups;
    /// [group of panels][group] of a block
    float *sums;
    /// that in use and the next
    char *panel[2];
    int in_use;
} Share;

/// Where a panel lies; block_begin .. block_end are the groups whose sums are kept.
typedef struct Place {
    int64_t block_begin, block_end, group, step;
} Place;

static int64_t groups_of(const Operand *o) { return parts_of(o->count, GROUP_COUNT); }

static Product product_cut(const Matmul *shape, const uint16_t *a, const uint16_t *b) {
    bool natural = !shape->a_transposed && shape->b_transposed, a_is_panel = shape->m >= shape->n;
    Operand rows = {.from = a,
                    .line = shape->a_transposed ? shape->m : shape->k,
                    .count = shape->m,
                    .k = shape->k,
                    .across = shape->a_transposed};
    Operand columns = {.from = b,
                       .line = shape->b_transposed ? shape->k : shape->n,
                       .count = shape->n,
                       .k = shape->k,
                       .across = !shape->b_transposed};
    rows.left = natural ? a_is_panel : shape->a_transposed ? !a_is_panel : true;
    columns.left = !rows.left;
    Product p = {.shape = shape,
                 .panel = a_is_panel ? rows : columns,
                 .packed = a_is_panel ? columns : rows,
                 .steps = parts_of(shape->k, STEP)};
    p.block_steps = parts_of(p.steps, parts_of(p.steps, BLOCK_STEPS));
    int64_t groups = groups_of(&p.packed);
    p.part_groups = parts_of(groups, parts_of(groups, MOST_GROUPS));
    return p;
}

static bool a_is_panel(const Product *p) { return p->shape->m >= p->shape->n; }

static int64_t steps_at(const Product *p, int64_t step) {
    return least(p->steps - step, p->block_steps);
}

static size_t packed_bytes(const Product *p) {
    return (size_t)slab_bytes(GROUP_TILES * p->part_groups, p->steps);
}

static size_t panel_bytes(const Product *p) {
    return (size_t)slab_bytes(GROUP_TILES, p->block_steps);
}

/// Between parts of k, or of one group.
static size_t sums_bytes(const Product *p) {
    int64_t group = GROUP_FLOATS * (int64_t)sizeof(float);
    if (p->steps == p->block_steps) return (size_t)group;
    return (size_t)least(SUMS_BYTES, groups_of(&p->panel) * p->part_groups * group);
}

static size_t share_bytes(const Product *p) { return sums_bytes(p) + 2 * panel_bytes(p); }

/// In how many parts the packed operand's groups are cut, each with all panels of some threads: as
/// few as keep all threads busy. Packing a panel costs about as much as multiplying a group.
static int64_t cuts_of_groups(const Product *p, int64_t threads) {
    int64_t best = 1, best_time = INT64_MAX;
    for (int64_t cuts = 1; cuts <= threads; cuts++) {
        if (threads % cuts) continue;
        int64_t panels = parts_of(groups_of(&p->panel), threads / cuts);
        int64_t time = panels * (1 + parts_of(p->end - p->first, cuts));
        if (time < best_time) {
            best = cuts;
            best_time = time;
        }
    }
    return best;
}

static Share share_of(const Product *p, char *memory, int64_t thread, int64_t threads) {
    Share s = {0};
    int64_t cuts = cuts_of_groups(p, threads), cut = thread % cuts, groups = p->end - p->first;
    int64_t rows = groups_of(&p->panel), part = thread / cuts, parts = threads / cuts;
    s.begin = rows * part / parts;
    s.end = rows * (part + 1) / parts;
    s.first = p->first + groups * cut / cuts;
    s.last = p->first + groups * (cut + 1) / cuts;
    int64_t wide = (s.last - s.first) * GROUP_FLOATS * (int64_t)sizeof(float);
    int64_t panels = s.end - s.begin, blocks = wide ? parts_of(panels, SUMS_BYTES / wide) : 0;
    s.block_groups = blocks ? parts_of(panels, blocks) : 0;
    char *mine = memory + packed_bytes(p) + (size_t)thread * share_bytes(p);
    s.sums = (float *)(void *)mine;
    for (int i = 0; i < 2; i++) s.panel[i] = mine + sums_bytes(p) + (size_t)i * panel_bytes(p);
    return s;
}

// ---- the packed operand

/// Groups before `group` of those at hand have two tiles.
static Slab packed_slab(const Product *p, int64_t group, int64_t step) {
    int64_t tiles =
        parts_of(least(p->packed.count - p->first * GROUP_COUNT, (p->end - p->first) * GROUP_COUNT),
                 TILE_COUNT);
    char *block = p->memory + slab_bytes(tiles, step);
    return slab_at(&p->packed, group, step, steps_at(p, step),
                   block + slab_bytes(GROUP_TILES * (group - p->first), steps_at(p, step)));
}

/// All threads together.
static void pack_part(const Product *p) {
    int64_t blocks = parts_of(p->steps, p->block_steps), groups = p->end - p->first;
#pragma omp for schedule(static)
    for (int64_t i = 0; i < groups * blocks; i++) {
        Slab slab = packed_slab(p, p->first + i / blocks, i % blocks * p->block_steps);
        pack_slab(&slab);
    }
}

// ---- panels

static Slab panel_slab(const Product *p, const Place *at, char *to) {
    return slab_at(&p->panel, at->group, at->step, steps_at(p, at->step), to);
}

/// False after the last.
static bool place_next(const Product *p, const Share *s, Place *at) {
    if (++at->group < at->block_end) return true;
    at->group = at->block_begin;
    at->step += p->block_steps;
    if (at->step < p->steps) return true;
    *at = (Place){.block_begin = at->block_end, .group = at->block_end};
    at->block_end = least(at->block_begin + s->block_groups, s->end);
    return at->group < s->end;
}

/// Where in c the sums of a panel and a group lie.
typedef struct Target {
    int64_t row, column, rows, columns;
    char *c;
} Target;

static Target target_of(const Product *p, int64_t panel, int64_t group) {
    const Matmul *shape = p->shape;
    Target t = {.row = GROUP_COUNT * (a_is_panel(p) ? panel : group),
                .column = GROUP_COUNT * (a_is_panel(p) ? group : panel)};
    t.rows = least(shape->m - t.row, GROUP_COUNT);
    t.columns = least(shape->n - t.column, GROUP_COUNT);
    t.c = p->c + (t.row * shape->n + t.column) * (int64_t)dtype_size(shape->c_type);
    return t;
}

static void write_target(const Product *p, const Target *t, float *sums) {
    bool b_left = a_is_panel(p) ? p->packed.left : p->panel.left;
    write_group(p->shape, b_left, sums, p->bias ? p->bias + t->column : NULL, t->rows, t->columns,
                t->c);
}

/// The panel in use, at a place, times all groups of the share; packs the next one.
static void multiply_panel(const Product *p, const Share *s, const Place *at, const Slab *panel,
                           const Slab *next) {
    const int64_t element = (int64_t)dtype_size(p->shape->c_type), groups = s->last - s->first;
    const bool last = at->step + panel->steps == p->steps, kept = p->steps > p->block_steps;
    // What is packed after a group was asked for during the one before it: all before the last.
    int64_t each = parts_of(next->pieces, groups > 1 ? groups - 1 : 1), packed = 0, asked = 0;
    for (int64_t group = s->first; group < s->last; group++) {
        Slab other = packed_slab(p, group, at->step);
        int64_t place = kept ? (at->group - at->block_begin) * groups + group - s->first : 0;
        int64_t arrived = asked;
        asked = least(arrived + each, next->pieces);
        Group g = {.panel = panel->to,
                   .packed = other.to,
                   .steps = panel->steps,
                   .sums = s->sums + place * GROUP_FLOATS,
                   .first = at->step == 0,
                   .ahead = {next, arrived * PIECE_LINES, asked * PIECE_LINES, NULL, 0, 0, 0}};
        Target target = target_of(p, at->group, group);
        if (last) {
            g.ahead.c = target.c;
            g.ahead.c_row = p->shape->n * element;
            g.ahead.c_bytes = target.columns * element;
            g.ahead.c_rows = target.rows;
        }
        multiply_group[p->panel.left][panel->tiles - 1][other.tiles - 1](&g);
        while (packed < arrived) pack_piece(next, packed++);
        if (last) write_target(p, &target, g.sums);
    }
    while (packed < next->pieces) pack_piece(next, packed++);
}

static void multiply_share(const Product *p, Share *s) {
    if (s->begin >= s->end || s->first >= s->last) return;
    Place at = {s->begin, least(s->begin + s->block_groups, s->end), s->begin, 0};
    Slab panel = panel_slab(p, &at, s->panel[0]);
    pack_slab(&panel);
    for (bool more = true; more;) {
        Place then = at;
        more = place_next(p, s, &then);
        s->in_use = !s->in_use;
        Slab next = more ? panel_slab(p, &then, s->panel[s->in_use]) : (Slab){0};
        multiply_panel(p, s, &at, &panel, &next);
        at = then;
        panel = next;
    }
}

// ---- the whole

/// Tiles that are half empty still do more than vectors; an a and a b that are both stored with
/// their columns side by side never meet.
static bool worth_its_while(const Matmul *shape) {
    return shape->type == BFLOAT16 && !(shape->a_transposed && shape->b_transposed) &&
           least(shape->m, shape->n) >= FEWEST_OF_A_SIDE && shape->k >= FEWEST_OF_K &&
           shape->m * shape->n * shape->k >= FEWEST_PRODUCTS;
}

static size_t product_bytes(const Matmul *shape, int threads) {
    if (!worth_its_while(shape)) return 0;
    Product p = product_cut(shape, NULL, NULL);
    return packed_bytes(&p) + (size_t)threads * share_bytes(&p);
}

static void multiply_parts(Product p, char *memory) {
    tiles_begin(&whole_tiles);
    for (p.first = 0; p.first < groups_of(&p.packed); p.first = p.end) {
        p.end = least(p.first + p.part_groups, groups_of(&p.packed));
#pragma omp barrier // the part before is in use until then
        pack_part(&p);
        Share share = share_of(&p, memory, omp_get_thread_num(), omp_get_num_threads());
        multiply_share(&p, &share);
    }
    tiles_end();
}

static bool multiply(const Matmul *shape, const uint16_t *a, const uint16_t *b, const float *bias,
                     void *c, Device *device) {
    int threads = omp_get_max_threads();
    size_t bytes = product_bytes(shape, threads);
    if (!bytes) return false;
    Product p = product_cut(shape, a, b);
    p.bias = bias;
    p.c = c;
    p.memory = device->allocate(device, bytes);
#pragma omp parallel num_threads(threads)
    multiply_parts(p, p.memory);
    device->release(device, p.memory, bytes);
    return true;
}

const OwnProduct LEVEL_NAME(own_product) = {multiply, product_bytes};
