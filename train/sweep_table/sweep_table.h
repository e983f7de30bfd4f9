/// The end of a sweep: what its cells came to, as one table for machines, for spreadsheets, for
/// papers and for readers.
///
/// Cells that differ in seeds only (keys whose last part is "seed") are one line of the table:
/// mean, least and greatest over the seeds. Every figure has a 95% interval by a bootstrap over
/// images (eval/metrics/bootstrap.h), for a line over seeds of the mean over them, the images being
/// resampled alike for all; and a difference to the base line, paired over images and, where both
/// have them, over seeds. Evaluations of several tasks are several tables.
///
/// Nothing that is written depends on the time, the machine or where the sweep lies: the same
/// evaluations give the same bytes.
#pragma once
#include "autograd/error.h"

#include <stdio.h>

/// One evaluation of the sweep.
typedef struct SweepCell {
    /// unique in the sweep
    const char *name;
    /// what it is but for its seeds, the same for all cells of a line; NULL: its name
    const char *line;
    /// what it is evaluated on, and after which stage: each has a table of its own. NULL: the task
    /// says; there is no other
    const char *evaluation, *stage;
    /// [num_keys] the values as YAML; NULL: as the base configuration has it
    const char *const *values;
    /// eval.output_dir of its evaluation: config.yaml, results.json, items.jsonl. NULL if it failed
    /// before there was one
    const char *folder;
    /// why there are no results; NULL: there are
    const char *failure;
} SweepCell;

/// A figure that stands in the table over all evaluations.
typedef struct SweepHeadline {
    /// the evaluation; where a cell has none, the task
    const char *evaluation;
    const char *figure;
} SweepHeadline;

typedef struct SweepTable {
    /// what the sweep is called on its page; NULL: "Sweep"
    const char *title;
    /// [num_keys] "eval.layers": the keys that the sweep sets, in the order of their columns
    const char *const *keys;
    /// [num_keys] what the base configuration has, as YAML; NULL, also of single keys: not known
    const char *const *base_values;
    int num_keys;
    const SweepCell *cells;
    int num_cells;
    /// name of a cell or of a line that all others are compared with; NULL: none
    const char *base;
    /// the figure that lines are sorted by, the greatest first; NULL, or one that a task has not:
    /// the task's first
    const char *sort_by;
    /// [num_headlines] rows of a table over all evaluations, in front of theirs
    const SweepHeadline *headline;
    int num_headlines;
} SweepTable;

/// Writes table.json, table.csv, table.md and index.html into the folder, which exists, each whole
/// or not at all, and prints a table to `out` (NULL: none). A cell whose results cannot be read is
/// a failed one; where verdicts or annotations cannot be read again, a difference is left out and
/// the table says why. Fails where `base` names no cell, and where something cannot be written.
bool sweep_table_write(const SweepTable *table, const char *folder, FILE *out, Error *error);
