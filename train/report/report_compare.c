// One training of each run is compared with those of the same name: stage1 with stage1. A run that
// has none of that name is left out there, so runs of other stages may be compared in part.
#include "train/report/report_compare.h"

#include "eval/pages/plot.h"
#include "train/log/progress.h"
#include "train/report/report_parts.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

// ---- tables

/// As the legend has it; the caller frees it.
static char *numbered(int i, const char *name) { return format_string("%d  %s", i + 1, name); }

static const char *const MISSING = "\u2013";

/// Cells of a table, one row per run; the texts are the table's.
typedef struct Table {
    const char **headers;
    char **cells;
    bool *is_best;
    int rows, columns;
} Table;

typedef enum Preference { PREFER_NONE, PREFER_LOW, PREFER_HIGH } Preference;

static Table table_of(const char *const *names, const bool *is_in, int count, int capacity) {
    Table table = {.headers = checked_calloc((unsigned long)capacity, sizeof *table.headers),
                   .cells = checked_calloc((unsigned long)(count * capacity), sizeof *table.cells),
                   .is_best = checked_calloc((unsigned long)(count * capacity), 1),
                   .columns = capacity};
    table.headers[0] = "run";
    for (int i = 0; i < count; i++)
        if (is_in[i]) table.cells[capacity * table.rows++] = numbered(i, names[i]);
    return table;
}

/// Marks what the reader sees as the best, unless all are the same.
static void mark_best(Table *table, int column, const double *values, Preference preference) {
    int best = -1;
    for (int r = 0; r < table->rows; r++) {
        if (!isfinite(values[r])) continue;
        bool is_better = best < 0 || (preference == PREFER_LOW ? values[r] < values[best]
                                                               : values[r] > values[best]);
        if (is_better) best = r;
    }
    if (best < 0) return;
    const char *text = table->cells[table->columns * best + column];
    int equal = 0, finite = 0;
    for (int r = 0; r < table->rows; r++) {
        finite += isfinite(values[r]) != 0;
        equal += !strcmp(table->cells[table->columns * r + column], text);
    }
    if (equal == finite) return;
    for (int r = 0; r < table->rows; r++)
        table->is_best[table->columns * r + column] =
            !strcmp(table->cells[table->columns * r + column], text);
}

static void show_table(HtmlReport *page, Table *table) {
    html_report_ranked_table(page, table->headers, (const char *const *)table->cells, table->rows,
                             table->columns, table->is_best);
    for (int i = 0; i < table->rows * table->columns; i++) free(table->cells[i]);
    free(table->headers);
    free(table->cells);
    free(table->is_best);
}

// ---- figures of trainings

typedef enum FigureFormat {
    FORMAT_COUNT,
    FORMAT_LOSS,
    FORMAT_DURATION,
    FORMAT_RATE,
    FORMAT_PERCENT,
    FORMAT_BYTES
} FigureFormat;

static char *format_figure(double value, FigureFormat format) {
    if (!isfinite(value)) return checked_strdup(MISSING);
    switch (format) {
    case FORMAT_COUNT:
        return format_string("%.0f", value);
    case FORMAT_LOSS:
        return format_string("%.4f", value);
    case FORMAT_DURATION:
        return format_duration(value);
    case FORMAT_RATE:
        return format_string(value < 100 ? "%.1f" : "%.0f", value);
    case FORMAT_PERCENT:
        return format_string("%.1f%%", 100 * value);
    case FORMAT_BYTES:
        return format_bytes((int64_t)value);
    }
    return NULL;
}

typedef struct FigureColumn {
    const char *header;
    double (*value)(const ReportTraining *training);
    FigureFormat format;
    Preference preference;
    /// left out if no run has it, or all have zero
    bool is_optional;
} FigureColumn;

