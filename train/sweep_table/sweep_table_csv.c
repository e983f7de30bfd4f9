// A row per evaluation and, where seeds are swept, one before those of a line for their mean: a
// spreadsheet keeps one kind by its column "row".
#include "autograd/text/byte_buffer.h"
#include "train/sweep_table/sweep_table_parts.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/// What a figure has in a row; the first has no word behind the figure's name.
static const char *const PARTS[] = {
    "",          "_low",        "_high",           "_least",
    "_greatest", "_difference", "_difference_low", "_difference_high"};
enum { NUM_PARTS = sizeof PARTS / sizeof *PARTS };

/// A field is quoted where it needs to be; NULL is an empty one.
static void put_field(ByteBuffer *out, const char *text) {
    if (out->size && out->data[out->size - 1] != '\n') byte_buffer_put_byte(out, ',');
    if (!text) return;
    if (!text[strcspn(text, ",\"\r\n")]) {
        byte_buffer_put_text(out, text);
        return;
    }
    byte_buffer_put_byte(out, '"');
    for (; *text; text++) {
        if (*text == '"') byte_buffer_put_byte(out, '"');
        byte_buffer_put_byte(out, *text);
    }
    byte_buffer_put_byte(out, '"');
}

static void put_number(ByteBuffer *out, double value) {
    char text[32] = "";
    if (isfinite(value)) snprintf(text, sizeof text, "%.8g", value);
    put_field(out, text);
}

static void end_row(ByteBuffer *out) { byte_buffer_put_text(out, "\r\n"); }

/// Names of the figures of all tasks, each once, as an object's keys.
static json_t *all_figures(const TableContent *content) {
    json_t *names = json_object();
    for (int t = 0; t < content->num_tasks; t++)
        for (int f = 0; f < content->tasks[t].num_figures; f++)
            json_object_set_new(names, content->tasks[t].figures[f], json_true());
    return names;
}

/// figures: [num_figures] of the task, or NULL for none.
static void put_figures(ByteBuffer *out, json_t *names, const TableTask *task,
                        const FigureEstimate *figures) {
    const char *name;
    json_t *value;
    json_object_foreach(names, name, value) {
        int f = figures ? table_figure(task, name) : -1;
        const FigureEstimate none = {NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN};
        const FigureEstimate *e = f < 0 ? &none : &figures[f];
        const double parts[NUM_PARTS] = {
            e->value,    e->low,        e->high,           e->least,
            e->greatest, e->difference, e->difference_low, e->difference_high};
        for (int p = 0; p < NUM_PARTS; p++) put_number(out, parts[p]);
    }
}

static void put_settings(ByteBuffer *out, const TableContent *content, const char *const *values,
                         bool with_seeds) {
    for (int k = 0; k < content->table->num_keys; k++)
        put_field(out, content->is_seed[k] && !with_seeds ? NULL : values[k]);
}

static void put_beginning(ByteBuffer *out, const char *kind, const char *task, const char *line,
                          const char *name) {
    put_field(out, kind);
    put_field(out, task);
    put_field(out, line);
    put_field(out, name);
}

static void put_cell(ByteBuffer *out, const TableContent *content, json_t *names,
                     const TableTask *task, const TableLine *line, TableCell *cell) {
    Error ignored;
    Evaluated *of[] = {&cell->evaluated};
    FigureEstimate *figures = checked_calloc((size_t)task->num_figures + 1, sizeof *figures);
    figure_estimates(of, 1, (const char *const *)task->figures, task->num_figures, figures,
                     &ignored);
    put_beginning(out, "cell", task->name, line->name, cell->cell->name);
    put_settings(out, content, cell->cell->values, true);
    put_field(out, "1");
    put_field(out, "0");
    // The difference is the line's where it has one cell.
    put_figures(out, names, task, line->count == 1 ? line->figures : figures);
    put_field(out, cell->folder);
    put_field(out, line->count == 1 ? line->remark : NULL);
    end_row(out);
    free(figures);
}

static void put_line(ByteBuffer *out, const TableContent *content, json_t *names,
                     const TableTask *task, const TableLine *line) {
    if (content->has_seeds) {
        char count[16], failed[16];
        snprintf(count, sizeof count, "%d", line->count);
        snprintf(failed, sizeof failed, "%d", line->failed);
        put_beginning(out, "mean", task->name, line->name, NULL);
        put_settings(out, content, line->values, false);
        put_field(out, count);
        put_field(out, failed);
        put_figures(out, names, task, line->figures);
        put_field(out, NULL);
        put_field(out, line->remark);
        end_row(out);
    }
    for (int i = 0; i < line->count; i++) put_cell(out, content, names, task, line, line->cells[i]);
}

static void put_header(ByteBuffer *out, const TableContent *content, json_t *names) {
    const char *name;
    json_t *value;
    put_beginning(out, "row", "task", "line", "cell");
    for (int k = 0; k < content->table->num_keys; k++) put_field(out, content->table->keys[k]);
    put_field(out, "evaluations");
    put_field(out, "failed");
    json_object_foreach(names, name, value)
        for (int p = 0; p < NUM_PARTS; p++) {
            char *header = format_string("%s%s", name, PARTS[p]);
            put_field(out, header);
            free(header);
        }
    put_field(out, "folder");
    put_field(out, "remark");
    end_row(out);
}

char *table_csv(const TableContent *content) {
    ByteBuffer out = {0};
    json_t *names = all_figures(content);
    put_header(&out, content, names);
    for (int t = 0; t < content->num_tasks; t++)
        for (int l = 0; l < content->tasks[t].num_lines; l++)
            put_line(&out, content, names, &content->tasks[t], &content->tasks[t].lines[l]);
    for (int c = 0; c < content->table->num_cells; c++) {
        const TableCell *cell = &content->cells[c];
        if (!cell->failure) continue;
        put_beginning(&out, "failed", NULL, cell->cell->line, cell->cell->name);
        put_settings(&out, content, cell->cell->values, true);
        put_field(&out, "0");
        put_field(&out, "1");
        put_figures(&out, names, NULL, NULL);
        put_field(&out, cell->folder);
        put_field(&out, cell->failure);
        end_row(&out);
    }
    json_decref(names);
    return byte_buffer_take(&out);
}
