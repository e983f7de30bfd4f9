// Verdicts are read and measured again for what is paired or joined, and only then: a line at a
// time, beside those of the base, which are kept.
#include "autograd/text/nearest_name.h"
#include "train/log/progress.h"
#include "train/sweep_table/sweep_table_parts.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MANY_LINES = 16 };

// ---- the base

/// The same task, and the same images.
static bool are_about_the_same(const TableContent *content, const char *const *a,
                               const char *const *b) {
    for (int k = 0; k < content->table->num_keys; k++)
        if (table_is_about(content->table->keys[k]) && !table_same_value(a[k], b[k])) return false;
    return true;
}

static bool is_task_of(const TableContent *content, const TableTask *task, const SweepCell *base) {
    for (int l = 0; l < task->num_lines; l++)
        if (are_about_the_same(content, task->lines[l].values, base->values)) return true;
    return false;
}

/// In another task than the base's own, what all lines have in common (a prompt of the task's) does
/// not tell its base from others.
static void mark_base(TableContent *content, const SweepCell *base) {
    const SweepTable *table = content->table;
    content->has_base = true;
    for (int t = 0; t < content->num_tasks; t++) {
        TableTask *task = &content->tasks[t];
        bool is_own = is_task_of(content, task, base);
        for (int l = 0; l < task->num_lines; l++) task->lines[l].is_base = true;
        for (int k = 0; k < table->num_keys; k++) {
            if (content->is_seed[k] || table_is_about(table->keys[k])) continue;
            if (!is_own && !table_varies_in(task, k)) continue;
            for (int l = 0; l < task->num_lines; l++)
                if (!table_same_value(task->lines[l].values[k], base->values[k]))
                    task->lines[l].is_base = false;
        }
    }
}

bool table_find_base(TableContent *content, Error *error) {
    const SweepTable *table = content->table;
    const char **names = checked_calloc((size_t)table->num_cells * 2 + 1, sizeof *names);
    int count = 0, found = -1;
    for (int c = 0; c < table->num_cells; c++) {
        names[count++] = table->cells[c].name;
        if (table->cells[c].line) names[count++] = table->cells[c].line;
        bool is_it = !strcmp(table->cells[c].name, table->base) ||
                     (table->cells[c].line && !strcmp(table->cells[c].line, table->base));
        if (is_it && found < 0) found = c;
    }
    int nearest = found < 0 ? nearest_name(table->base, names, count) : -1;
    if (found >= 0)
        mark_base(content, &table->cells[found]);
    else
        error_set(error, "no cell of the sweep is called '%s'%s%s%s", quote(table->base).text,
                  nearest < 0 ? "" : "; did you mean '", nearest < 0 ? "" : names[nearest],
                  nearest < 0 ? "" : "'?");
    free(names);
    return found >= 0;
}

// ---- pairs

/// What `line` is compared with: the base of the same task and images, else of the same task, whose
/// images then turn out to be others. NULL: the base failed.
static const TableLine *base_of(const TableContent *content, const TableTask *task,
                                const TableLine *line) {
    const TableLine *first = NULL;
    for (int l = 0; l < task->num_lines; l++) {
        const TableLine *base = &task->lines[l];
        if (!base->is_base) continue;
        if (!first) first = base;
        if (are_about_the_same(content, line->values, base->values)) return base;
    }
    return first;
}

static bool same_seeds(const TableContent *content, const TableCell *a, const TableCell *b) {
    for (int k = 0; k < content->table->num_keys; k++)
        if (content->is_seed[k] && !table_same_value(a->cell->values[k], b->cell->values[k]))
            return false;
    return true;
}

/// Evaluations that are compared, [count] of each.
typedef struct Pairs {
    Evaluated **base, **of;
    int count;
} Pairs;

static void add_pair(Pairs *pairs, TableCell *base, TableCell *of) {
    pairs->base[pairs->count] = &base->evaluated;
    pairs->of[pairs->count++] = &of->evaluated;
}

