#include "train/log/json_text.h"
#include "train/sweep_table/sweep_table_parts.h"

#include <math.h>
#include <stdlib.h>

static json_t *number(double value) { return isfinite(value) ? json_real(value) : json_null(); }

static json_t *text_or_null(const char *text) { return text ? json_text(text) : json_null(); }

static json_t *interval(double low, double high) {
    return isfinite(low) && isfinite(high) ? json_pack("[f, f]", low, high) : json_null();
}

static json_t *settings(const TableContent *content, const char *const *values) {
    json_t *object = json_object();
    for (int k = 0; k < content->table->num_keys; k++)
        json_set_outside(object, content->table->keys[k], text_or_null(values[k]));
    return object;
}

static json_t *describe_cell(const TableContent *content, const TableTask *task,
                             const TableCell *cell) {
    json_t *figures = json_object();
    for (int f = 0; f < task->num_figures; f++) {
        Interval figure = results_figure(cell->evaluated.results, task->figures[f]);
        json_set_outside(figures, task->figures[f],
                         json_pack("{s:o, s:o}", "value", number(figure.estimate), "interval",
                                   interval(figure.low, figure.high)));
    }
    return json_pack("{s:o, s:o, s:o, s:o}", "name", json_text(cell->cell->name), "folder",
                     json_text(cell->folder), "settings", settings(content, cell->cell->values),
                     "figures", figures);
}

static json_t *describe_estimate(const TableLine *line, const FigureEstimate *estimate) {
    json_t *object = json_pack("{s:o, s:o}", "value", number(estimate->value), "interval",
                               interval(estimate->low, estimate->high));
    if (line->count > 1) {
        json_object_set_new(object, "least", number(estimate->least));
        json_object_set_new(object, "greatest", number(estimate->greatest));
    }
    if (!isfinite(estimate->difference)) return object;
    json_object_set_new(object, "difference", number(estimate->difference));
    json_object_set_new(object, "difference_interval",
                        interval(estimate->difference_low, estimate->difference_high));
    json_object_set_new(object, "differs", json_boolean(figure_estimate_differs(estimate)));
    return object;
}

static json_t *describe_line(const TableContent *content, const TableTask *task,
                             const TableLine *line) {
    json_t *figures = json_object(), *cells = json_array(), *values = json_object();
    for (int k = 0; k < content->table->num_keys; k++)
        if (!content->is_seed[k])
            json_set_outside(values, content->table->keys[k], text_or_null(line->values[k]));
    for (int f = 0; f < task->num_figures; f++)
        json_set_outside(figures, task->figures[f], describe_estimate(line, &line->figures[f]));
    for (int i = 0; i < line->count; i++)
        json_array_append_new(cells, describe_cell(content, task, line->cells[i]));
    json_t *object = json_pack("{s:o, s:b, s:o, s:i, s:i}", "name", json_text(line->name),
                               "is_base", line->is_base, "settings", values, "evaluations",
                               line->count, "failed", line->failed);
    if (line->pairs) json_object_set_new(object, "pairs", json_integer(line->pairs));
    if (line->remark) json_object_set_new(object, "remark", json_text(line->remark));
    json_object_set_new(object, "figures", figures);
    json_object_set_new(object, "cells", cells);
    return object;
}

static json_t *describe_task(const TableContent *content, const TableTask *task) {
    json_t *lines = json_array();
    for (int l = 0; l < task->num_lines; l++)
        json_array_append_new(lines, describe_line(content, task, &task->lines[l]));
    return json_pack("{s:o, s:o, s:o, s:o, s:o}", "task", json_text(task->task), "evaluation",
                     text_or_null(task->evaluation), "stage", text_or_null(task->stage),
                     "sorted_by",
                     task->num_figures ? json_text(task->figures[task->sorted_by]) : json_null(),
                     "lines", lines);
}

char *table_json(const TableContent *content) {
    const SweepTable *table = content->table;
    json_t *keys = json_array(), *tasks = json_array(), *failed = json_array();
    for (int k = 0; k < table->num_keys; k++)
        json_array_append_new(keys, json_text(table->keys[k]));
    for (int t = 0; t < content->num_tasks; t++)
        json_array_append_new(tasks, describe_task(content, &content->tasks[t]));
    for (int c = 0; c < table->num_cells; c++) {
        const TableCell *cell = &content->cells[c];
        if (!cell->failure) continue;
        json_array_append_new(failed,
                              json_pack("{s:o, s:o, s:o, s:o}", "name", json_text(cell->cell->name),
                                        "folder", text_or_null(cell->folder), "settings",
                                        settings(content, cell->cell->values), "reason",
                                        json_text(cell->failure)));
    }
    json_t *object = json_pack("{s:o, s:o, s:o, s:o}", "keys", keys, "base",
                               text_or_null(table->base), "tasks", tasks, "failed", failed);
    char *text = json_dumps(object, JSON_INDENT(1) | JSON_REAL_PRECISION(8)),
         *whole = format_string("%s\n", text);
    json_decref(object);
    free(text);
    return whole;
}
