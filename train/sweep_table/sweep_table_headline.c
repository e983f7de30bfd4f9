// Figures of all evaluations in one table.
#include "train/sweep_table/sweep_table_parts.h"

#include <stdlib.h>
#include <string.h>

// ---- columns

/// A line of the table, and where the sweep has its first cell.
typedef struct Column {
    const char *name;
    const TableCell *first;
    bool is_base;
} Column;

static void add_column(Column *columns, int *count, const TableLine *line) {
    for (int c = 0; c < *count; c++) {
        if (strcmp(columns[c].name, line->name) != 0) continue;
        if (line->cells[0] < columns[c].first) columns[c].first = line->cells[0];
        columns[c].is_base |= line->is_base;
        return;
    }
    columns[(*count)++] = (Column){line->name, line->cells[0], line->is_base};
}

static int by_place(const void *a, const void *b) {
    const Column *first = a, *second = b;
    if (first->is_base != second->is_base) return first->is_base ? -1 : 1;
    return first->first < second->first ? -1 : first->first > second->first;
}

static bool is_of(const TableTask *task, const SweepHeadline *headline) {
    return !strcmp(task->evaluation ? task->evaluation : task->task, headline->evaluation);
}

static bool has_headline(const TableContent *content, const TableTask *task) {
    for (int h = 0; h < content->table->num_headlines; h++)
        if (is_of(task, &content->table->headline[h])) return true;
    return false;
}

static void find_columns(Headline *headline, const TableContent *content) {
    int most = 0;
    for (int t = 0; t < content->num_tasks; t++) most += content->tasks[t].num_lines;
    Column *columns = checked_calloc((size_t)most + 1, sizeof *columns);
    for (int t = 0; t < content->num_tasks; t++) {
        const TableTask *task = &content->tasks[t];
        for (int l = 0; has_headline(content, task) && l < task->num_lines; l++)
            add_column(columns, &headline->num_columns, &task->lines[l]);
    }
    qsort(columns, (size_t)headline->num_columns, sizeof *columns, by_place);
    headline->columns =
        checked_calloc((size_t)headline->num_columns + 1, sizeof *headline->columns);
    for (int c = 0; c < headline->num_columns; c++) headline->columns[c] = columns[c].name;
    free(columns);
}

// ---- rows

static void add_row(Headline *headline, const SweepHeadline *of, const TableTask *task) {
    headline->rows =
        checked_realloc(headline->rows, (size_t)(headline->num_rows + 1) * sizeof *headline->rows);
    HeadlineRow *row = &headline->rows[headline->num_rows++];
    *row = (HeadlineRow){of, task, table_figure(task, of->figure),
                         checked_calloc((size_t)headline->num_columns + 1, sizeof *row->lines)};
    for (int c = 0; c < headline->num_columns; c++)
        for (int l = 0; l < task->num_lines; l++)
            if (!strcmp(task->lines[l].name, headline->columns[c])) row->lines[c] = &task->lines[l];
    headline->has_stages |= task->stage != NULL;
}

/// Whether a table before this one is of the same stage.
static bool is_later_of_stage(const TableContent *content, int task) {
    for (int t = 0; t < task; t++)
        if (table_same_value(content->tasks[t].stage, content->tasks[task].stage)) return true;
    return false;
}

Headline table_headline(const TableContent *content) {
    const SweepTable *table = content->table;
    Headline headline = {0};
    find_columns(&headline, content);
    for (int s = 0; s < content->num_tasks; s++) {
        if (is_later_of_stage(content, s)) continue;
        for (int h = 0; h < table->num_headlines; h++)
            for (int t = s; t < content->num_tasks; t++)
                if (is_of(&content->tasks[t], &table->headline[h]) &&
                    table_same_value(content->tasks[t].stage, content->tasks[s].stage))
                    add_row(&headline, &table->headline[h], &content->tasks[t]);
    }
    return headline;
}

void table_headline_free(Headline *headline) {
    for (int r = 0; r < headline->num_rows; r++) free(headline->rows[r].lines);
    free(headline->rows);
    free(headline->columns);
    *headline = (Headline){0};
}

const FigureEstimate *table_headline_estimate(const HeadlineRow *row, int column) {
    const TableLine *line = row->lines[column];
    return line && row->figure >= 0 ? &line->figures[row->figure] : NULL;
}
