// What trainings of one name came to, a row each.
#include "train/log/progress.h"
#include "train/report/report_compare_parts.h"
#include "train/report/report_parts.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

// ---- tables

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
        if (is_in[i]) table.cells[capacity * table.rows++] = report_numbered(i, names[i]);
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
    if (!isfinite(value)) return checked_strdup(REPORT_MISSING);
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

void report_compare_figures(HtmlReport *page, const ComparedStage *stage) {
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
