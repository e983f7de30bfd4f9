/// The cells of a sweep: every combination of its variants, of the values in `grid`, of the lines
/// of `zip`, of the stages after which it is evaluated and of its evaluations.
#pragma once
#include "train/sweep/sweep_section.h"

/// What becomes a cell.
typedef struct SweepCombination {
    /// "without_captioner,seed=1,stage1,points", unique
    char *name;
    /// "without_captioner,seed=1": what is trained
    char *training_name;
    /// "without_captioner": a line of a table
    char *line;
    /// [num_fields] YAML; NULL: as the configuration has it
    char **values;
    /// index into sweep.evaluations; -1: as the file's own section says
    int evaluation;
    /// of sweep.train, that come before it
    int stages;
    /// name of the evaluation, and of the last of its stages, where these tell cells apart; else
    /// NULL
    char *evaluation_name, *stage_name;
} SweepCombination;

typedef struct SweepCells {
    /// indices into CONFIG_FIELDS, of all keys that any cell sets
    int *fields;
    int num_fields;
    SweepCombination *list;
    int count;
    /// the cell or line that the others are compared with; one of their names
    const char *base;
} SweepCells;

/// NULL on failure; the caller frees it with sweep_cells_free().
SweepCells *sweep_cells_make(const SweepSection *section, Error *error);
void sweep_cells_free(SweepCells *cells);

/// What a file's configuration is for a cell: the file, then sweep.settings, the command line
/// (`settings`), and what the cell sets. Of a training stage only keys that trainings have are set.
/// The result has the same keys set as it was given, and all others resolved. NULL on failure.
Config *sweep_cell_config(const SweepSection *section, const SweepCells *cells,
                          const SweepCombination *cell, const char *path, bool is_stage,
                          const char *const *settings, int num_settings, Error *error);

/// The name of a file without its folder and its ending; the caller frees it.
char *sweep_bare_name(const char *path);
