#include "train/sweep_table/sweep_page.h"

#include "autograd/text/byte_buffer.h"
#include "train/report/figure_table.h"
#include "train/report/report_evaluations.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/// More lines than these are no chart of a row each.
enum { MOST_ROWS_IN_CHART = 40 };

static const char *const MISSING = "\u2013";

// ---- columns of settings

/// How the settings of a task's lines are shown: keys that most lines set have a column, the
/// others share one.
typedef struct SettingColumns {
    /// [count]
    int *keys;
    int count;
    bool has_others;
    /// [num_keys]
    bool *has_column;
} SettingColumns;

static SettingColumns columns_of(const TableContent *content, const TableTask *task) {
    int num_keys = content->table->num_keys;
    SettingColumns columns = {checked_calloc((size_t)num_keys + 1, sizeof *columns.keys), 0, false,
                              checked_calloc((size_t)num_keys + 1, sizeof *columns.has_column)};
    for (int k = 0; k < num_keys; k++) {
        if (content->is_seed[k] || !table_varies_in(task, k)) continue;
        int set = 0;
        for (int l = 0; l < task->num_lines; l++) set += task->lines[l].values[k] != NULL;
        columns.has_column[k] = 2 * set > task->num_lines;
        if (columns.has_column[k])
            columns.keys[columns.count++] = k;
        else
            columns.has_others = true;
    }
    return columns;
}

/// "model.timestep: 100, ..." of what has no column.
static char *other_settings(const TableContent *content, const TableTask *task,
                            const SettingColumns *columns, const TableLine *line) {
    ByteBuffer text = {0};
    for (int k = 0; k < content->table->num_keys; k++) {
        if (content->is_seed[k] || columns->has_column[k] || !line->values[k]) continue;
        if (!table_varies_in(task, k)) continue;
        byte_buffer_print(&text, "%s%s: %s", text.size ? ", " : "", content->table->keys[k],
                          line->values[k]);
    }
    return byte_buffer_take(&text);
}

// ---- the table

/// What lines of the task are compared with; NULL: with nothing.
static const char *base_name(const TableContent *content, const TableTask *task) {
    for (int l = 0; l < task->num_lines && content->has_base; l++)
        if (task->lines[l].is_base) return task->lines[l].name;
    return NULL;
}

/// The rows of a task, with what they own.
typedef struct Rows {
    FigureTable table;
    FigureRow *rows;
    TableHeader *headers;
    TableField *extras;
    int num_lines;
} Rows;

static TableField text_field(const char *text) {
    return (TableField){checked_strdup(text), NULL, NAN, false};
}

static void fill_extras(const TableContent *content, const TableTask *task,
                        const SettingColumns *columns, const TableLine *line, TableField *extras) {
    int e = 0;
    if (content->has_seeds) {
        char *text = line->failed
                         ? format_string("%d of %d", line->count, line->count + line->failed)
                         : format_string("%d", line->count);
        extras[e++] = (TableField){text, NULL, line->count, false};
    }
    for (int c = 0; c < columns->count; c++) {
        const char *value = line->values[columns->keys[c]];
        extras[e++] = text_field(value ? value : MISSING);
    }
    if (columns->has_others) {
        char *text = other_settings(content, task, columns, line);
        extras[e] = text_field(*text ? text : MISSING);
        free(text);
    }
}

static Rows rows_of(const TableContent *content, const TableTask *task) {
    SettingColumns columns = columns_of(content, task);
    int num_extras = content->has_seeds + columns.count + columns.has_others, h = 0;
    Rows rows = {
        .rows = checked_calloc((size_t)task->num_lines + 1, sizeof *rows.rows),
        .headers = checked_calloc((size_t)num_extras + 1, sizeof *rows.headers),
        .extras = checked_calloc((size_t)(num_extras * task->num_lines + 1), sizeof *rows.extras),
        .num_lines = task->num_lines};
    if (content->has_seeds) rows.headers[h++] = (TableHeader){"seeds", true};
    for (int c = 0; c < columns.count; c++)
        rows.headers[h++] = (TableHeader){content->table->keys[columns.keys[c]], false};
    if (columns.has_others) rows.headers[h] = (TableHeader){"settings", false};
    for (int l = 0; l < task->num_lines; l++) {
        const TableLine *line = &task->lines[l];
        TableField *extras = rows.extras + l * num_extras;
        fill_extras(content, task, &columns, line, extras);
        rows.rows[l] = (FigureRow){.name = line->name,
                                   .note = line->remark,
                                   .figures = line->figures,
                                   .is_base = line->is_base,
                                   .color = line->is_base ? 1 : 0,
                                   .extras = extras};
    }
    rows.table = (FigureTable){.figures = (const char *const *)task->figures,
                               .num_figures = task->num_figures,
                               .rows = rows.rows,
                               .num_rows = task->num_lines,
                               .row_header = "setting",
                               .extra_headers = rows.headers,
                               .num_extras = num_extras,
                               .sorted_by = task->num_figures ? task->sorted_by : -1,
                               .base = base_name(content, task)};
    free(columns.keys);
    free(columns.has_column);
    return rows;
}

static void free_rows(Rows *rows) {
    for (int i = 0; i < rows->table.num_extras * rows->num_lines; i++)
        free((char *)rows->extras[i].text);
    free(rows->rows);
    free(rows->headers);
    free(rows->extras);
}

// ---- single evaluations

