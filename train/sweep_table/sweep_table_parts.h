/// Inside of the table of a sweep: its cells, read and put in lines, and the forms in which they
/// are written.
#pragma once
#include "train/evaluation/evaluated_figures.h"
#include "train/sweep_table/sweep_table.h"

typedef struct TableCell {
    const SweepCell *cell;
    /// relative to the table's folder; NULL: it has none
    char *folder;
    /// NULL: it has results
    char *failure;
    Evaluated evaluated;
} TableCell;

/// Cells of a task that differ in seeds only, in the sweep's order.
typedef struct TableLine {
    char *name;
    /// [num_keys] the first cell's; only those of seeds differ within a line
    const char *const *values;
    /// [count] those with results, at least one
    TableCell **cells;
    int count;
    /// others that failed
    int failed;
    bool is_base;
    /// of evaluations behind a difference
    int pairs;
    /// [num_figures] of the task
    FigureEstimate *figures;
    /// why an interval or a difference is missing; NULL: nothing is
    char *remark;
} TableLine;

typedef struct TableTask {
    /// what the table is called: the evaluation or its task, and the stage
    char *name;
    /// of its first cell; NULL: as in SweepCell
    const char *evaluation, *stage;
    char *task;
    /// [num_figures]
    char **figures;
    int num_figures;
    /// of the figure that the lines are sorted by
    int sorted_by;
    TableLine *lines;
    int num_lines;
} TableTask;

typedef struct TableContent {
    const SweepTable *table;
    /// [num_keys]
    bool *is_seed, *varies;
    /// whether a line may have several cells
    bool has_seeds;
    /// whether the base is known
    bool has_base;
    TableCell *cells;
    SharedAnnotations *annotations;
    TableTask *tasks;
    int num_tasks, num_failed;
} TableContent;

/// Reads the cells and puts them in tasks and lines. folder: the table's. To be freed, also on
/// failure.
bool table_read(TableContent *content, const SweepTable *table, const char *folder, Error *error);
void table_free(TableContent *content);
/// Marks the lines that others are compared with. Fails where the sweep has no cell or line of the
/// base's name.
bool table_find_base(TableContent *content, Error *error);
/// Fills in the lines' figures and sorts the lines. progress: where it is said how far that is,
/// where verdicts are measured again; NULL: nowhere.
void table_estimate(TableContent *content, FILE *progress);

/// Both NULL, or the same text.
bool table_same_value(const char *a, const char *b);
/// Whether lines of the task differ in the key.
bool table_varies_in(const TableTask *task, int key);
/// A key that says what an evaluation is about rather than how it is done (the task, the images):
/// lines that differ from the base in such keys have the base's other settings there as their base.
bool table_is_about(const char *key);
/// The text with `by` in the place of `part` wherever it is. The caller frees it.
char *table_replace(const char *text, const char *part, const char *by);
/// The position of the figure in the task, or -1.
int table_figure(const TableTask *task, const char *name);

/// One figure of one evaluation, over all lines.
typedef struct HeadlineRow {
    const SweepHeadline *headline;
    const TableTask *task;
    /// index into the task's figures; -1: it has none of that name
    int figure;
    /// [num_columns] the task's line of that name; NULL: it has none
    const TableLine **lines;
} HeadlineRow;

/// The table over all evaluations: a row per figure, after each stage, and a column per line.
typedef struct Headline {
    /// [num_columns] names of lines, bases first, then in the sweep's order
    const char **columns;
    int num_columns;
    HeadlineRow *rows;
    int num_rows;
    bool has_stages;
} Headline;
/// Of what table_estimate() has filled in. To be freed.
Headline table_headline(const TableContent *content);
void table_headline_free(Headline *headline);
/// NULL: there is none.
const FigureEstimate *table_headline_estimate(const HeadlineRow *row, int column);

/// The whole text of table.json; the caller frees it.
char *table_json(const TableContent *content);
/// The whole text of table.csv [RFC 4180]; the caller frees it.
char *table_csv(const TableContent *content);
/// The whole text of table.md [GitHub Flavored Markdown]; the caller frees it.
char *table_markdown(const TableContent *content);
/// For a terminal or a log.
void table_print(const TableContent *content, FILE *out);