static double nonzero(double value) { return value > 0 ? value : NAN; }
static double steps(const ReportTraining *training) { return training->steps; }
static double last_loss(const ReportTraining *training) {
    return report_mean_of_end(&training->series[QUANTITY_LOSS], false);
}
static double best_loss(const ReportTraining *training) {
    return report_lowest(&training->series[QUANTITY_LOSS], NULL);
}
static double last_held_out(const ReportTraining *training) {
    return report_last(&training->series[QUANTITY_HELD_OUT_LOSS]);
}
static double best_held_out(const ReportTraining *training) {
    return report_lowest(&training->series[QUANTITY_HELD_OUT_LOSS], NULL);
}
static double seconds(const ReportTraining *training) { return nonzero(training->seconds); }
static double tokens_per_second(const ReportTraining *training) {
    return training->tokens_per_second;
}
static double mean_share_of_peak(const ReportTraining *training) {
    const MetricSeries *series = &training->series[QUANTITY_SHARE_OF_PEAK];
    double sum = 0;
    for (int i = 0; i < series->count; i++) sum += series->values[i];
    return series->count ? sum / series->count : NAN;
}
static double device_memory(const ReportTraining *training) {
    return nonzero(training->device_peak_memory);
}
static double process_memory(const ReportTraining *training) {
    return nonzero(training->peak_memory);
}
static double outliers(const ReportTraining *training) {
    return report_count_events(training).outliers;
}
static double left_out(const ReportTraining *training) {
    return report_count_events(training).left_out;
}

static const FigureColumn FIGURES[] = {
    {"steps", steps, FORMAT_COUNT, PREFER_NONE, false},
    {"last loss", last_loss, FORMAT_LOSS, PREFER_LOW, false},
    {"best loss", best_loss, FORMAT_LOSS, PREFER_LOW, false},
    {"held-out, last", last_held_out, FORMAT_LOSS, PREFER_LOW, true},
    {"held-out, best", best_held_out, FORMAT_LOSS, PREFER_LOW, true},
    {"time", seconds, FORMAT_DURATION, PREFER_LOW, false},
    {"tokens/s", tokens_per_second, FORMAT_RATE, PREFER_HIGH, false},
    {"of peak", mean_share_of_peak, FORMAT_PERCENT, PREFER_HIGH, true},
    {"tensors", device_memory, FORMAT_BYTES, PREFER_LOW, true},
    {"process", process_memory, FORMAT_BYTES, PREFER_LOW, true},
    {"out of line", outliers, FORMAT_COUNT, PREFER_NONE, true},
    {"not applied", left_out, FORMAT_COUNT, PREFER_NONE, true},
};
enum { NUM_FIGURES = sizeof FIGURES / sizeof *FIGURES };

/// Trainings of one name, NULL where a run has none.
typedef struct Stage {
    const char *name;
    /// [count]
    const ReportTraining **trainings;
    /// of the runs
    const char *const *names;
    int count;
} Stage;

static bool is_wanted(const FigureColumn *figure, const double *values, int rows) {
    bool is_something = false;
    for (int r = 0; r < rows; r++) is_something |= isfinite(values[r]) && values[r] != 0;
    return is_something || !figure->is_optional;
}

/// A shorter time is no merit where fewer steps were done.
static Preference preference_of(const FigureColumn *figure, const double *num_steps, int rows) {
    if (figure->format != FORMAT_DURATION) return figure->preference;
    for (int r = 1; r < rows; r++)
        if (num_steps[r] != num_steps[0]) return PREFER_NONE;
    return figure->preference;
}

static void add_figures(HtmlReport *page, const Stage *stage) {
    double *values = checked_calloc((unsigned long)(NUM_FIGURES * stage->count), sizeof *values);
    bool *is_in = checked_calloc((unsigned long)stage->count, 1);
    int rows = 0, wanted[NUM_FIGURES], columns = 0;
    for (int i = 0; i < stage->count; i++) {
        is_in[i] = stage->trainings[i] != NULL;
        if (!is_in[i]) continue;
        for (int f = 0; f < NUM_FIGURES; f++)
            values[f * stage->count + rows] = FIGURES[f].value(stage->trainings[i]);
        rows++;
    }
    for (int f = 0; f < NUM_FIGURES; f++)
        if (is_wanted(&FIGURES[f], values + f * stage->count, rows)) wanted[columns++] = f;
    Table table = table_of(stage->names, is_in, stage->count, 1 + columns);
    for (int c = 0; c < columns; c++) {
        const FigureColumn *figure = &FIGURES[wanted[c]];
        const double *column = values + wanted[c] * stage->count;
        table.headers[1 + c] = figure->header;
        for (int r = 0; r < rows; r++)
            table.cells[r * table.columns + 1 + c] = format_figure(column[r], figure->format);
        Preference preference = preference_of(figure, values, rows);
        if (preference != PREFER_NONE) mark_best(&table, 1 + c, column, preference);
    }
    show_table(page, &table);
    free(values);
    free(is_in);
}

