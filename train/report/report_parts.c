#include "train/report/report_parts.h"

#include "eval/pages/plot.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { FEW_POINTS = 40 }; // an average over that many would hide the beginning

static const double SMOOTHING = 0.95, DEFAULT_THRESHOLD = 6; // training.outlier_zscore's

/// How a quantity is shown.
typedef struct ChartKind {
    ReportQuantity quantity;
    const char *caption, *y_label;
    bool is_smoothed;
    enum { UNIT_AS_IT_IS, UNIT_PERCENT, UNIT_BYTES } unit;
    /// whose outliers are marked, or NUM_QUANTITIES
    ReportQuantity zscore;
} ChartKind;

static const ChartKind KINDS[] = {
    {QUANTITY_LOSS, "Loss per supervised token", "loss", true, UNIT_AS_IT_IS, QUANTITY_LOSS_ZSCORE},
    {QUANTITY_HELD_OUT_LOSS, "Loss on held-out data", "held-out loss", false, UNIT_AS_IT_IS,
     NUM_QUANTITIES},
    {QUANTITY_LEARNING_RATE, "Learning rate of the adapters", "learning rate", false, UNIT_AS_IT_IS,
     NUM_QUANTITIES},
    {QUANTITY_GRAD_NORM, "Gradient norm before clipping", "gradient norm", true, UNIT_AS_IT_IS,
     QUANTITY_GRAD_NORM_ZSCORE},
    {QUANTITY_TOKENS_PER_SECOND, "Tokens per second", "tokens/s", true, UNIT_AS_IT_IS,
     NUM_QUANTITIES},
    {QUANTITY_SHARE_OF_PEAK, "Share of the machine's peak", "% of peak FLOP/s", true, UNIT_PERCENT,
     NUM_QUANTITIES},
    {QUANTITY_DEVICE_PEAK, "Memory in tensors, highest so far", "", false, UNIT_BYTES,
     NUM_QUANTITIES},
    {QUANTITY_PEAK_MEMORY, "Memory of the first process, highest so far", "", false, UNIT_BYTES,
     NUM_QUANTITIES},
};
enum { NUM_KINDS = sizeof KINDS / sizeof *KINDS };

static double threshold_of(const ReportTraining *training) {
    char *text = report_setting(training->configuration, "training.outlier_zscore");
    double threshold = text ? strtod(text, NULL) : DEFAULT_THRESHOLD;
    free(text);
    return threshold > 0 ? threshold : INFINITY;
}

/// The value at a step, NAN if none was logged. Steps ascend.
static double value_at(const MetricSeries *series, double step) {
    int low = 0, high = series->count;
    while (low < high) {
        int middle = (low + high) / 2;
        if (series->steps[middle] < step)
            low = middle + 1;
        else
            high = middle;
    }
    return low < series->count && series->steps[low] == step ? series->values[low] : NAN;
}

ReportEvents report_count_events(const ReportTraining *training) {
    const MetricSeries *loss = &training->series[QUANTITY_LOSS_ZSCORE],
                       *norm = &training->series[QUANTITY_GRAD_NORM_ZSCORE],
                       *updated = &training->series[QUANTITY_UPDATED];
    double threshold = threshold_of(training);
    ReportEvents events = {0};
    for (int i = 0; i < loss->count; i++) events.outliers += loss->values[i] > threshold;
    for (int i = 0; i < norm->count; i++)
        events.outliers +=
            norm->values[i] > threshold && !(value_at(loss, norm->steps[i]) > threshold);
    for (int i = 0; i < updated->count; i++) events.left_out += updated->values[i] == 0;
    return events;
}

/// Rings around the outliers of this quantity, crosses over all steps that were left out. The
/// caller frees the array and the texts.
static PlotMark *marks_of(const ReportTraining *training, const ChartKind *kind, int *count) {
    *count = 0;
    if (kind->zscore == NUM_QUANTITIES) return NULL;
    const MetricSeries *values = &training->series[kind->quantity],
                       *zscore = &training->series[kind->zscore],
                       *updated = &training->series[QUANTITY_UPDATED];
    PlotMark *marks =
        checked_malloc((unsigned long)(zscore->count + updated->count + 1) * sizeof *marks);
    double threshold = threshold_of(training);
    for (int i = 0; i < zscore->count; i++) {
        if (!(zscore->values[i] > threshold)) continue;
        double step = zscore->steps[i], value = value_at(values, step);
        char *text =
            format_string("step %.0f: %s %.4g, %.1f standard deviations above the last ones", step,
                          kind->y_label, value, zscore->values[i]);
        marks[(*count)++] = (PlotMark){step, value, MARK_RING, text};
    }
    for (int i = 0; i < updated->count; i++) {
        if (updated->values[i] != 0) continue;
        double step = updated->steps[i];
        char *text = format_string("step %.0f was not applied", step);
        marks[(*count)++] = (PlotMark){step, value_at(values, step), MARK_CROSS, text};
    }
    return marks;
}

static void free_marks(PlotMark *marks, int count) {
    for (int i = 0; i < count; i++) free((char *)marks[i].text);
    free(marks);
}

/// Values in the unit that the axis shows, with its factor and label.
typedef struct Scale {
    double factor;
    const char *label;
} Scale;

static Scale scale_of(const ChartKind *kind, const PlotSeries *series, int count) {
    if (kind->unit == UNIT_PERCENT) return (Scale){100, kind->y_label};
    if (kind->unit == UNIT_AS_IT_IS) return (Scale){1, kind->y_label};
    double highest = 0;
    for (int s = 0; s < count; s++)
        for (int i = 0; i < series[s].count; i++) highest = fmax(highest, series[s].y[i]);
    return highest >= 0x1p30 ? (Scale){0x1p-30, "GiB"} : (Scale){0x1p-20, "MiB"};
}

