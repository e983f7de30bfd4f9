#include "train/report/report_run.h"

#include "autograd/json_file.h"
#include "autograd/text/utf8.h"

#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const char *const METRIC_NAMES[NUM_QUANTITIES] = {"loss",
                                                         "loss",
                                                         "learning_rate",
                                                         "grad_norm",
                                                         "tokens_per_second",
                                                         "share_of_peak",
                                                         "device_peak_bytes",
                                                         "peak_memory_bytes",
                                                         "loss_zscore",
                                                         "grad_norm_zscore",
                                                         "updated"};

static bool is_file(const char *path) {
    struct stat status;
    return stat(path, &status) == 0 && S_ISREG(status.st_mode);
}

/// The file's text, "" if there is none; the caller frees it.
static char *read_text(const char *folder, const char *file) {
    char *path = format_string("%s/%s", folder, file), *text = NULL, buffer[4096];
    size_t length = 0, got;
    FILE *in = fopen(path, "r"), *out = open_memstream(&text, &length);
    CHECK(out, "open_memstream");
    while (in && (got = fread(buffer, 1, sizeof buffer, in)) > 0) fwrite(buffer, 1, got, out);
    if (in) fclose(in);
    CHECK(!fclose(out), "a text in memory cannot be written");
    free(path);
    return text;
}

static json_t *read_starts(const char *folder) {
    char *text = read_text(folder, "runs.jsonl"), *rest = text, *line;
    json_t *starts = json_array();
    int left_out = 0, first = 0;
    for (int number = 1; (line = strsep(&rest, "\n")); number++) {
        if (!*line) continue;
        json_t *start = json_loads(line, 0, NULL);
        if (json_is_object(start)) {
            json_array_append_new(starts, start);
            continue;
        }
        json_decref(start);
        if (!left_out++) first = number;
    }
    if (left_out)
        utf8_print(
            stderr,
            "warning: %s/runs.jsonl:%d is no JSON object and is left out (of such lines there "
            "are %d)\n",
            folder, first, left_out);
    free(text);
    return starts;
}

static double highest(const MetricSeries *series) {
    double value = 0;
    for (int i = 0; i < series->count; i++) value = fmax(value, series->values[i]);
    return value;
}

/// Turns the logged mean since the start into the rate of each step, and sums up seconds and
/// tokens. The clock begins anew where a run is resumed, so that the seconds step back.
static void read_rates(ReportTraining *training, const MetricsLog *log) {
    MetricSeries seconds = metrics_series(log, "train", "seconds"),
                 *rate = &training->series[QUANTITY_TOKENS_PER_SECOND];
    double time = 0, tokens = 0, all_tokens = 0;
    int kept = 0;
    for (int i = 0, k = 0; i < seconds.count; i++) {
        double now = seconds.values[i];
        if (now < time) time = tokens = 0;
        while (k < rate->count && rate->steps[k] < seconds.steps[i]) k++;
        training->seconds += now - time;
        if (k < rate->count && rate->steps[k] == seconds.steps[i] && now > time) {
            double step_tokens = rate->values[k] * now - tokens;
            all_tokens += step_tokens;
            tokens += step_tokens;
            rate->steps[kept] = rate->steps[k];
            rate->values[kept++] = step_tokens / (now - time);
        }
        time = now;
    }
    rate->count = kept;
    training->tokens_per_second = kept ? all_tokens / training->seconds : NAN;
    metric_series_free(&seconds);
}

/// All of the kind "eval" but the loss.
static void read_figures(ReportTraining *training, const MetricsLog *log) {
    int count;
    const char **names = metrics_names(log, "eval", &count);
    training->figures = checked_calloc((unsigned long)count + 1, sizeof *training->figures);
    for (int i = 0; i < count; i++) {
        if (!strchr(names[i], '.')) continue;
        training->figures[training->num_figures++] =
            (ReportFigure){checked_strdup(names[i]), metrics_series(log, "eval", names[i])};
    }
    free(names);
}