// ---- settings

/// Where a run was put says nothing about it that its name does not.
static bool is_place(const char *key) {
    return !strcmp(key, "training.output_dir") || !strcmp(key, "eval.output_dir");
}

/// The keys of all configurations, in their order, each once. The caller frees both.
static char **keys_of(const Stage *stage, int *count) {
    char **keys = NULL;
    *count = 0;
    for (int i = 0; i < stage->count; i++) {
        char *text = checked_strdup(stage->trainings[i] ? stage->trainings[i]->configuration : "");
        const char *section = "";
        for (char *rest = text, *line; (line = strsep(&rest, "\n"));) {
            char *colon = strchr(line, ':');
            if (!colon) continue;
            *colon = 0;
            if (*line != ' ') section = line;
            if (strncmp(line, "  ", 2) != 0) continue;
            char *key = format_string("%s.%s", section, line + 2);
            bool is_known = false;
            for (int k = 0; k < *count && !is_known; k++) is_known = !strcmp(keys[k], key);
            if (is_known) {
                free(key);
                continue;
            }
            keys = checked_realloc(keys, (unsigned long)(*count + 1) * sizeof *keys);
            keys[(*count)++] = key;
        }
        free(text);
    }
    return keys;
}

/// The values of a key in the configurations that are there. True if they differ; then `cells` has
/// them, else it is as before.
static bool differing_values(const Stage *stage, const char *key, char **cells) {
    int columns = 0;
    bool differ = false;
    for (int i = 0; i < stage->count; i++) {
        const ReportTraining *training = stage->trainings[i];
        if (!training || !*training->configuration) continue;
        char *value = report_setting(training->configuration, key);
        cells[columns++] = value ? value : checked_strdup(MISSING);
        differ = differ || strcmp(cells[columns - 1], cells[0]) != 0;
    }
    for (int c = 0; !differ && c < columns; c++) free(cells[c]);
    return differ;
}

static void add_settings(HtmlReport *page, const Stage *stage) {
    int num_keys, columns = 1, rows = 0;
    char **keys = keys_of(stage, &num_keys);
    char **headers = checked_calloc((unsigned long)stage->count + 1, sizeof *headers);
    headers[0] = checked_strdup("setting");
    for (int i = 0; i < stage->count; i++)
        if (stage->trainings[i] && *stage->trainings[i]->configuration)
            headers[columns++] = numbered(i, stage->names[i]);
    char **cells = checked_calloc((unsigned long)((num_keys + 1) * columns), sizeof *cells);
    bool *is_best = checked_calloc((unsigned long)((num_keys + 1) * columns), 1);
    for (int k = 0; k < num_keys; k++) {
        if (is_place(keys[k]) || !differing_values(stage, keys[k], cells + rows * columns + 1))
            continue;
        cells[rows++ * columns] = checked_strdup(keys[k]);
    }
    html_report_subheading(page, "Settings that differ");
    if (rows)
        html_report_ranked_table(page, (const char *const *)headers, (const char *const *)cells,
                                 rows, columns, is_best);
    else
        html_report_paragraph(page, columns > 2 ? "None: the configurations are the same."
                                    : columns > 1
                                        ? "Only one of the runs has kept its configuration."
                                        : "The runs have kept no configuration.");
    for (int i = 0; i < rows * columns; i++) free(cells[i]);
    report_names_free(headers, columns);
    report_names_free(keys, num_keys);
    free(cells);
    free(is_best);
}

// ---- who ran it, where

static char *text_of(const json_t *start, const char *key) {
    const json_t *value = json_object_get(start, key);
    if (json_is_integer(value)) return format_string("%lld", (long long)json_integer_value(value));
    return checked_strdup(json_is_string(value) ? json_string_value(value) : MISSING);
}

