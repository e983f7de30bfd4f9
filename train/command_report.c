// difflmm report: what a run came to, as one HTML page and a few figures for machines; or several
// runs, compared.
#include "autograd/output/output_file.h"
#include "autograd/output/output_folder.h"
#include "autograd/text/utf8.h"
#include "eval/pages/html_report.h"
#include "train/command.h"
#include "train/log/json_text.h"
#include "train/log/progress.h"
#include "train/report/report_compare.h"
#include "train/report/report_evaluations.h"
#include "train/report/report_explorer.h"
#include "train/report/report_parts.h"
#include "train/report/report_run.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct ReportArguments {
    ArgumentList runs;
    /// NULL: the default
    const char *out;
    /// seconds since the epoch; 0: not told
    double started;
    ExplorerChoice explorer;
    /// two evaluations of a single run; NULL: none
    const char *side_by_side[EXPLORER_SIDES];
} ReportArguments;

enum { EXAMPLES = 50, MOST_EXAMPLES = 100000 };

static const Argument ARGUMENTS[] = {
    {"RUN", NULL,
     "the folder of one training, or one that holds NAME/metrics.jsonl of several and "
     "eval/NAME/results.json of evaluations: what 'difflmm train' and 'difflmm eval' leave",
     ARGUMENT_PATH, INTO(ReportArguments, runs), ARGUMENT_REQUIRED | ARGUMENT_REPEATABLE},
    {"--out", "FILE",
     "the page; by default RUN/report/index.html, or comparison.html beside the first of several "
     "runs. With it nothing is written in RUN",
     ARGUMENT_PATH, INTO(ReportArguments, out)},
    {"--started", "SECONDS",
     "when the whole job of a single RUN began (date +%s), for seconds_total; without it "
     "seconds_total is the sum of the parts",
     ARGUMENT_NUMBER, INTO(ReportArguments, started), .minimum = 1, .maximum = INFINITY},
    {"--examples", "N",
     "examples in the explorer of each evaluation, explorer-NAME.html beside the page; 0: no "
     "explorers. By default 50: of a single run the worst answers, of several, side by side, those "
     "whose figures differ most between the first two",
     ARGUMENT_INTEGER, INTO(ReportArguments, explorer.examples), .minimum = 0,
     .maximum = MOST_EXAMPLES},
    {"--first", NULL, "the explorers have the first N examples instead", ARGUMENT_FLAG,
     INTO(ReportArguments, explorer.first)},
    {"--side-by-side", "NAME NAME",
     "an explorer of two evaluations of a single RUN, side by side on the same pictures",
     ARGUMENT_TEXT, INTO(ReportArguments, side_by_side), .value_count = EXPLORER_SIDES},
    {0}};

static const CommandLine LINE = {
    "report",
    "One run: writes RUN/report/index.html (one file: curves, figures, pictures) and "
    "RUN/report/summary.json. Several: writes one page with their evaluations side by side, with "
    "intervals and differences to the first run paired over images, their curves over each other, "
    "the settings that differ, and who ran them where. Figures for machines go to stdout as "
    "well.\n"
    "Beside the page lie explorers of the evaluations: pages on which pointing at a word of an "
    "answer shows where the model looked. They need the evaluations' answers, annotations and "
    "pictures, where these were.\n",
    ARGUMENTS,
    "  difflmm report runs/tiny\n"
    "  difflmm report runs/tiny --side-by-side stage1 trained\n"
    "  difflmm report runs/tiny runs/tiny-llava --out comparison.html\n"};

static double number(const json_t *object, const char *key) {
    return json_number_value(json_object_get(object, key));
}

// ---- the page

/// The texts of loss_figures().
typedef struct LossFigures {
    char last[32], first[64], held_out[32], best[96];
} LossFigures;