static bool read_training(ReportRun *run, const char *name, const char *folder, const char *path,
                          Error *error) {
    MetricsLog *log = metrics_load(path, error);
    if (!log) return false;
    run->trainings = checked_realloc(run->trainings, (unsigned long)(run->num_trainings + 1) *
                                                         sizeof *run->trainings);
    ReportTraining *training = &run->trainings[run->num_trainings++];
    *training = (ReportTraining){.name = checked_strdup(name), .folder = checked_strdup(folder)};
    for (int q = 0; q < NUM_QUANTITIES; q++) {
        const char *kind = q == QUANTITY_HELD_OUT_LOSS ? "eval" : "train";
        MetricSeries series = training->series[q] = metrics_series(log, kind, METRIC_NAMES[q]);
        if (series.count) training->steps = fmax(training->steps, series.steps[series.count - 1]);
    }
    read_rates(training, log);
    read_figures(training, log);
    training->device_peak_memory = highest(&training->series[QUANTITY_DEVICE_PEAK]);
    training->peak_memory = highest(&training->series[QUANTITY_PEAK_MEMORY]);
    training->configuration = read_text(folder, "config.yaml");
    training->command = read_text(folder, "command.sh");
    training->starts = read_starts(folder);
    metrics_log_free(log);
    return true;
}

static double number(const json_t *object, const char *key) {
    return json_number_value(json_object_get(object, key));
}

static bool read_evaluation(ReportRun *run, const char *name, const char *folder, const char *path,
                            Error *error) {
    json_t *results = json_file_read(path, 0, error);
    if (!results) return false;
    run->evaluations = checked_realloc(run->evaluations, (unsigned long)(run->num_evaluations + 1) *
                                                             sizeof *run->evaluations);
    run->evaluations[run->num_evaluations++] =
        (ReportEvaluation){.name = checked_strdup(name),
                           .folder = checked_strdup(folder),
                           .results = results,
                           .seconds = number(results, "seconds"),
                           .peak_memory = number(results, "peak_memory_bytes")};
    return true;
}

typedef bool PartReader(ReportRun *run, const char *name, const char *folder, const char *path,
                        Error *error);

/// Calls `read` if <folder>/<file> exists.
static bool read_part(ReportRun *run, const char *name, const char *folder, const char *file,
                      PartReader *read, Error *error) {
    char *path = format_string("%s/%s", folder, file);
    bool ok = !is_file(path) || read(run, name, folder, path, error);
    free(path);
    return ok;
}

/// The same for every <folder>/<name>/<file>, in the order of the names.
static bool read_parts(ReportRun *run, const char *folder, const char *file, PartReader *read,
                       Error *error) {
    struct dirent **entries = NULL;
    int found = scandir(folder, &entries, NULL, alphasort);
    bool ok = true;
    for (int i = 0; i < found; i++) {
        char *below = format_string("%s/%s", folder, entries[i]->d_name);
        if (ok && entries[i]->d_name[0] != '.')
            ok = read_part(run, entries[i]->d_name, below, file, read, error);
        free(below);
        free(entries[i]);
    }
    free(entries);
    return ok;
}

/// "tiny" of "runs/tiny/"; of "." and the like what they stand for. The caller frees it.
static char *name_of(const char *folder) {
    char *whole = realpath(folder, NULL);
    const char *path = whole ? whole : folder, *slash = strrchr(path, '/');
    char *name = checked_strdup(slash && slash[1] ? slash + 1 : path);
    free(whole);
    return name;
}

bool report_run_read(ReportRun *run, const char *folder, Error *error) {
    *run = (ReportRun){.folder = checked_strdup(folder), .name = name_of(folder)};
    char *evaluations = format_string("%s/eval", folder);
    struct stat status;
    bool ok = true;
    if (stat(folder, &status))
        ok = error_set(error, "%s: %s", folder, strerror(errno));
    else if (!S_ISDIR(status.st_mode))
        ok = error_set(error, "%s: expected the folder of a run, not a file", folder);
    ok = ok &&
         read_part(run, REPORT_ONLY_TRAINING, folder, "metrics.jsonl", read_training, error) &&
         read_parts(run, folder, "metrics.jsonl", read_training, error) &&
         read_parts(run, evaluations, "results.json", read_evaluation, error);
    free(evaluations);
    if (ok && !run->num_trainings && !run->num_evaluations)
        ok = error_set(error,
                       "%s holds none of metrics.jsonl, NAME/metrics.jsonl and "
                       "eval/NAME/results.json: expected the folder of a run",
                       folder);
    if (!ok) report_run_free(run);
    return ok;
}

