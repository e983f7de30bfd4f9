// Evaluations of one name and task are compared: what each run left in eval/NAME.
#include "eval/pages/plot.h"
#include "train/log/progress.h"
#include "train/report/figure_table.h"
#include "train/report/report_compare_parts.h"
#include "train/report/report_evaluations.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/// An evaluation of one run, and what stands about it on the page.
typedef struct ComparedEvaluation {
    const ReportEvaluation *evaluation;
    /// of the run
    int number;
    Evaluated evaluated;
    /// [num_figures] of the task
    FigureEstimate *figures;
    /// "1  tiny"; "trained, 1"
    char *name, *name_in_chart;
    /// why there is no difference, or NULL
    char *remark;
    TableField *extras;
} ComparedEvaluation;

/// Evaluations of one task, those of a name behind each other.
typedef struct ComparedTask {
    const char *name;
    char **figures;
    int num_figures;
    ComparedEvaluation *items;
    int count;
    SharedAnnotations *annotations;
} ComparedTask;

// ---- what there is

/// Figures of point accuracy that was measured before results had intervals.
static const char *const EARLIER_FIGURES[] = {"point_accuracy", "point_accuracy_of_all_nouns",
                                              "noun_precision", "mean_iou",
                                              "random_point",   "centre"};

static void add_earlier_figures(const json_t *results, json_t *names) {
    for (size_t i = 0; i < sizeof EARLIER_FIGURES / sizeof *EARLIER_FIGURES; i++)
        if (json_is_number(json_object_get(results, EARLIER_FIGURES[i])))
            json_object_set_new(names, EARLIER_FIGURES[i], json_true());
}

static void name_figures(ComparedTask *task) {
    json_t *names = json_object();
    for (int i = 0; i < task->count; i++) {
        const json_t *results = task->items[i].evaluation->results;
        results_add_figures(results, names);
        if (!json_object_get(results, "intervals")) add_earlier_figures(results, names);
    }
    task->figures = results_figure_names(names, &task->num_figures);
}

static void add_item(ComparedTask *task, const ReportEvaluation *evaluation, int run,
                     const char *run_name) {
    task->items = checked_realloc(task->items, (size_t)(task->count + 1) * sizeof *task->items);
    task->items[task->count++] =
        (ComparedEvaluation){.evaluation = evaluation,
                             .number = run,
                             .evaluated = {.folder = checked_strdup(evaluation->folder),
                                           .results = json_incref(evaluation->results),
                                           .shared = task->annotations},
                             .name = report_numbered(run, run_name),
                             .name_in_chart = format_string("%s, %d", evaluation->name, run + 1)};
}

/// Those of all runs with that name, if they are of the task.
static void add_named(ComparedTask *task, const ReportRun *runs, const char *const *names,
                      int count, const char *evaluation) {
    for (int i = 0; i < count; i++) {
        const ReportEvaluation *found = report_run_evaluation(&runs[i], evaluation);
        if (found && !strcmp(results_task(found->results), task->name))
            add_item(task, found, i, names[i]);
    }
}

static bool is_named_before(const ReportRun *runs, int run, int index) {
    const char *name = runs[run].evaluations[index].name;
    for (int i = 0; i < run; i++)
        if (report_run_evaluation(&runs[i], name)) return true;
    return !strcmp(name, "trained");
}

/// "trained" first: what a run came to; the others show how it got there.
static ComparedTask gather(const ReportRun *runs, const char *const *names, int count,
                           const char *name) {
    ComparedTask task = {.name = name, .annotations = shared_annotations_new()};
    add_named(&task, runs, names, count, "trained");
    for (int i = 0; i < count; i++)
        for (int k = 0; k < runs[i].num_evaluations; k++)
            if (!is_named_before(runs, i, k))
                add_named(&task, runs, names, count, runs[i].evaluations[k].name);
    name_figures(&task);
    return task;
}

// ---- figures

/// [first, first + size) have one name. The first is the others' base.
static void estimate(ComparedTask *task, int first, int size) {
    const char *const *figures = (const char *const *)task->figures;
    ComparedEvaluation *base = &task->items[first];
    Evaluated *of_base[] = {&base->evaluated};
    for (int i = first; i < first + size; i++) {
        ComparedEvaluation *item = &task->items[i];
        Evaluated *of[] = {&item->evaluated};
        Error reason = {0};
        item->figures = checked_calloc((size_t)task->num_figures + 1, sizeof *item->figures);
        figure_estimates(of, 1, figures, task->num_figures, item->figures, &reason);
        if (i == first) continue;
        if (!figure_estimates_compare(of_base, of, 1, figures, task->num_figures, item->figures,
                                      &reason))
            item->remark = format_string("no paired difference: %s", reason.message);
        evaluated_forget(of[0]);
    }
    evaluated_forget(of_base[0]);
}

static int size_of_name(const ComparedTask *task, int first) {
    int size = 1;
    while (first + size < task->count &&
           !strcmp(task->items[first + size].evaluation->name, task->items[first].evaluation->name))
        size++;
    return size;
}

// ---- on the page

static const TableHeader EXTRAS[] = {{"images", true}, {"time", true}};
enum { NUM_EXTRAS = sizeof EXTRAS / sizeof *EXTRAS };

