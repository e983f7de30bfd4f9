#include "train/log/json_text.h"
#include "train/report/report_evaluations.h"

#include <math.h>
#include <string.h>

// loss_first and loss_last are means over the first and last twentieth
static const double SHARE_OF_ENDS = 0.05;

double report_run_peak_memory(const ReportRun *run) {
    double peak = 0;
    for (int i = 0; i < run->num_trainings; i++) peak = fmax(peak, run->trainings[i].peak_memory);
    for (int i = 0; i < run->num_evaluations; i++)
        peak = fmax(peak, run->evaluations[i].peak_memory);
    return peak;
}

double report_run_seconds(const ReportRun *run) {
    double sum = 0;
    for (int i = 0; i < run->num_trainings; i++) sum += run->trainings[i].seconds;
    for (int i = 0; i < run->num_evaluations; i++) sum += run->evaluations[i].seconds;
    return sum;
}

double report_mean_of_end(const MetricSeries *series, bool first) {
    int n = (int)(SHARE_OF_ENDS * series->count);
    if (n < 1) n = 1;
    if (!series->count) return NAN;
    double sum = 0;
    for (int i = 0; i < n; i++) sum += series->values[first ? i : series->count - 1 - i];
    return sum / n;
}

double report_lowest(const MetricSeries *series, double *step) {
    int lowest = 0;
    for (int i = 1; i < series->count; i++)
        if (series->values[i] < series->values[lowest]) lowest = i;
    if (!series->count) return NAN;
    if (step) *step = series->steps[lowest];
    return series->values[lowest];
}

double report_last(const MetricSeries *series) {
    return series->count ? series->values[series->count - 1] : NAN;
}

/// One figure per evaluation; the one named "trained" goes by its architecture and brings the
/// baselines that need no model (which have no words of their own, and so only a point accuracy).
static json_t *accuracies(const ReportRun *run, const char *key) {
    json_t *figures = json_object();
    bool is_point_accuracy = !strcmp(key, "point_accuracy");
    for (int i = 0; i < run->num_evaluations; i++) {
        const ReportEvaluation *evaluation = &run->evaluations[i];
        const json_t *results = evaluation->results;
        bool is_trained = !strcmp(evaluation->name, "trained");
        if (!report_is_of_task(results, "points")) continue;
        const char *name = is_trained ? json_string_value(json_object_get(results, "architecture"))
                                      : evaluation->name;
        if (is_trained && is_point_accuracy) {
            json_object_set(figures, "random_point", json_object_get(results, "random_point"));
            json_object_set(figures, "centre", json_object_get(results, "centre"));
        }
        if (name) json_set_outside(figures, name, json_incref(json_object_get(results, key)));
    }
    return figures;
}

static void set_figure(json_t *object, const char *key, double value) {
    json_object_set_new(object, key, isfinite(value) ? json_real(value) : json_null());
}

static json_t *summarise_training(const ReportTraining *training) {
    json_t *summary = json_object();
    const MetricSeries *loss = &training->series[QUANTITY_LOSS],
                       *held_out = &training->series[QUANTITY_HELD_OUT_LOSS];
    set_figure(summary, "loss_first", report_mean_of_end(loss, true));
    set_figure(summary, "loss_last", report_mean_of_end(loss, false));
    if (held_out->count) {
        set_figure(summary, "held_out_loss_last", report_last(held_out));
        set_figure(summary, "held_out_loss_best", report_lowest(held_out, NULL));
    }
    set_figure(summary, "seconds", training->seconds);
    return summary;
}

json_t *report_run_summary(const ReportRun *run, double seconds_total) {
    double seconds = seconds_total >= 0 ? seconds_total : report_run_seconds(run);
    json_t *summary = json_pack("{s:f, s:I}", "seconds_total", seconds, "peak_memory_bytes",
                                (json_int_t)report_run_peak_memory(run));
    for (int i = 0; i < run->num_trainings; i++)
        json_set_outside(summary, run->trainings[i].name, summarise_training(&run->trainings[i]));
    static const char *const KEYS[] = {"point_accuracy", "point_accuracy_of_all_nouns",
                                       "noun_precision"};
    for (int i = 0; i < 3; i++) json_object_set_new(summary, KEYS[i], accuracies(run, KEYS[i]));
    json_object_set_new(summary, "evaluations", report_task_summary(run));
    return summary;
}