static char *device_of(const json_t *start) {
    char *device = text_of(start, "device");
    if (strcmp(device, "cpu") != 0) return device;
    char *processor = text_of(start, "processor"), *both = format_string("cpu (%s)", processor);
    free(processor);
    free(device);
    return both;
}

static void add_starts(HtmlReport *page, const Stage *stage) {
    static const char *const HEADERS[] = {"run",     "begun",  "starts",    "version",
                                          "machine", "device", "processes", "cores"};
    static const char *const KEYS[] = {"started", NULL,        "version", "host",
                                       NULL,      "processes", "cores"};
    enum { COLUMNS = sizeof HEADERS / sizeof *HEADERS };
    char **cells = checked_calloc((unsigned long)(stage->count * COLUMNS), sizeof *cells);
    bool *is_best = checked_calloc((unsigned long)(stage->count * COLUMNS), 1);
    int rows = 0;
    for (int i = 0; i < stage->count; i++) {
        const ReportTraining *training = stage->trainings[i];
        unsigned long starts = training ? json_array_size(training->starts) : 0;
        if (!starts) continue;
        const json_t *last = json_array_get(training->starts, starts - 1);
        char **row = cells + COLUMNS * rows++;
        row[0] = numbered(i, stage->names[i]);
        for (int c = 1; c < COLUMNS; c++) {
            const char *key = KEYS[c - 1];
            row[c] = key      ? text_of(c == 1 ? json_array_get(training->starts, 0) : last, key)
                     : c == 2 ? format_string("%lu", starts)
                              : device_of(last);
        }
    }
    html_report_subheading(page, "Who ran it, where");
    if (rows)
        html_report_ranked_table(page, HEADERS, (const char *const *)cells, rows, COLUMNS, is_best);
    else
        html_report_paragraph(page, "No run has kept a record of its starts (runs.jsonl).");
    for (int i = 0; i < rows * COLUMNS; i++) free(cells[i]);
    free(cells);
    free(is_best);
    for (int i = 0; i < stage->count; i++) {
        if (!stage->trainings[i]) continue;
        char *summary =
            format_string("Command and configuration of %d  %s", i + 1, stage->names[i]);
        report_add_origin(page, stage->trainings[i], summary);
        free(summary);
    }
}

// ---- evaluations

static const struct {
    const char *header, *key;
    FigureFormat format;
    Preference preference;
} RESULTS[] = {{"point accuracy", "point_accuracy", FORMAT_PERCENT, PREFER_HIGH},
               {"of all nouns said", "point_accuracy_of_all_nouns", FORMAT_PERCENT, PREFER_HIGH},
               {"noun precision", "noun_precision", FORMAT_PERCENT, PREFER_HIGH},
               {"mask IoU", "mean_iou", FORMAT_PERCENT, PREFER_HIGH},
               {"a random point", "random_point", FORMAT_PERCENT, PREFER_NONE},
               {"the centre", "centre", FORMAT_PERCENT, PREFER_NONE},
               {"images", "images", FORMAT_COUNT, PREFER_NONE},
               {"time", "seconds", FORMAT_DURATION, PREFER_NONE}};
enum { NUM_RESULTS = sizeof RESULTS / sizeof *RESULTS };

static double result_of(const ReportRun *run, const char *evaluation, const char *key) {
    const ReportEvaluation *found = report_run_evaluation(run, evaluation);
    const json_t *value = found ? json_object_get(found->results, key) : NULL;
    return json_is_number(value) ? json_number_value(value) : NAN;
}

