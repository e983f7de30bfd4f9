// difflmm report: what a run came to, as one HTML page and a few figures for machines.
#include "autograd/output_file.h"
#include "eval/html_report.h"
#include "eval/plot.h"
#include "train/command.h"
#include "train/metrics.h"
#include "train/progress.h"

#include <dirent.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

static const char HELP[] = "usage: difflmm report RUN_DIR [--started SECONDS]\n"
                           "\n"
                           "Writes RUN_DIR/report/index.html (one file: curves, figures, pictures) "
                           "and RUN_DIR/report/summary.json\n"
                           "from what 'difflmm train' and 'difflmm eval' left below RUN_DIR: "
                           "NAME/metrics.jsonl of each training\n"
                           "and eval/NAME/results.json of each evaluation.\n"
                           "\n"
                           "  --started SECONDS   when the whole job began (date +%s), for "
                           "seconds_total; without it seconds_total\n"
                           "                      is the sum of the parts\n"
                           "\n"
                           "example:\n"
                           "  difflmm report runs/tiny\n";

enum { MAX_PARTS = 64 };
static const double SHARE_OF_ENDS =
    0.05; // loss_first and loss_last are means over the first and last twentieth

/// A training or an evaluation below the run's folder.
typedef struct Part {
    char *name;
    json_t *results;        ///< of an evaluation
    MetricSeries loss;      ///< of a training
    MetricSeries others[3]; ///< learning_rate, grad_norm, tokens_per_second
    double seconds, peak_memory;
} Part;

typedef struct Run {
    const char *folder;
    Part trainings[MAX_PARTS], evaluations[MAX_PARTS];
    int num_trainings, num_evaluations;
    double started; ///< seconds since the epoch; 0: not told
} Run;

static const char *const OTHERS[] = {"learning_rate", "grad_norm", "tokens_per_second"};

// ---- reading

static bool exists(const char *path) {
    struct stat status;
    return stat(path, &status) == 0;
}

static double last_of(const MetricsLog *log, const char *name) {
    MetricSeries series = metrics_series(log, "train", name);
    double value = series.count ? series.values[series.count - 1] : 0;
    metric_series_free(&series);
    return value;
}

static bool read_training(Run *run, const char *name, const char *path, Error *error) {
    MetricsLog *log = metrics_load(path, error);
    if (!log) return false;
    Part *part = &run->trainings[run->num_trainings++];
    part->name = checked_strdup(name);
    part->loss = metrics_series(log, "train", "loss");
    for (int i = 0; i < 3; i++) part->others[i] = metrics_series(log, "train", OTHERS[i]);
    part->seconds = last_of(log, "seconds");
    part->peak_memory = last_of(log, "peak_memory_bytes");
    metrics_log_free(log);
    return true;
}

static double number(const json_t *object, const char *key) {
    return json_number_value(json_object_get(object, key));
}

static bool read_evaluation(Run *run, const char *name, const char *path, Error *error) {
    json_error_t where;
    json_t *results = json_load_file(path, 0, &where);
    if (!results) return error_set(error, "%s:%d: %s", path, where.line, where.text);
    Part *part = &run->evaluations[run->num_evaluations++];
    part->name = checked_strdup(name);
    part->results = results;
    part->seconds = number(results, "seconds");
    part->peak_memory = number(results, "peak_memory_bytes");
    return true;
}

/// Calls `read` for every <folder>/<name>/<file> that exists, in the order of the names.
static bool read_parts(Run *run, const char *folder, const char *file,
                       bool (*read)(Run *, const char *, const char *, Error *), int *count,
                       Error *error) {
    struct dirent **entries = NULL;
    int found = scandir(folder, &entries, NULL, alphasort);
    bool ok = true;
    for (int i = 0; i < found; i++) {
        char *path = format_string("%s/%s/%s", folder, entries[i]->d_name, file);
        bool wanted = entries[i]->d_name[0] != '.' && exists(path) && *count < MAX_PARTS;
        if (ok && wanted) ok = read(run, entries[i]->d_name, path, error);
        free(path);
        free(entries[i]);
    }
    free(entries);
    return ok;
}

static bool read_run(Run *run, Error *error) {
    char *evaluations = format_string("%s/eval", run->folder);
    bool ok =
        read_parts(run, run->folder, "metrics.jsonl", read_training, &run->num_trainings, error) &&
        read_parts(run, evaluations, "results.json", read_evaluation, &run->num_evaluations, error);
    free(evaluations);
    if (ok && !run->num_trainings && !run->num_evaluations)
        ok = error_set(error,
                       "%s holds neither NAME/metrics.jsonl nor eval/NAME/results.json: expected "
                       "the folder of a run",
                       run->folder);
    return ok;
}