static TableField *extras_of(const ReportEvaluation *evaluation) {
    const json_t *images = json_object_get(evaluation->results, "images");
    double seconds = evaluation->seconds;
    TableField *fields = checked_calloc(NUM_EXTRAS, sizeof *fields);
    fields[0].value = json_is_number(images) ? json_number_value(images) : NAN;
    fields[0].text = json_is_number(images) ? format_string("%.0f", json_number_value(images))
                                            : checked_strdup(REPORT_MISSING);
    fields[1].value = seconds > 0 ? seconds : NAN;
    fields[1].text = seconds > 0 ? format_duration(seconds) : checked_strdup(REPORT_MISSING);
    return fields;
}

static FigureRow row_of(const ComparedEvaluation *item, bool is_base, bool in_chart) {
    return (FigureRow){.name = in_chart ? item->name_in_chart : item->name,
                       .note = item->remark,
                       .figures = item->figures,
                       .is_base = is_base,
                       .color = item->number,
                       .extras = item->extras};
}

static FigureTable table_of(const ComparedTask *task, const FigureRow *rows, int num_rows) {
    return (FigureTable){.figures = (const char *const *)task->figures,
                         .num_figures = task->num_figures,
                         .rows = rows,
                         .num_rows = num_rows,
                         .row_header = "run",
                         .extra_headers = EXTRAS,
                         .num_extras = NUM_EXTRAS,
                         .sorted_by = -1};
}

/// A table of evaluations of one name, the first being the others' base.
static void add_shared(HtmlReport *page, const ComparedTask *task, int first, int size) {
    FigureRow *rows = checked_calloc((size_t)size, sizeof *rows);
    for (int i = 0; i < size; i++) rows[i] = row_of(&task->items[first + i], i == 0, false);
    FigureTable table = table_of(task, rows, size);
    table.base = task->items[first].name;
    html_report_subheading(page, task->items[first].evaluation->name);
    figure_table_add(page, &table);
    free(rows);
}

/// A table of what a single run has of its name.
static void add_single(HtmlReport *page, const ComparedTask *task) {
    FigureRow *rows = checked_calloc((size_t)task->count, sizeof *rows);
    int count = 0;
    for (int first = 0, size; first < task->count; first += size) {
        size = size_of_name(task, first);
        if (size == 1) rows[count++] = row_of(&task->items[first], false, true);
    }
    if (count) {
        FigureTable table = table_of(task, rows, count);
        table.row_header = "evaluation, run";
        html_report_subheading(page, "Of one run only");
        figure_table_add(page, &table);
    }
    free(rows);
}

static void add_charts(HtmlReport *page, const ComparedTask *task) {
    FigureRow *rows = checked_calloc((size_t)task->count, sizeof *rows);
    for (int i = 0; i < task->count; i++) rows[i] = row_of(&task->items[i], false, true);
    FigureTable table = table_of(task, rows, task->count);
    html_report_subheading(page, "Figures and their intervals");
    figure_table_add_charts(page, &table, false);
    free(rows);
}

static void add_task(HtmlReport *page, ComparedTask *task, const char *legend) {
    html_report_heading(page, report_task_heading(task->name));
    html_report_paragraph(page, report_task_text(task->name));
    html_report_paragraph(page,
                          "In small print: 95% intervals by a bootstrap over images. Differences "
                          "are to the first run, paired over images; a star marks those whose "
                          "interval leaves out zero.");
    for (int i = 0; i < task->count; i++)
        task->items[i].extras = extras_of(task->items[i].evaluation);
    for (int first = 0, size; first < task->count; first += size) {
        size = size_of_name(task, first);
        estimate(task, first, size);
        if (size > 1) add_shared(page, task, first, size);
    }
    add_single(page, task);
    if (task->count < 2) return;
    html_report_legend(page, legend);
    add_charts(page, task);
}

static void free_task(ComparedTask *task) {
    for (int i = 0; i < task->count; i++) {
        ComparedEvaluation *item = &task->items[i];
        evaluated_free(&item->evaluated);
        for (int e = 0; item->extras && e < NUM_EXTRAS; e++) free((char *)item->extras[e].text);
        free(item->extras);
        free(item->figures);
        free(item->name);
        free(item->name_in_chart);
        free(item->remark);
    }
    shared_annotations_free(task->annotations);
    report_names_free(task->figures, task->num_figures);
    free(task->items);
}

/// Names of the tasks of all evaluations, points first, as an object's keys.
static json_t *tasks_of(const ReportRun *runs, int count) {
    json_t *names = json_object();
    for (int only_points = 1; only_points >= 0; only_points--)
        for (int i = 0; i < count; i++)
            for (int k = 0; k < runs[i].num_evaluations; k++) {
                const char *name = results_task(runs[i].evaluations[k].results);
                if (!only_points || !strcmp(name, "points"))
                    json_object_set_new(names, name, json_true());
            }
    return names;
}

void report_compare_evaluations(HtmlReport *page, const ReportRun *runs, const char *const *names,
                                int count) {
    json_t *tasks = tasks_of(runs, count);
    char *legend = plot_legend_html(names, count);
    const char *name;
    json_t *value;
    json_object_foreach(tasks, name, value) {
        ComparedTask task = gather(runs, names, count, name);
        if (task.num_figures) add_task(page, &task, legend);
        free_task(&task);
    }
    json_decref(tasks);
    free(legend);
}