/// How far the last training came: one figure, or two with a held-out loss. Returns how many.
static int loss_figures(const ReportRun *run, LossFigures *texts, KeyFigure *figures) {
    const ReportTraining *training =
        run->num_trainings ? &run->trainings[run->num_trainings - 1] : NULL;
    if (!training || !training->series[QUANTITY_LOSS].count) return 0;
    const MetricSeries *loss = &training->series[QUANTITY_LOSS],
                       *held_out = &training->series[QUANTITY_HELD_OUT_LOSS];
    snprintf(texts->last, sizeof texts->last, "%.3f", report_mean_of_end(loss, false));
    snprintf(texts->first, sizeof texts->first, "at its beginning: %.3f",
             report_mean_of_end(loss, true));
    figures[0] = (KeyFigure){texts->last, "loss at the end of training", texts->first};
    if (!held_out->count) return 1;
    double step, best = report_lowest(held_out, &step);
    snprintf(texts->held_out, sizeof texts->held_out, "%.3f", report_last(held_out));
    snprintf(texts->best, sizeof texts->best, "the lowest: %.3f at step %.0f", best, step);
    figures[1] = (KeyFigure){texts->held_out, "loss on held-out data", texts->best};
    return 2;
}

static void add_key_figures(HtmlReport *page, const ReportRun *run, double total) {
    char *memory = format_bytes((int64_t)report_run_peak_memory(run)),
         *duration = format_duration(total);
    KeyFigure figures[5];
    LossFigures loss = {0};
    int count = 0;
    char accuracy[32] = "", random[96] = "";
    for (int i = 0; i < run->num_evaluations; i++) {
        const json_t *results = run->evaluations[i].results;
        if (strcmp(run->evaluations[i].name, "trained") || !report_is_of_task(results, "points"))
            continue;
        snprintf(accuracy, sizeof accuracy, "%.1f%%", 100 * number(results, "point_accuracy"));
        snprintf(random, sizeof random, "a random point: %.1f%%",
                 100 * number(results, "random_point"));
        figures[count++] =
            (KeyFigure){accuracy, "of points lie in the object that is named", random};
    }
    count += loss_figures(run, &loss, figures + count);
    figures[count++] = (KeyFigure){duration, "from start to end", NULL};
    figures[count++] = (KeyFigure){memory, "peak memory", NULL};
    html_report_key_figures(page, figures, count);
    free(memory);
    free(duration);
}

/// A column of the table behind the name and the point accuracy.
typedef struct Column {
    const char *header, *key;
    int decimals;
} Column;

static const Column COLUMNS_OF_RESULTS[] = {{"of all nouns said", "point_accuracy_of_all_nouns", 3},
                                            {"noun precision", "noun_precision", 3},
                                            {"mask IoU", "mean_iou", 3},
                                            {"images", "images", 0},
                                            {"nouns said", "nouns", 0},
                                            {"in the image", "present", 0},
                                            {"seconds", "seconds", 1}};
enum {
    NUM_RESULTS = sizeof COLUMNS_OF_RESULTS / sizeof *COLUMNS_OF_RESULTS,
    COLUMNS = 2 + NUM_RESULTS
};

/// One row of the table; results NULL: points without a model.
static void fill_row(const char **cells, const char *name, double accuracy, const json_t *results) {
    cells[0] = format_string("%s", name);
    cells[1] = format_string("%.3f", accuracy);
    for (int c = 0; c < NUM_RESULTS; c++) {
        char text[32] = "";
        if (results)
            snprintf(text, sizeof text, "%.*f", COLUMNS_OF_RESULTS[c].decimals,
                     number(results, COLUMNS_OF_RESULTS[c].key));
        cells[2 + c] = checked_strdup(text);
    }
}