static void free_run(Run *run) {
    for (int i = 0; i < run->num_trainings; i++) {
        free(run->trainings[i].name);
        metric_series_free(&run->trainings[i].loss);
        for (int k = 0; k < 3; k++) metric_series_free(&run->trainings[i].others[k]);
    }
    for (int i = 0; i < run->num_evaluations; i++) {
        free(run->evaluations[i].name);
        json_decref(run->evaluations[i].results);
    }
}

// ---- the summary

static double mean_of_end(const MetricSeries *series, bool first) {
    int n = (int)(SHARE_OF_ENDS * series->count);
    if (n < 1) n = 1;
    if (!series->count) return 0;
    double sum = 0;
    for (int i = 0; i < n; i++) sum += series->values[first ? i : series->count - 1 - i];
    return sum / n;
}

static double seconds_total(const Run *run) {
    if (run->started > 0) return (double)time(NULL) - run->started;
    double sum = 0;
    for (int i = 0; i < run->num_trainings; i++) sum += run->trainings[i].seconds;
    for (int i = 0; i < run->num_evaluations; i++) sum += run->evaluations[i].seconds;
    return sum;
}

static double peak_memory(const Run *run) {
    double peak = 0;
    for (int i = 0; i < run->num_trainings; i++)
        if (run->trainings[i].peak_memory > peak) peak = run->trainings[i].peak_memory;
    for (int i = 0; i < run->num_evaluations; i++)
        if (run->evaluations[i].peak_memory > peak) peak = run->evaluations[i].peak_memory;
    return peak;
}

/// One figure per evaluation; the one named "trained" goes by its architecture and brings the baselines that need no model
/// (which have no words of their own, and so only a point accuracy).
static json_t *accuracies(const Run *run, const char *key) {
    json_t *figures = json_object();
    bool is_point_accuracy = !strcmp(key, "point_accuracy");
    for (int i = 0; i < run->num_evaluations; i++) {
        const Part *part = &run->evaluations[i];
        bool is_trained = !strcmp(part->name, "trained");
        const char *name = is_trained
                               ? json_string_value(json_object_get(part->results, "architecture"))
                               : part->name;
        if (is_trained && is_point_accuracy) {
            json_object_set(figures, "random_point",
                            json_object_get(part->results, "random_point"));
            json_object_set(figures, "centre", json_object_get(part->results, "centre"));
        }
        if (name) json_object_set(figures, name, json_object_get(part->results, key));
    }
    return figures;
}

static json_t *summarise(const Run *run) {
    json_t *summary = json_pack("{s:f, s:I}", "seconds_total", seconds_total(run),
                                "peak_memory_bytes", (json_int_t)peak_memory(run));
    for (int i = 0; i < run->num_trainings; i++) {
        const Part *part = &run->trainings[i];
        json_object_set_new(summary, part->name,
                            json_pack("{s:f, s:f, s:f}", "loss_first",
                                      mean_of_end(&part->loss, true), "loss_last",
                                      mean_of_end(&part->loss, false), "seconds", part->seconds));
    }
    static const char *const KEYS[] = {"point_accuracy", "point_accuracy_of_all_nouns",
                                       "noun_precision"};
    for (int i = 0; i < 3; i++) json_object_set_new(summary, KEYS[i], accuracies(run, KEYS[i]));
    return summary;
}

// ---- the page

