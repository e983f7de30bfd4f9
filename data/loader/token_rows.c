// First fit needs the first row with enough room: a tree over the rows whose nodes hold the largest
// room below them finds it in as many turns as the tree is high.
#include "data/loader/token_rows.h"
#include "autograd/error.h"

#include <stdlib.h>

/// Rows that may be opened, of which none is at first.
typedef struct RoomTree {
    /// a power of two: the number of leaves
    int64_t size;
    /// [2 * size]: node n has the children 2n and 2n + 1; leaves from `size` on
    int64_t *room;
} RoomTree;

static RoomTree room_tree_new(int64_t rows, int64_t budget) {
    RoomTree tree = {.size = 1};
    while (tree.size < rows) tree.size *= 2;
    tree.room = checked_malloc((size_t)(2 * tree.size) * sizeof *tree.room);
    for (int64_t i = 0; i < 2 * tree.size; i++) tree.room[i] = budget;
    return tree;
}

/// The first row with that much room; there is one.
static int64_t first_with_room(const RoomTree *tree, int64_t length) {
    int64_t node = 1;
    while (node < tree->size) {
        node *= 2;
        node += tree->room[node] < length;
    }
    return node - tree->size;
}

static void set_room(RoomTree *tree, int64_t row, int64_t room) {
    int64_t node = row + tree->size;
    tree->room[node] = room;
    for (node /= 2; node > 0; node /= 2) {
        const int64_t left = tree->room[2 * node], right = tree->room[2 * node + 1];
        tree->room[node] = left > right ? left : right;
    }
}

/// The row of each slot; returns how many there are.
static int64_t find_rows(const int32_t *lengths, const int64_t *sequence, int64_t count,
                         int64_t budget, bool in_order, int64_t *row_of) {
    RoomTree tree = room_tree_new(in_order ? 1 : count, budget);
    int64_t opened = 0, left = 0;
    for (int64_t i = 0; i < count; i++) {
        const int64_t slot = sequence[i], length = lengths[slot];
        int64_t row = opened;
        if (in_order) {
            row = opened > 0 && left >= length ? opened - 1 : opened;
            left = (row == opened ? budget : left) - length;
        } else {
            if (length <= budget) row = first_with_room(&tree, length);
            set_room(&tree, row, tree.room[tree.size + row] - length);
        }
        row_of[slot] = row;
        if (row == opened) opened++;
    }
    free(tree.room);
    return opened;
}

TokenRows token_rows_pack(const int32_t *lengths, const int64_t *sequence, int64_t count,
                          int64_t budget, bool in_order) {
    TokenRows rows = {.places = checked_malloc((size_t)(count + 1) * sizeof *rows.places)};
    int64_t *row_of = checked_malloc((size_t)(count + 1) * sizeof *row_of);
    rows.count = find_rows(lengths, sequence, count, budget, in_order, row_of);
    rows.begins = checked_calloc((size_t)rows.count + 1, sizeof *rows.begins);
    for (int64_t i = 0; i < count; i++) rows.begins[row_of[i] + 1]++;
    for (int64_t r = 0; r < rows.count; r++) rows.begins[r + 1] += rows.begins[r];
    int64_t *next = checked_malloc((size_t)(rows.count + 1) * sizeof *next);
    for (int64_t r = 0; r < rows.count; r++) next[r] = rows.begins[r];
    for (int64_t i = 0; i < count; i++) rows.places[sequence[i]] = next[row_of[sequence[i]]]++;
    free(next);
    free(row_of);
    return rows;
}

void token_rows_free(TokenRows *rows) {
    free(rows->begins);
    free(rows->places);
    *rows = (TokenRows){0};
}

bool token_rows_spread(const int32_t *lengths, int64_t count, int64_t rows, int64_t budget,
                       int64_t *row_of) {
    int64_t *tokens = checked_calloc((size_t)rows + 1, sizeof *tokens);
    bool fits = true;
    for (int64_t i = 0; fits && i < count; i++) {
        int64_t least = 0;
        for (int64_t row = 1; row < rows; row++)
            if (tokens[row] < tokens[least]) least = row;
        fits = tokens[least] == 0 || tokens[least] + lengths[i] <= budget;
        tokens[least] += lengths[i];
        row_of[i] = least;
    }
    free(tokens);
    return fits;
}