static void add_evaluation(HtmlReport *page, const ReportRun *runs, const char *const *names,
                           int count, const char *evaluation) {
    bool *is_in = checked_calloc((unsigned long)count, 1);
    double *values = checked_calloc((unsigned long)count, sizeof *values);
    for (int i = 0; i < count; i++) is_in[i] = report_run_evaluation(&runs[i], evaluation) != NULL;
    Table table = table_of(names, is_in, count, 1 + NUM_RESULTS);
    for (int c = 0; c < NUM_RESULTS; c++) {
        int rows = 0;
        for (int i = 0; i < count; i++)
            if (is_in[i]) values[rows++] = result_of(&runs[i], evaluation, RESULTS[c].key);
        table.headers[1 + c] = RESULTS[c].header;
        for (int r = 0; r < rows; r++)
            table.cells[r * table.columns + 1 + c] = format_figure(values[r], RESULTS[c].format);
        if (RESULTS[c].preference != PREFER_NONE)
            mark_best(&table, 1 + c, values, RESULTS[c].preference);
    }
    html_report_subheading(page, evaluation);
    show_table(page, &table);
    free(is_in);
    free(values);
}

// ---- the page

/// Adds a name unless it is there.
static void add_name(const char **names, int *count, const char *name) {
    for (int i = 0; i < *count; i++)
        if (!strcmp(names[i], name)) return;
    names[(*count)++] = name;
}

/// "trained" first: what a run came to; the others show how it got there.
static void add_evaluations(HtmlReport *page, const ReportRun *runs, const char *const *names,
                            int count) {
    int capacity = 1, found = 0;
    for (int i = 0; i < count; i++) capacity += runs[i].num_evaluations;
    const char **evaluations = checked_calloc((unsigned long)capacity, sizeof *evaluations);
    for (int i = 0; i < count; i++)
        if (report_run_evaluation(&runs[i], "trained")) add_name(evaluations, &found, "trained");
    for (int i = 0; i < count; i++)
        for (int k = 0; k < runs[i].num_evaluations; k++)
            add_name(evaluations, &found, runs[i].evaluations[k].name);
    if (found) {
        html_report_heading(page, "Do they look at what they name?");
        html_report_paragraph(
            page, "For every noun that a model says about a test image, its attention gives one "
                  "point; counted are the points inside a mask of that class, among nouns whose "
                  "class is in the image, or of all nouns said.");
    }
    for (int i = 0; i < found; i++) add_evaluation(page, runs, names, count, evaluations[i]);
    free(evaluations);
}

static void add_stage(HtmlReport *page, const Stage *stage, const char *legend) {
    html_report_heading(page, stage->name);
    html_report_paragraph(page,
                          "Last loss: mean of the last twentieth of the steps; best loss: the "
                          "lowest of a single step; tokens/s: over the whole time, evaluations "
                          "included. A star marks the best value of a column.");
    add_figures(page, stage);
    html_report_legend(page, legend);
    report_compared_charts(page, stage->trainings, stage->names, stage->count);
    add_settings(page, stage);
    add_starts(page, stage);
}

static void add_stages(HtmlReport *page, const ReportRun *runs, const char *const *names,
                       int count) {
    int capacity = 1, found = 0;
    for (int i = 0; i < count; i++) capacity += runs[i].num_trainings;
    const char **stages = checked_calloc((unsigned long)capacity, sizeof *stages);
    const ReportTraining **trainings = checked_calloc((unsigned long)count, sizeof *trainings);
    for (int i = 0; i < count; i++)
        for (int k = 0; k < runs[i].num_trainings; k++)
            add_name(stages, &found, runs[i].trainings[k].name);
    char *legend = plot_legend_html(names, count);
    for (int s = 0; s < found; s++) {
        for (int i = 0; i < count; i++) trainings[i] = report_run_training(&runs[i], stages[s]);
        Stage stage = {stages[s], trainings, names, count};
        add_stage(page, &stage, legend);
    }
    free(legend);
    free(trainings);
    free(stages);
}

HtmlReport *report_compare(const ReportRun *runs, const char *const *names, int count) {
    enum { MOST_IN_SUBTITLE = 6 };
    char *title = format_string("%d runs compared", count), *subtitle = checked_strdup("");
    for (int i = 0; i < count && count <= MOST_IN_SUBTITLE; i++) {
        char *longer = format_string("%s%s%s", subtitle, i ? ", " : "", names[i]);
        free(subtitle);
        subtitle = longer;
    }
    HtmlReport *page = html_report_new(title, *subtitle ? subtitle : NULL);
    add_evaluations(page, runs, names, count);
    add_stages(page, runs, names, count);
    free(title);
    free(subtitle);
    return page;
}
