/// Inside the tile headers of products only (bfloat16_tile.h, float32_tile.h): what a tile of a
/// product and a panel of its right operand are. A header that includes this one has defined
/// `Word`, what a step of k takes of a row in packed memory (32 bits: a float, or a pair of
/// BFLOAT16), and TILE_COLUMNS.
#pragma once
#include "ops/cpu/onednn.h"

/// Cache lines that are asked for while products run, one per step of k.
typedef struct Prefetch {
    const char *line;
    int64_t step, count;
} Prefetch;

enum { MOST_PREFETCHES = 12, LINE = 64 };

typedef struct Tile {
    /// [steps][rows]
    const Word *a;
    /// [steps][TILE_COLUMNS]
    const Word *b;
    /// [rows][TILE_COLUMNS], between blocks of k
    float *sums;
    /// where the result goes
    char *c;
    /// bytes
    int64_t c_row;
    /// those that there are; may be more than a tile has
    int64_t columns;
    int64_t steps;
    /// block of k: begins at zero; is written to c
    bool first, last;
    /// what c is, otherwise BFLOAT16
    bool float32;
    int prefetches;
    /// one after the other
    Prefetch prefetch[MOST_PREFETCHES];
} Tile;

/// What does not fit is not asked for.
static inline void ask_for_lines(Tile *t, const void *line, int64_t step, int64_t count) {
    if (t->prefetches < MOST_PREFETCHES)
        t->prefetch[t->prefetches++] = (Prefetch){line, step, count};
}

/// The prefetches of run `run`, and how many steps it has of those that are left; the last run has
/// all of them and asks for nothing new.
static inline Prefetch prefetch_run(const Tile *t, int run, int64_t left) {
    Prefetch prefetch =
        run < t->prefetches ? t->prefetch[run] : (Prefetch){(const char *)t, 0, left};
    if (prefetch.count > left) prefetch.count = left;
    return prefetch;
}

/// TILE_COLUMNS columns of b (or fewer: the others become zero) and a block of k, packed in pieces:
/// of 16 rows and a cache line of each where b is stored [n,k], of 16 rows otherwise.
typedef struct Panel {
    const char *from;
    /// bytes from one row as stored to the next, and of an element
    int64_t row, element;
    int64_t columns, depth;
    /// stored [n,k]
    bool transposed;
    int64_t pieces;
    /// [steps][TILE_COLUMNS]
    Word *to;
} Panel;

enum { PIECE_ROWS = 16, PIECES_ACROSS = TILE_COLUMNS / PIECE_ROWS };

static inline int64_t panel_pieces(const Panel *panel) {
    if (panel->transposed) return (panel->depth * panel->element + LINE - 1) / LINE * PIECES_ACROSS;
    return (panel->depth + PIECE_ROWS - 1) / PIECE_ROWS;
}

/// The first of the lines of a piece, which lie a row apart.
static inline const char *piece_begin(const Panel *panel, int64_t piece) {
    if (!panel->transposed) return panel->from + PIECE_ROWS * piece * panel->row;
    return panel->from + PIECE_ROWS * (piece % PIECES_ACROSS) * panel->row +
           piece / PIECES_ACROSS * LINE;
}

/// A file's matrix need not begin at a cache line: then a piece ends in lines of its own, and
/// begins in those of the piece before it. A block's first pieces have none; their beginnings were
/// last read a block of columns ago.
static inline void ask_for_piece(const Panel *panel, int64_t piece, Tile *t) {
    const char *begin = piece_begin(panel, piece);
    int64_t bytes = panel->transposed ? LINE : TILE_COLUMNS * panel->element;
    if (panel->transposed && piece < PIECES_ACROSS && (uintptr_t)begin % LINE)
        ask_for_lines(t, begin, panel->row, PIECE_ROWS);
    for (int64_t end = bytes < LINE ? bytes : LINE; end <= bytes; end += LINE)
        ask_for_lines(t, begin + end - 1, panel->row, PIECE_ROWS);
}
