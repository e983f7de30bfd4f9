// Cells are read, then those of one task and the same settings but for seeds become a line.
#include "train/sweep_table/sweep_table_parts.h"

#include "autograd/text/byte_buffer.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

bool table_same_value(const char *a, const char *b) { return a && b ? !strcmp(a, b) : a == b; }

int table_figure(const TableTask *task, const char *name) {
    for (int f = 0; name && f < task->num_figures; f++)
        if (!strcmp(task->figures[f], name)) return f;
    return -1;
}

bool table_varies_in(const TableTask *task, int key) {
    for (int l = 1; l < task->num_lines; l++)
        if (!table_same_value(task->lines[l].values[key], task->lines[0].values[key])) return true;
    return false;
}

bool table_is_about(const char *key) {
    static const char *const KEYS[] = {"eval.task",     "eval.annotations",  "eval.masks",
                                       "eval.segments", "eval.image_folder", "eval.split",
                                       "eval.samples"};
    for (size_t i = 0; i < sizeof KEYS / sizeof *KEYS; i++)
        if (!strcmp(key, KEYS[i])) return true;
    return false;
}

// ---- names of folders

/// The way from one folder to another, both as realpath() has them. The caller frees it.
static char *relative_path(const char *from, const char *to) {
    size_t common = 0;
    for (size_t i = 0;; i++) {
        bool ends_from = !from[i] || from[i] == '/', ends_to = !to[i] || to[i] == '/';
        if (ends_from && ends_to) common = i;
        if (from[i] != to[i] || !from[i]) break;
    }
    ByteBuffer path = {0};
    for (const char *c = from + common; *c; c++)
        if (*c == '/' && c[1]) byte_buffer_put_text(&path, path.size ? "/.." : "..");
    const char *rest = to + common + (to[common] == '/');
    if (*rest && path.size) byte_buffer_put_byte(&path, '/');
    byte_buffer_put_text(&path, rest);
    if (!path.size) byte_buffer_put_byte(&path, '.');
    return byte_buffer_take(&path);
}

/// realpath(), also of what is not there (a cell that failed early), as far as there are folders
/// above it.
static char *whole_path(const char *path) {
    char *whole = realpath(path, NULL);
    if (whole || !strcmp(path, ".")) return whole ? whole : checked_strdup(path);
    size_t length = strlen(path);
    while (length > 1 && path[length - 1] == '/') length--;
    size_t above = length;
    while (above > 0 && path[above - 1] != '/') above--;
    if (above == 1) return checked_strdup(path);
    char *parent = above ? format_string("%.*s", (int)above - 1, path) : checked_strdup("."),
         *whole_parent = whole_path(parent);
    whole = format_string("%s/%.*s", whole_parent, (int)(length - above), path + above);
    free(parent);
    free(whole_parent);
    return whole;
}

static char *folder_seen_from(const char *from, const char *folder) {
    char *whole_from = whole_path(from), *whole = whole_path(folder),
         *path = relative_path(whole_from, whole);
    free(whole_from);
    free(whole);
    return path;
}

char *table_replace(const char *text, const char *part, const char *by) {
    ByteBuffer out = {0};
    size_t length = strlen(part);
    for (const char *at; length && (at = strstr(text, part)); text = at + length) {
        byte_buffer_put(&out, text, (size_t)(at - text));
        byte_buffer_put_text(&out, by);
    }
    byte_buffer_put_text(&out, text);
    return byte_buffer_take(&out);
}

// ---- cells

static void fail_cell(TableCell *cell, const char *reason) {
    free(cell->failure);
    cell->failure = cell->folder ? table_replace(reason, cell->cell->folder, cell->folder)
                                 : checked_strdup(reason);
}

static void read_cell(TableCell *cell, const SweepCell *of, const char *folder) {
    Error error = {0};
    *cell = (TableCell){.cell = of};
    if (of->folder) cell->folder = folder_seen_from(folder, of->folder);
    if (of->failure)
        fail_cell(cell, of->failure);
    else if (!of->folder)
        fail_cell(cell, "it was not evaluated");
    else if (!evaluated_read(&cell->evaluated, of->folder, &error))
        fail_cell(cell, error.message);
}

static void find_what_varies(TableContent *content) {
    const SweepTable *table = content->table;
    for (int k = 0; k < table->num_keys; k++) {
        const char *dot = strrchr(table->keys[k], '.');
        content->is_seed[k] = !strcmp(dot ? dot + 1 : table->keys[k], "seed");
        for (int c = 1; c < table->num_cells && !content->varies[k]; c++)
            content->varies[k] =
                !table_same_value(table->cells[c].values[k], table->cells[0].values[k]);
        if (content->is_seed[k] && content->varies[k]) content->has_seeds = true;
    }
}

static bool same_settings(const TableContent *content, const char *const *a, const char *const *b) {
    for (int k = 0; k < content->table->num_keys; k++)
        if (!content->is_seed[k] && !table_same_value(a[k], b[k])) return false;
    return true;
}

// ---- lines

/// Of evaluations on the same, after the same stage.
static bool has_table(const TableTask *table, const SweepCell *cell, const char *task) {
    return table_same_value(table->evaluation, cell->evaluation) &&
           table_same_value(table->stage, cell->stage) && !strcmp(table->task, task);
}

