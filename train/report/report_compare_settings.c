// In what runs differ, and who ran them where.
#include "train/report/report_compare_parts.h"
#include "train/report/report_parts.h"

#include <stdlib.h>
#include <string.h>

// ---- settings

/// Where a run was put says nothing about it that its name does not.
static bool is_place(const char *key) {
    return !strcmp(key, "training.output_dir") || !strcmp(key, "eval.output_dir");
}

/// The keys of all configurations, in their order, each once. The caller frees both.
static char **keys_of(const ComparedStage *stage, int *count) {
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
static bool differing_values(const ComparedStage *stage, const char *key, char **cells) {
    int columns = 0;
    bool differ = false;
    for (int i = 0; i < stage->count; i++) {
        const ReportTraining *training = stage->trainings[i];
        if (!training || !*training->configuration) continue;
        char *value = report_setting(training->configuration, key);
        cells[columns++] = value ? value : checked_strdup(REPORT_MISSING);
        differ = differ || strcmp(cells[columns - 1], cells[0]) != 0;
    }
    for (int c = 0; !differ && c < columns; c++) free(cells[c]);
    return differ;
}

void report_compare_settings(HtmlReport *page, const ComparedStage *stage) {
    int num_keys, columns = 1, rows = 0;
    char **keys = keys_of(stage, &num_keys);
    char **headers = checked_calloc((unsigned long)stage->count + 1, sizeof *headers);
    headers[0] = checked_strdup("setting");
    for (int i = 0; i < stage->count; i++)
        if (stage->trainings[i] && *stage->trainings[i]->configuration)
            headers[columns++] = report_numbered(i, stage->names[i]);
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
    return checked_strdup(json_is_string(value) ? json_string_value(value) : REPORT_MISSING);
}

static char *device_of(const json_t *start) {
    char *device = text_of(start, "device");
    if (strcmp(device, "cpu") != 0) return device;
    char *processor = text_of(start, "processor"), *both = format_string("cpu (%s)", processor);
    free(processor);
    free(device);
    return both;
}

void report_compare_starts(HtmlReport *page, const ComparedStage *stage) {
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
        row[0] = report_numbered(i, stage->names[i]);
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