void report_run_free(ReportRun *run) {
    for (int i = 0; i < run->num_trainings; i++) {
        ReportTraining *training = &run->trainings[i];
        for (int q = 0; q < NUM_QUANTITIES; q++) metric_series_free(&training->series[q]);
        for (int f = 0; f < training->num_figures; f++) {
            free(training->figures[f].name);
            metric_series_free(&training->figures[f].series);
        }
        free(training->figures);
        free(training->name);
        free(training->folder);
        free(training->configuration);
        free(training->command);
        json_decref(training->starts);
    }
    for (int i = 0; i < run->num_evaluations; i++) {
        free(run->evaluations[i].name);
        free(run->evaluations[i].folder);
        json_decref(run->evaluations[i].results);
    }
    free(run->trainings);
    free(run->evaluations);
    free(run->folder);
    free(run->name);
    *run = (ReportRun){0};
}

const ReportTraining *report_run_training(const ReportRun *run, const char *name) {
    for (int i = 0; i < run->num_trainings; i++)
        if (!strcmp(run->trainings[i].name, name)) return &run->trainings[i];
    return NULL;
}

const ReportEvaluation *report_run_evaluation(const ReportRun *run, const char *name) {
    for (int i = 0; i < run->num_evaluations; i++)
        if (!strcmp(run->evaluations[i].name, name)) return &run->evaluations[i];
    return NULL;
}

const MetricSeries *report_run_figure(const ReportTraining *training, const char *name) {
    for (int f = 0; training && f < training->num_figures; f++)
        if (!strcmp(training->figures[f].name, name)) return &training->figures[f].series;
    return NULL;
}

// ---- settings and starts

char *report_setting(const char *configuration, const char *key) {
    size_t section = strcspn(key, ".");
    bool is_in_section = false;
    const char *name = key + section + (key[section] == '.');
    size_t length = strlen(name);
    for (const char *line = configuration; *line;) {
        size_t size = strcspn(line, "\n");
        if (*line != ' ')
            is_in_section = !strncmp(line, key, section) && line[section] == ':';
        else if (is_in_section && size > length + 2 && !strncmp(line + 2, name, length) &&
                 line[2 + length] == ':') {
            const char *value = line + 3 + length;
            size_t blanks = strspn(value, " ");
            return format_string("%.*s", (int)(line + size - value - (long)blanks), value + blanks);
        }
        line += size + (line[size] == '\n');
    }
    return NULL;
}

static const char *text_of(const json_t *start, const char *key) {
    const char *text = json_string_value(json_object_get(start, key));
    return text ? text : "?";
}

static void describe_start(FILE *out, const json_t *start) {
    json_int_t processes = json_integer_value(json_object_get(start, "processes"));
    const char *device = text_of(start, "device");
    fprintf(out, "%s  difflmm %s, from step %lld\n%s: %lld %s on %s", text_of(start, "started"),
            text_of(start, "version"),
            (long long)json_integer_value(json_object_get(start, "first_step")),
            text_of(start, "host"), (long long)processes, processes == 1 ? "process" : "processes",
            device);
    if (!strcmp(device, "cpu")) fprintf(out, " (%s)", text_of(start, "processor"));
    fprintf(out, "\ncd %s\n%s\n\n", text_of(start, "folder"), text_of(start, "command"));
}

char *report_describe_starts(const ReportTraining *training) {
    if (!json_array_size(training->starts)) return checked_strdup(training->command);
    char *text = NULL;
    size_t length = 0, i;
    json_t *start;
    FILE *out = open_memstream(&text, &length);
    CHECK(out, "open_memstream");
    json_array_foreach(training->starts, i, start) describe_start(out, start);
    CHECK(!fclose(out), "a text in memory cannot be written");
    return text;
}