/// Those of the same seeds. Where there are none, a single evaluation (of what knows no seed) is
/// paired with each of the others.
static Pairs pair_cells(const TableContent *content, const TableLine *base, const TableLine *line) {
    size_t most = (size_t)base->count * (size_t)line->count + 1;
    Pairs pairs = {checked_calloc(most, sizeof *pairs.base), checked_calloc(most, sizeof *pairs.of),
                   0};
    for (int i = 0; i < line->count; i++)
        for (int k = 0; k < base->count; k++)
            if (same_seeds(content, base->cells[k], line->cells[i]))
                add_pair(&pairs, base->cells[k], line->cells[i]);
    bool all_with_one = !pairs.count && (base->count == 1 || line->count == 1);
    for (int i = 0; all_with_one && i < base->count * line->count; i++)
        add_pair(&pairs, base->cells[i % base->count], line->cells[i / base->count]);
    return pairs;
}

/// The first reason stays. Folders are called as the table calls them.
static void remark(TableLine *line, const TableLine *base, const char *reason) {
    if (line->remark) return;
    line->remark = checked_strdup(reason);
    for (int i = 0; i < line->count + (base ? base->count : 0); i++) {
        const TableCell *cell = i < line->count ? line->cells[i] : base->cells[i - line->count];
        char *shorter = table_replace(line->remark, cell->cell->folder, cell->folder);
        free(line->remark);
        line->remark = shorter;
    }
}

static void compare_line(const TableContent *content, const TableTask *task, TableLine *line) {
    const TableLine *base = base_of(content, task, line);
    if (!base) {
        remark(line, NULL, "the base has no results to compare with");
        return;
    }
    Error error = {0};
    Pairs pairs = pair_cells(content, base, line);
    if (!pairs.count)
        remark(line, NULL, "no seed is the base's");
    else if (!figure_estimates_compare(pairs.base, pairs.of, pairs.count,
                                       (const char *const *)task->figures, task->num_figures,
                                       line->figures, &error))
        remark(line, base, error.message);
    line->pairs = pairs.count;
    free(pairs.base);
    free(pairs.of);
}

static void estimate_line(const TableContent *content, const TableTask *task, TableLine *line) {
    Error error = {0};
    Evaluated **of = checked_calloc((size_t)line->count, sizeof *of);
    for (int i = 0; i < line->count; i++) of[i] = &line->cells[i]->evaluated;
    line->figures = checked_calloc((size_t)task->num_figures + 1, sizeof *line->figures);
    if (!figure_estimates(of, line->count, (const char *const *)task->figures, task->num_figures,
                          line->figures, &error))
        remark(line, NULL, error.message);
    if (content->has_base && !line->is_base) compare_line(content, task, line);
    for (int i = 0; i < line->count && !line->is_base; i++) evaluated_forget(of[i]);
    free(of);
}

// ---- the order

/// The greatest value first, those without one last; else as the sweep has them.
static void sort_lines(TableTask *task) {
    for (int l = 1; l < task->num_lines; l++) {
        TableLine line = task->lines[l];
        double value = line.figures[task->sorted_by].value;
        int at = l;
        for (; at > 0; at--) {
            double above = task->lines[at - 1].figures[task->sorted_by].value;
            if (!(value > above || (isnan(above) && !isnan(value)))) break;
            task->lines[at] = task->lines[at - 1];
        }
        task->lines[at] = line;
    }
}

/// Lines without seeds and without a base are estimated at once.
static Progress *begin_progress(const TableContent *content, FILE *out) {
    int64_t lines = 0;
    for (int t = 0; t < content->num_tasks; t++) lines += content->tasks[t].num_lines;
    bool is_long = (content->has_base || content->has_seeds) && lines >= MANY_LINES;
    return progress_begin(is_long ? out : NULL, "comparing", 0, lines, MANY_LINES);
}

void table_estimate(TableContent *content, FILE *progress_out) {
    Progress *progress = begin_progress(content, progress_out);
    int64_t done = 0;
    for (int t = 0; t < content->num_tasks; t++) {
        TableTask *task = &content->tasks[t];
        for (int l = 0; l < task->num_lines; l++) {
            estimate_line(content, task, &task->lines[l]);
            progress_update(progress, ++done, "%s", task->name);
        }
        for (int l = 0; l < task->num_lines; l++)
            for (int i = 0; i < task->lines[l].count; i++)
                evaluated_forget(&task->lines[l].cells[i]->evaluated);
        int wanted = table_figure(task, content->table->sort_by);
        task->sorted_by = wanted < 0 ? 0 : wanted;
        if (task->num_figures) sort_lines(task);
    }
    progress_end(progress);
}