static void add_table(HtmlReport *page, const ReportRun *run) {
    const char *headers[COLUMNS] = {"points by", "point accuracy"};
    for (int c = 0; c < NUM_RESULTS; c++) headers[2 + c] = COLUMNS_OF_RESULTS[c].header;
    const char **cells =
        checked_calloc((unsigned long)((run->num_evaluations + 2) * COLUMNS), sizeof *cells);
    int rows = 0, emphasised = -1;
    for (int i = 0; i < run->num_evaluations; i++) {
        const json_t *results = run->evaluations[i].results;
        if (strcmp(run->evaluations[i].name, "trained") || !report_is_of_task(results, "points"))
            continue;
        emphasised = rows;
        fill_row(cells + COLUMNS * rows++,
                 json_string_value(json_object_get(results, "architecture")),
                 number(results, "point_accuracy"), results);
        fill_row(cells + COLUMNS * rows++, "a random point", number(results, "random_point"), NULL);
        fill_row(cells + COLUMNS * rows++, "the image's centre", number(results, "centre"), NULL);
    }
    for (int i = 0; i < run->num_evaluations; i++) {
        const ReportEvaluation *part = &run->evaluations[i];
        if (!strcmp(part->name, "trained") || !report_is_of_task(part->results, "points")) continue;
        fill_row(cells + COLUMNS * rows++, part->name, number(part->results, "point_accuracy"),
                 part->results);
    }
    html_report_heading(page, "Does it look at what it names?");
    html_report_paragraph(page,
                          "The model describes test images that it has never seen. For every "
                          "noun it says, its attention to the image, "
                          "at the step that produced the noun, gives one point; counted are "
                          "the points inside a mask of that class, "
                          "among nouns whose class is in the image; 'of all nouns said' counts a "
                          "noun that names nothing in the image as a miss. No mask, box or point "
                          "was ever used in training.");
    html_report_table(page, headers, cells, rows, COLUMNS, emphasised);
    for (int i = 0; i < rows * COLUMNS; i++) free((char *)cells[i]);
    free(cells);
}

static bool add_pictures(HtmlReport *page, const ReportRun *run, const ReportEvaluation *evaluation,
                         Error *error) {
    const json_t *pictures = json_object_get(evaluation->results, "pictures"), *item;
    if (!json_array_size(pictures)) return true;
    html_report_heading(page, "What it says, and where it looks");
    size_t i;
    json_array_foreach((json_t *)pictures, i, item) {
        const char *file = json_string_value(json_object_get(item, "file"));
        if (!file) continue;
        char *path = format_string("%s/eval/%s/%s", run->folder, evaluation->name, file);
        Image image = {0};
        bool ok = image_read(path, &image, error) &&
                  html_report_picture(page, &image,
                                      json_string_value(json_object_get(item, "caption_html")),
                                      NULL, error);
        image_free(&image);
        free(path);
        if (!ok) return false;
    }
    return true;
}

/// Of each training: curves, and behind them what was run.
static void add_trainings(HtmlReport *page, const ReportRun *run) {
    for (int i = 0; i < run->num_trainings; i++) {
        const ReportTraining *training = &run->trainings[i];
        html_report_heading(page, training->name);
        report_training_charts(page, training);
    }
    for (int i = 0; i < run->num_trainings; i++) {
        char *summary = format_string("Command and configuration of %s", run->trainings[i].name);
        report_add_origin(page, &run->trainings[i], summary);
        free(summary);
    }
}

static bool write_page(const ReportRun *run, double total, const ReportArguments *arguments,
                       const char *path, Error *error) {
    HtmlReport *page = html_report_new("DiffLMM", run->folder);
    add_key_figures(page, run, total);
    bool ok = true;
    if (run->num_evaluations) add_table(page, run);
    for (int i = 0; ok && i < run->num_evaluations; i++)
        ok = add_pictures(page, run, &run->evaluations[i], error);
    report_add_tasks(page, run);
    ok = ok && report_add_explorers(page, path, run, NULL, 1,
                                    arguments->side_by_side[0] ? arguments->side_by_side : NULL,
                                    &arguments->explorer, error);
    add_trainings(page, run);
    ok = ok && html_report_save(page, path, error);
    html_report_free(page);
    return ok;
}

// ---- what is written

/// Prints the summary, and writes it to a file unless path is NULL.
static bool write_summary(const json_t *summary, const char *path, Error *error) {
    char *text = json_dumps(summary, JSON_INDENT(2) | JSON_REAL_PRECISION(6));
    bool ok = !path || output_whole_file(path, text, strlen(text), error);
    if (ok) puts(text);
    free(text);
    return ok;
}

static bool report_one(const ReportRun *run, const ReportArguments *arguments, Error *error) {
    double total =
        arguments->started > 0 ? (double)time(NULL) - arguments->started : report_run_seconds(run);
    char *folder = format_string("%s/report", run->folder),
         *page = arguments->out ? checked_strdup(arguments->out)
                                : format_string("%s/index.html", folder),
         *figures = arguments->out ? NULL : format_string("%s/summary.json", folder);
    json_t *summary = report_run_summary(run, total);
    OutputFolder made = {0};
    bool ok = arguments->out || output_folder_make(&made, folder, error);
    ok = ok && write_page(run, total, arguments, page, error) &&
         write_summary(summary, figures, error);
    if (ok) utf8_print(stderr, "%s\n", page);
    output_folder_close(&made, !ok);
    json_decref(summary);
    free(folder);
    free(page);
    free(figures);
    return ok;
}