static double *scaled(const PlotSeries *series, double factor) {
    double *values = checked_malloc((unsigned long)(series->count + 1) * sizeof *values);
    for (int i = 0; i < series->count; i++) values[i] = factor * series->y[i];
    return values;
}

static PlotSeries line_of(const char *label, const MetricSeries *series, bool is_smoothed) {
    return (PlotSeries){.label = label,
                        .x = series->steps,
                        .y = series->values,
                        .count = series->count,
                        .smoothing = is_smoothed && series->count > FEW_POINTS ? SMOOTHING : 0};
}

/// Adds the chart unless its series hold nothing. The plot's series are scaled in place and freed.
static void add_chart(HtmlReport *page, const ChartKind *kind, Plot plot, PlotSeries *series) {
    int points = 0;
    Scale scale = scale_of(kind, series, plot.num_series);
    for (int s = 0; s < plot.num_series; s++) {
        points += series[s].count;
        series[s].y = scaled(&series[s], scale.factor);
    }
    plot.title = kind->caption;
    plot.x_label = "step";
    plot.y_label = scale.label;
    plot.series = series;
    char *svg = plot_svg(&plot);
    if (points || kind->quantity == QUANTITY_LOSS) html_report_chart(page, svg, kind->caption);
    free(svg);
    for (int s = 0; s < plot.num_series; s++) free((double *)series[s].y);
}

// ---- figures of eval.tasks

/// "points: point_accuracy" of "points.point_accuracy"; the caller frees it.
static char *caption_of(const char *figure) {
    int task = (int)strcspn(figure, ".");
    return format_string("%.*s: %s", task, figure, figure + task + 1);
}

/// One figure, of each of the trainings that has it.
static void add_figure(HtmlReport *page, const char *figure, const ReportTraining *const *trainings,
                       const char *const *names, int count) {
    PlotSeries *series = checked_malloc((unsigned long)count * sizeof *series);
    int *numbers = checked_malloc((unsigned long)count * sizeof *numbers);
    char *caption = caption_of(figure);
    const char *name = strchr(figure, '.') + 1;
    ChartKind kind = {NUM_QUANTITIES, caption, name, false, UNIT_AS_IT_IS, NUM_QUANTITIES};
    Plot plot = {.numbers = names ? numbers : NULL};
    for (int i = 0; i < count; i++) {
        const MetricSeries *of = report_run_figure(trainings[i], figure);
        if (!of) continue;
        numbers[plot.num_series] = i;
        series[plot.num_series++] = line_of(names ? names[i] : name, of, false);
    }
    add_chart(page, &kind, plot, series);
    free(caption);
    free(series);
    free(numbers);
}

/// names NULL: there is one training, alone.
static void add_figures(HtmlReport *page, const ReportTraining *const *trainings,
                        const char *const *names, int count) {
    for (int i = 0; i < count; i++)
        for (int f = 0; trainings[i] && f < trainings[i]->num_figures; f++) {
            const char *figure = trainings[i]->figures[f].name;
            bool is_there = false;
            for (int k = 0; k < i; k++)
                is_there = is_there || report_run_figure(trainings[k], figure);
            if (!is_there) add_figure(page, figure, trainings, names, count);
        }
}

void report_training_charts(HtmlReport *page, const ReportTraining *training) {
    for (int k = 0; k < NUM_KINDS; k++) {
        const ChartKind *kind = &KINDS[k];
        if (kind->quantity == QUANTITY_HELD_OUT_LOSS) continue;
        const MetricSeries *held_out = &training->series[QUANTITY_HELD_OUT_LOSS];
        bool has_both = kind->quantity == QUANTITY_LOSS && held_out->count > 0;
        PlotSeries series[] = {line_of(kind->unit == UNIT_BYTES ? "memory" : kind->y_label,
                                       &training->series[kind->quantity], kind->is_smoothed),
                               line_of("held-out loss", held_out, false)};
        Plot plot = {.num_series = 1 + has_both, .mark_labels = {"out of line", "not applied"}};
        PlotMark *marks = marks_of(training, kind, &plot.num_marks);
        plot.marks = marks;
        add_chart(page, kind, plot, series);
        free_marks(marks, plot.num_marks);
    }
    add_figures(page, &training, NULL, 1);
}

void report_compared_charts(HtmlReport *page, const ReportTraining *const *trainings,
                            const char *const *names, int count) {
    PlotSeries *series = checked_malloc((unsigned long)count * sizeof *series);
    int *numbers = checked_malloc((unsigned long)count * sizeof *numbers);
    for (int k = 0; k < NUM_KINDS; k++) {
        Plot plot = {.numbers = numbers};
        for (int i = 0; i < count; i++) {
            if (!trainings[i]) continue;
            numbers[plot.num_series] = i;
            series[plot.num_series++] =
                line_of(names[i], &trainings[i]->series[KINDS[k].quantity], KINDS[k].is_smoothed);
        }
        add_chart(page, &KINDS[k], plot, series);
    }
    add_figures(page, trainings, names, count);
    free(series);
    free(numbers);
}

void report_add_origin(HtmlReport *page, const ReportTraining *training, const char *summary) {
    char *starts = report_describe_starts(training),
         *text = format_string("%s%s", starts, training->configuration);
    if (*text) html_report_details(page, summary, text);
    free(starts);
    free(text);
}