static void add_key_figures(HtmlReport *page, const Run *run) {
    char *memory = format_bytes((int64_t)peak_memory(run)),
         *duration = format_duration(seconds_total(run));
    KeyFigure figures[4];
    int count = 0;
    char accuracy[32] = "", random[96] = "";
    for (int i = 0; i < run->num_evaluations; i++) {
        const json_t *results = run->evaluations[i].results;
        if (strcmp(run->evaluations[i].name, "trained")) continue;
        snprintf(accuracy, sizeof accuracy, "%.1f%%", 100 * number(results, "point_accuracy"));
        snprintf(random, sizeof random, "a random point: %.1f%%",
                 100 * number(results, "random_point"));
        figures[count++] =
            (KeyFigure){accuracy, "of points lie in the object that is named", random};
    }
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

static void add_table(HtmlReport *page, const Run *run) {
    const char *headers[COLUMNS] = {"points by", "point accuracy"};
    for (int c = 0; c < NUM_RESULTS; c++) headers[2 + c] = COLUMNS_OF_RESULTS[c].header;
    const char *cells[(MAX_PARTS + 2) * COLUMNS];
    int rows = 0, emphasised = -1;
    for (int i = 0; i < run->num_evaluations; i++) {
        const json_t *results = run->evaluations[i].results;
        if (strcmp(run->evaluations[i].name, "trained")) continue;
        emphasised = rows;
        fill_row(cells + COLUMNS * rows++,
                 json_string_value(json_object_get(results, "architecture")),
                 number(results, "point_accuracy"), results);
        fill_row(cells + COLUMNS * rows++, "a random point", number(results, "random_point"), NULL);
        fill_row(cells + COLUMNS * rows++, "the image's centre", number(results, "centre"), NULL);
    }
    for (int i = 0; i < run->num_evaluations; i++) {
        const Part *part = &run->evaluations[i];
        if (!strcmp(part->name, "trained")) continue;
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
}

static void add_curves(HtmlReport *page, const Part *training) {
    html_report_heading(page, training->name);
    PlotSeries loss = {"loss", training->loss.steps, training->loss.values, training->loss.count,
                       0.95};
    Plot plot = {
        .title = "loss", .x_label = "step", .y_label = "loss", .series = &loss, .num_series = 1};
    char *svg = plot_svg(&plot);
    html_report_chart(page, svg, "Cross-entropy per supervised token");
    free(svg);
    static const char *const CAPTIONS[] = {"Learning rate of the adapters",
                                           "Gradient norm before clipping", "Tokens per second"};
    for (int i = 0; i < 3; i++) {
        const MetricSeries *series = &training->others[i];
        PlotSeries line = {OTHERS[i], series->steps, series->values, series->count, i ? 0.95 : 0};
        plot = (Plot){.title = OTHERS[i],
                      .x_label = "step",
                      .y_label = OTHERS[i],
                      .series = &line,
                      .num_series = 1};
        svg = plot_svg(&plot);
        html_report_chart(page, svg, CAPTIONS[i]);
        free(svg);
    }
}

static bool add_pictures(HtmlReport *page, const Run *run, const Part *evaluation, Error *error) {
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

static void add_configuration(HtmlReport *page, const Run *run, const Part *training) {
    char *path = format_string("%s/%s/config.yaml", run->folder, training->name);
    FILE *file = fopen(path, "r");
    char text[32768];
    size_t length = file ? fread(text, 1, sizeof text - 1, file) : 0;
    text[length] = 0;
    if (file) fclose(file);
    char *summary = format_string("Configuration of %s", training->name);
    if (length) html_report_details(page, summary, text);
    free(summary);
    free(path);
}

static bool write_page(const Run *run, const char *path, Error *error) {
    HtmlReport *page = html_report_new("DiffLMM", run->folder);
    add_key_figures(page, run);
    bool ok = true;
    if (run->num_evaluations) add_table(page, run);
    for (int i = 0; ok && i < run->num_evaluations; i++)
        ok = add_pictures(page, run, &run->evaluations[i], error);
    for (int i = 0; i < run->num_trainings; i++) add_curves(page, &run->trainings[i]);
    for (int i = 0; i < run->num_trainings; i++) add_configuration(page, run, &run->trainings[i]);
    ok = ok && html_report_save(page, path, error);
    html_report_free(page);
    return ok;
}

static bool write_summary(const Run *run, const char *path, Error *error) {
    json_t *summary = summarise(run);
    char *text = json_dumps(summary, JSON_INDENT(2) | JSON_REAL_PRECISION(6));
    bool ok = output_whole_file(path, text, strlen(text), error);
    puts(text);
    free(text);
    json_decref(summary);
    return ok;
}

static bool write_report(Run *run, Error *error) {
    char *folder = format_string("%s/report", run->folder),
         *page = format_string("%s/index.html", folder),
         *summary = format_string("%s/summary.json", folder);
    bool ok = read_run(run, error);
    if (ok && mkdir(folder, 0777) && !exists(folder))
        ok = error_set(error, "cannot create the folder %s: %m", folder);
    ok = ok && write_page(run, page, error) && write_summary(run, summary, error);
    if (ok) fprintf(stderr, "%s\n", page);
    free(folder);
    free(page);
    free(summary);
    return ok;
}

int command_report(int argc, char **argv) {
    if (command_asks_for_help(argc, argv)) {
        fputs(HELP, stdout);
        return EXIT_DONE;
    }
    Run *run = checked_calloc(1, sizeof *run);
    Error error = {0};
    bool usage_ok = argc == 2 || (argc == 4 && !strcmp(argv[2], "--started"));
    if (!usage_ok) {
        free(run);
        error_set(&error, "expected one folder of a run; 'difflmm report --help' explains");
        return command_refuse("report", &error, EXIT_USAGE);
    }
    run->folder = argv[1];
    if (argc == 4) run->started = strtod(argv[3], NULL);
    bool ok = write_report(run, &error);
    free_run(run);
    free(run);
    return ok ? EXIT_DONE : command_refuse("report", &error, EXIT_FAILED);
}
