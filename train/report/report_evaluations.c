#include "train/report/report_evaluations.h"

#include "autograd/error.h"
#include "train/evaluation/evaluated_figures.h"
#include "train/log/json_text.h"

#include <stdlib.h>
#include <string.h>

/// What a task is called on the page, and what its figures mean.
static const struct {
    const char *name, *heading, *text;
} TASKS_ON_PAGE[] = {
    {"points", "Points",
     "The model describes the image. For every noun that it says, its attention gives one point; "
     "counted are the points inside a mask of that class."},
    {"gcg", "Grounded conversations",
     "The model describes the image. Every noun chunk of its answer gives a point, the point a "
     "mask: captions are compared with captions (CIDEr, BLEU), masks with masks (AP50, mIoU), and "
     "phrases with their masks (mask recall)."},
    {"res", "Referring expressions",
     "The model is asked about an expression; the attention of the tokens that "
     "eval.referring_tokens chooses gives the point. gIoU is the mean IoU, cIoU all intersections "
     "over all unions."},
    {"png", "Panoptic narratives",
     "A narrative is read, not generated; every phrase gives a point. Average recall is the mean "
     "IoU with the segments that the phrase names."},
    {"instances", "Instances",
     "Every noun chunk of a description gets a category of the image and is a detection of it, as "
     "COCO counts them; its point is counted against the masks of that category."},
    {"caption", "Captions", "The description as a text, beside reference captions."},
    {"pope", "Is it in the image?",
     "Yes-or-no questions about things that are in the image and things that are not: chosen at "
     "random, the most frequent ones, or those most often seen with what is there (adversarial). "
     "Precision, recall and F1 are those of yes; its share should be a half."},
    {"gqa", "Questions for a word",
     "An answer is right if it is the expected word or two, but for capitals and a full stop at "
     "its "
     "end. Open questions ask what, where or how many; binary ones offer what to choose from."}};

enum { NUM_TASKS_ON_PAGE = sizeof TASKS_ON_PAGE / sizeof *TASKS_ON_PAGE };

static int task_on_page(const char *name) {
    for (int t = 0; t < NUM_TASKS_ON_PAGE; t++)
        if (!strcmp(TASKS_ON_PAGE[t].name, name)) return t;
    return -1;
}

const char *report_task_heading(const char *task) {
    int t = task_on_page(task);
    return t < 0 ? task : TASKS_ON_PAGE[t].heading;
}

const char *report_task_text(const char *task) {
    int t = task_on_page(task);
    return t < 0 ? "" : TASKS_ON_PAGE[t].text;
}

bool report_is_of_task(const json_t *results, const char *task) {
    return !strcmp(results_task(results), task);
}

static char *cell_text(const json_t *results, const char *figure) {
    const json_t *value = json_object_get(results, figure),
                 *interval = json_object_get(json_object_get(results, "intervals"), figure),
                 *low = json_array_get(interval, 0), *high = json_array_get(interval, 1);
    if (!json_is_number(value)) return format_string("%s", "");
    if (!json_is_number(low) || !json_is_number(high))
        return format_string("%.3f", json_number_value(value));
    return format_string("%.3f (%.3f to %.3f)", json_number_value(value), json_number_value(low),
                         json_number_value(high));
}

/// Names of the figures that any evaluation of the task has, in their order, as an object's keys.
static json_t *figures_of_task(const ReportRun *run, const char *task) {
    json_t *names = json_object();
    for (int i = 0; i < run->num_evaluations; i++) {
        const json_t *results = run->evaluations[i].results;
        const char *name;
        json_t *interval;
        if (!report_is_of_task(results, task)) continue;
        json_object_foreach(json_object_get(results, "intervals"), name, interval)
            json_object_set_new(names, name, json_true());
    }
    return names;
}

static void add_task(HtmlReport *page, const ReportRun *run, int task) {
    json_t *names = figures_of_task(run, TASKS_ON_PAGE[task].name);
    int columns = 1 + (int)json_object_size(names), rows = 0, column = 1;
    const char **headers = checked_calloc((size_t)columns, sizeof *headers),
               **cells = checked_calloc((size_t)columns * (size_t)(run->num_evaluations + 1),
                                        sizeof *cells);
    const char *name;
    json_t *value;
    headers[0] = "evaluation";
    json_object_foreach(names, name, value) headers[column++] = name;
    for (int i = 0; i < run->num_evaluations; i++) {
        const ReportEvaluation *evaluation = &run->evaluations[i];
        if (!report_is_of_task(evaluation->results, TASKS_ON_PAGE[task].name)) continue;
        cells[rows * columns] = format_string("%s", evaluation->name);
        for (int c = 1; c < columns; c++)
            cells[rows * columns + c] = cell_text(evaluation->results, headers[c]);
        rows++;
    }
    if (rows && columns > 1) {
        bool *none = checked_calloc((size_t)(rows * columns), sizeof *none);
        html_report_heading(page, TASKS_ON_PAGE[task].heading);
        html_report_paragraph(page, TASKS_ON_PAGE[task].text);
        html_report_ranked_table(page, headers, cells, rows, columns, none);
        free(none);
    }
    for (int i = 0; i < rows * columns; i++) free((char *)cells[i]);
    free(headers);
    free(cells);
    json_decref(names);
}

void report_add_tasks(HtmlReport *page, const ReportRun *run) {
    for (int t = 0; t < NUM_TASKS_ON_PAGE; t++)
        if (strcmp(TASKS_ON_PAGE[t].name, "points") != 0) add_task(page, run, t);
}

json_t *report_task_summary(const ReportRun *run) {
    json_t *summary = json_object();
    for (int i = 0; i < run->num_evaluations; i++) {
        const ReportEvaluation *evaluation = &run->evaluations[i];
        const char *name;
        json_t *interval;
        if (report_is_of_task(evaluation->results, "points")) continue;
        json_t *figures = json_object();
        json_object_set(figures, "task", json_object_get(evaluation->results, "task"));
        json_object_foreach(json_object_get(evaluation->results, "intervals"), name, interval)
            json_object_set(figures, name, json_object_get(evaluation->results, name));
        json_set_outside(summary, evaluation->name, figures);
    }
    return summary;
}
