/// Sweeps over layers and seeds whose evaluations are made up, for the tests of their tables.
#pragma once
#include "tests/unit/made_evaluations.h"
#include "tests/unit/temporary_folder.h"
#include "train/sweep_table/sweep_table.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static inline char *read_text(const char *path) {
    FILE *file = fopen(path, "r");
    if (!file) return NULL;
    char *text = NULL;
    size_t size = 0;
    if (getdelim(&text, &size, EOF, file) < 0) *(text = realloc(text, 1)) = 0;
    fclose(file);
    return text;
}

static inline char *read_in_folder(const char *name) {
    char *text = read_text(in_folder(name));
    if (!text) fail_msg("%s is not there", name);
    return text;
}

static const char *const KEYS[] = {"eval.layers", "training.seed"};
enum { NUM_KEYS = sizeof KEYS / sizeof *KEYS, MOST_CELLS = 8 };

/// A sweep over layers and seeds whose tables go to the test's folder.
typedef struct Sweep {
    SweepCell cells[MOST_CELLS];
    const char *values[MOST_CELLS][NUM_KEYS];
    char folders[MOST_CELLS][256];
    SweepTable table;
} Sweep;

static inline void begin_sweep(Sweep *sweep) {
    *sweep = (Sweep){.table = {.keys = KEYS, .num_keys = NUM_KEYS, .cells = sweep->cells}};
}

/// The cell's evaluation lies in the folder of its name; hits NULL: there is none.
static inline SweepCell *add_cell(Sweep *sweep, const char *name, const char *layers,
                                  const char *seed, const char *hits) {
    int index = sweep->table.num_cells++;
    SweepCell *cell = &sweep->cells[index];
    sweep->values[index][0] = layers;
    sweep->values[index][1] = seed;
    snprintf(sweep->folders[index], sizeof sweep->folders[index], "%s", in_folder(name));
    if (hits) write_evaluation(name, "annotations.json", hits);
    *cell =
        (SweepCell){.name = name, .values = sweep->values[index], .folder = sweep->folders[index]};
    return cell;
}

static inline void expect_written(const Sweep *sweep) {
    Error error = {0};
    if (!sweep_table_write(&sweep->table, in_folder("."), NULL, &error))
        fail_msg("%s", error.message);
}