/// A row for every evaluation, with its seeds.
static void add_cells(HtmlReport *page, const TableContent *content, const TableTask *task) {
    const SweepTable *table = content->table;
    int seeds = 0, count = 0, num_cells = 0;
    for (int k = 0; k < table->num_keys; k++) seeds += content->is_seed[k] && content->varies[k];
    for (int l = 0; l < task->num_lines; l++) num_cells += task->lines[l].count;
    int columns = 1 + seeds + task->num_figures;
    TableHeader *headers = checked_calloc((size_t)columns, sizeof *headers);
    TableField *fields = checked_calloc((size_t)(columns * num_cells + 1), sizeof *fields);
    headers[count++] = (TableHeader){"evaluation", false};
    for (int k = 0; k < table->num_keys; k++)
        if (content->is_seed[k] && content->varies[k])
            headers[count++] = (TableHeader){table->keys[k], false};
    for (int f = 0; f < task->num_figures; f++)
        headers[count++] = (TableHeader){task->figures[f], true};
    TableField *field = fields;
    for (int l = 0; l < task->num_lines; l++)
        for (int c = 0; c < task->lines[l].count; c++) {
            const TableCell *cell = task->lines[l].cells[c];
            *field++ = text_field(cell->cell->name);
            for (int k = 0; k < table->num_keys; k++)
                if (content->is_seed[k] && content->varies[k])
                    *field++ = text_field(cell->cell->values[k] ? cell->cell->values[k] : MISSING);
            for (int f = 0; f < task->num_figures; f++)
                *field++ = figure_field(results_figure(cell->evaluated.results, task->figures[f]));
        }
    SortableTable sortable = {headers, fields, num_cells, columns, -1, -1};
    html_report_fold_begin(page, "Every evaluation");
    html_report_sortable_table(page, &sortable);
    html_report_fold_end(page);
    for (int i = 0; i < columns * num_cells; i++) {
        free((char *)fields[i].text);
        free((char *)fields[i].note);
    }
    free(fields);
    free(headers);
}

// ---- the page

static void add_task(HtmlReport *page, const TableContent *content, const TableTask *task) {
    const char *heading = report_task_heading(task->task);
    char *own =
        task->evaluation || task->stage ? format_string("%s: %s", heading, task->name) : NULL;
    html_report_heading(page, own ? own : heading);
    free(own);
    if (!task->num_figures) {
        html_report_paragraph(page, "The evaluations have no figures.");
        return;
    }
    const char *base = base_name(content, task);
    char *text = format_string(
        "In small print: 95%% intervals by a bootstrap over images%s.%s%s%s A click on a header "
        "sorts.",
        content->has_seeds ? " of the mean over seeds, and the least and the greatest of a seed"
                           : "",
        base ? " Differences are to " : "", base ? base : "",
        !base                ? ""
        : content->has_seeds ? ", paired over images and seeds; a star marks those whose interval "
                               "leaves out zero."
                             : ", paired over images; a star marks those whose interval leaves out "
                               "zero.");
    html_report_paragraph(page, text);
    free(text);
    Rows rows = rows_of(content, task);
    figure_table_add(page, &rows.table);
    if (content->has_seeds) add_cells(page, content, task);
    if (task->num_lines > 1 && task->num_lines <= MOST_ROWS_IN_CHART) {
        html_report_subheading(page, base ? "Differences to the base" : "Figures");
        figure_table_add_charts(page, &rows.table, base != NULL);
    }
    sweep_page_add_charts(page, content, task);
    free_rows(&rows);
}

static void add_failed(HtmlReport *page, const TableContent *content) {
    const char *headers[] = {"evaluation", "reason"};
    const char **fields = checked_calloc((size_t)content->num_failed * 2, sizeof *fields);
    bool *none = checked_calloc((size_t)content->num_failed * 2, sizeof *none);
    int count = 0;
    for (int c = 0; c < content->table->num_cells; c++) {
        const TableCell *cell = &content->cells[c];
        if (!cell->failure) continue;
        fields[count++] = cell->cell->name;
        fields[count++] = cell->failure;
    }
    html_report_heading(page, "Failed");
    html_report_ranked_table(page, headers, fields, content->num_failed, 2, none);
    free(fields);
    free(none);
}

/// The best line of each task, and how many failed.
static void add_key_figures(HtmlReport *page, const TableContent *content) {
    KeyFigure *figures = checked_calloc((size_t)content->num_tasks + 1, sizeof *figures);
    int count = 0;
    for (int t = 0; t < content->num_tasks; t++) {
        const TableTask *task = &content->tasks[t];
        if (!task->num_figures) continue;
        const TableLine *best = &task->lines[0];
        figures[count++] = (KeyFigure){
            format_string("%.3f", best->figures[task->sorted_by].value),
            format_string("%s, the highest %s", task->name, task->figures[task->sorted_by]),
            format_string("%s", best->name)};
    }
    if (content->num_failed)
        figures[count++] = (KeyFigure){format_string("%d", content->num_failed),
                                       checked_strdup("evaluations failed"), NULL};
    if (count) html_report_key_figures(page, figures, count);
    for (int i = 0; i < count; i++) {
        free((char *)figures[i].value);
        free((char *)figures[i].label);
        free((char *)figures[i].note);
    }
    free(figures);
}

HtmlReport *sweep_page(const TableContent *content) {
    const SweepTable *table = content->table;
    char *subtitle = format_string("%d evaluations", table->num_cells);
    HtmlReport *page = html_report_new(table->title ? table->title : "Sweep", subtitle);
    free(subtitle);
    add_key_figures(page, content);
    sweep_page_add_headline(page, content);
    for (int t = 0; t < content->num_tasks; t++) add_task(page, content, &content->tasks[t]);
    if (content->num_failed) add_failed(page, content);
    return page;
}