static TableTask *task_of(TableContent *content, const SweepCell *cell, const char *task) {
    for (int t = 0; t < content->num_tasks; t++)
        if (has_table(&content->tasks[t], cell, task)) return &content->tasks[t];
    content->tasks =
        checked_realloc(content->tasks, (size_t)(content->num_tasks + 1) * sizeof *content->tasks);
    TableTask *table = &content->tasks[content->num_tasks++];
    *table = (TableTask){.name = format_string("%s%s%s", cell->evaluation ? cell->evaluation : task,
                                               cell->stage ? " after " : "",
                                               cell->stage ? cell->stage : ""),
                         .evaluation = cell->evaluation,
                         .stage = cell->stage,
                         .task = checked_strdup(task)};
    return table;
}

/// "layers=[0] normalise=false" of the settings that vary.
static char *describe_settings(const TableContent *content, const char *const *values) {
    ByteBuffer text = {0};
    for (int k = 0; k < content->table->num_keys; k++) {
        const char *key = content->table->keys[k], *dot = strrchr(key, '.');
        if (content->is_seed[k] || !content->varies[k] || !values[k]) continue;
        byte_buffer_print(&text, "%s%s=%s", text.size ? " " : "", dot ? dot + 1 : key, values[k]);
    }
    if (!text.size) byte_buffer_put_text(&text, "as configured");
    return byte_buffer_take(&text);
}

static TableLine *line_of(TableContent *content, TableTask *task, const char *const *values) {
    for (int l = 0; l < task->num_lines; l++)
        if (same_settings(content, task->lines[l].values, values)) return &task->lines[l];
    task->lines = checked_realloc(task->lines, (size_t)(task->num_lines + 1) * sizeof *task->lines);
    TableLine *line = &task->lines[task->num_lines++];
    *line = (TableLine){.values = values};
    return line;
}

static void add_cell(TableContent *content, TableCell *cell) {
    TableTask *task = task_of(content, cell->cell, results_task(cell->evaluated.results));
    TableLine *line = line_of(content, task, cell->cell->values);
    line->cells = checked_realloc(line->cells, (size_t)(line->count + 1) * sizeof *line->cells);
    line->cells[line->count++] = cell;
}

/// Beside those with results; a task whose cells all failed has no table.
static void count_failed(TableContent *content, const TableCell *cell) {
    content->num_failed++;
    for (int t = 0; t < content->num_tasks; t++) {
        const TableTask *task = &content->tasks[t];
        if (!table_same_value(task->evaluation, cell->cell->evaluation) ||
            !table_same_value(task->stage, cell->cell->stage))
            continue;
        for (int l = 0; l < task->num_lines; l++)
            task->lines[l].failed +=
                same_settings(content, task->lines[l].values, cell->cell->values);
    }
}

static void name_line(const TableContent *content, TableLine *line) {
    const SweepCell *first = line->cells[0]->cell;
    line->name = first->line                      ? checked_strdup(first->line)
                 : line->count + line->failed > 1 ? describe_settings(content, line->values)
                                                  : checked_strdup(first->name);
}

static void name_figures(TableTask *task) {
    json_t *names = json_object();
    for (int l = 0; l < task->num_lines; l++)
        for (int c = 0; c < task->lines[l].count; c++)
            results_add_figures(task->lines[l].cells[c]->evaluated.results, names);
    task->figures = results_figure_names(names, &task->num_figures);
}

// ---- all of it

bool table_read(TableContent *content, const SweepTable *table, const char *folder, Error *error) {
    size_t num_keys = (size_t)table->num_keys, num_cells = (size_t)table->num_cells;
    *content = (TableContent){.table = table,
                              .is_seed = checked_calloc(num_keys + 1, sizeof(bool)),
                              .varies = checked_calloc(num_keys + 1, sizeof(bool)),
                              .cells = checked_calloc(num_cells + 1, sizeof(TableCell)),
                              .annotations = shared_annotations_new()};
    find_what_varies(content);
    for (int c = 0; c < table->num_cells; c++) {
        read_cell(&content->cells[c], &table->cells[c], folder);
        content->cells[c].evaluated.shared = content->annotations;
        if (!content->cells[c].failure) add_cell(content, &content->cells[c]);
    }
    for (int c = 0; c < table->num_cells; c++)
        if (content->cells[c].failure) count_failed(content, &content->cells[c]);
    for (int t = 0; t < content->num_tasks; t++) {
        name_figures(&content->tasks[t]);
        for (int l = 0; l < content->tasks[t].num_lines; l++)
            name_line(content, &content->tasks[t].lines[l]);
    }
    return !table->base || table_find_base(content, error);
}

static void free_task(TableTask *task) {
    for (int l = 0; l < task->num_lines; l++) {
        free(task->lines[l].name);
        free(task->lines[l].cells);
        free(task->lines[l].figures);
        free(task->lines[l].remark);
    }
    for (int f = 0; f < task->num_figures; f++) free(task->figures[f]);
    free(task->lines);
    free(task->figures);
    free(task->name);
    free(task->task);
}

void table_free(TableContent *content) {
    for (int c = 0; content->cells && c < content->table->num_cells; c++) {
        free(content->cells[c].folder);
        free(content->cells[c].failure);
        evaluated_free(&content->cells[c].evaluated);
    }
    for (int t = 0; t < content->num_tasks; t++) free_task(&content->tasks[t]);
    shared_annotations_free(content->annotations);
    free(content->cells);
    free(content->tasks);
    free(content->is_seed);
    free(content->varies);
    *content = (TableContent){0};
}