/// So that runs/* may be given where an earlier comparison and its explorers lie.
static void leave_out_page(ArgumentList *runs, const char *page) {
    int kept = 0;
    for (int i = 0; i < runs->count; i++)
        if (strcmp(runs->values[i], page) != 0 && !report_is_explorer(page, runs->values[i]))
            runs->values[kept++] = runs->values[i];
    runs->count = kept;
}

/// Beside the folder, wherever its path leads ("." as well).
static char *default_comparison(const char *folder) {
    size_t length = strlen(folder);
    while (length > 1 && folder[length - 1] == '/') length--;
    while (length > 0 && folder[length - 1] != '/') length--;
    bool is_dots = !strcmp(folder + length, ".") || !strcmp(folder + length, "..");
    if (is_dots) return format_string("%s/../comparison.html", folder);
    return format_string("%.*scomparison.html", (int)length, folder);
}

static bool report_several(const ReportRun *runs, int count, const ExplorerChoice *explorer,
                           const char *path, Error *error) {
    char **names = report_names(runs, count, error);
    if (!names) return false;
    HtmlReport *page = report_compare(runs, (const char *const *)names, count);
    json_t *summary = json_object();
    for (int i = 0; i < count; i++)
        json_set_outside(summary, names[i],
                         report_run_summary(&runs[i], report_run_seconds(&runs[i])));
    bool ok = report_add_explorers(page, path, runs, (const char *const *)names, count, NULL,
                                   explorer, error) &&
              html_report_save(page, path, error) && write_summary(summary, NULL, error);
    if (ok) utf8_print(stderr, "%s\n", path);
    html_report_free(page);
    json_decref(summary);
    report_names_free(names, count);
    return ok;
}

static bool write_report(ReportArguments *arguments, Error *error) {
    ArgumentList *folders = &arguments->runs;
    char *page =
        arguments->out ? checked_strdup(arguments->out) : default_comparison(folders->values[0]);
    if (folders->count > 1) leave_out_page(folders, page);
    ReportRun *runs = checked_calloc((unsigned long)folders->count + 1, sizeof *runs);
    bool ok = folders->count > 0 || error_set(error, "%s is a page, not a run", page);
    for (int i = 0; ok && i < folders->count; i++)
        ok = report_run_read(&runs[i], folders->values[i], error);
    if (ok && folders->count == 1)
        ok = report_one(runs, arguments, error);
    else if (ok)
        ok = report_several(runs, folders->count, &arguments->explorer, page, error);
    for (int i = 0; i < folders->count; i++) report_run_free(&runs[i]);
    free(runs);
    free(page);
    return ok;
}

static bool check_arguments(const ReportArguments *arguments, Error *error) {
    if (arguments->side_by_side[0] && arguments->runs.count != 1)
        return error_set(error, "--side-by-side is about one run, not %d", arguments->runs.count);
    if (arguments->side_by_side[0] &&
        !strcmp(arguments->side_by_side[0], arguments->side_by_side[1]))
        return error_set(error, "--side-by-side names '%s' twice", arguments->side_by_side[0]);
    if (arguments->side_by_side[0] && !arguments->explorer.examples)
        return error_set(error, "--side-by-side shows nothing with --examples 0");
    return arguments->started <= 0 || arguments->runs.count == 1 ||
           error_set(error, "--started is about one run, not %d", arguments->runs.count);
}

int command_report(int argc, char **argv) {
    ReportArguments arguments = {.explorer = {.examples = EXAMPLES}};
    Error error = {0};
    int exit_code = EXIT_DONE;
    if (!command_begin(&LINE, argc, argv, &arguments, &exit_code)) return exit_code;
    if (!check_arguments(&arguments, &error))
        exit_code = command_refuse("report", &error, EXIT_USAGE);
    else if (!write_report(&arguments, &error))
        exit_code = command_refuse("report", &error, EXIT_FAILED);
    arguments_free(&LINE, &arguments);
    return exit_code;
}
