#include "train/evaluation/evaluated_figures.h"

#include "autograd/json_file.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

// ---- results

const char *results_task(const json_t *results) {
    const char *name = json_string_value(json_object_get(results, "task"));
    // as point accuracy was called once
    return !name || !strcmp(name, "point_accuracy") ? "points" : name;
}

static double number_or_nan(const json_t *value) {
    return json_is_number(value) ? json_number_value(value) : NAN;
}

Interval results_figure(const json_t *results, const char *figure) {
    const json_t *ends = json_object_get(json_object_get(results, "intervals"), figure);
    return (Interval){.estimate = number_or_nan(json_object_get(results, figure)),
                      .low = number_or_nan(json_array_get(ends, 0)),
                      .high = number_or_nan(json_array_get(ends, 1))};
}

void results_add_figures(const json_t *results, json_t *names) {
    const char *name;
    json_t *interval;
    json_object_foreach(json_object_get(results, "intervals"), name, interval)
        json_object_set_new(names, name, json_true());
}

char **results_figure_names(json_t *names, int *count) {
    char **figures = checked_calloc(json_object_size(names) + 1, sizeof *figures);
    const char *name;
    json_t *value;
    *count = 0;
    json_object_foreach(names, name, value) figures[(*count)++] = checked_strdup(name);
    json_decref(names);
    return figures;
}

bool evaluated_read(Evaluated *evaluated, const char *folder, Error *error) {
    *evaluated = (Evaluated){.folder = checked_strdup(folder)};
    char *path = format_string("%s/results.json", folder);
    evaluated->results = json_file_read_object(path, 0, error);
    bool ok = evaluated->results != NULL;
    if (ok && !json_is_object(json_object_get(evaluated->results, "intervals")))
        ok = error_set(error, "%s: has no figures: expected what 'difflmm eval' writes", path);
    free(path);
    return ok;
}

void evaluated_forget(Evaluated *evaluated) {
    measured_evaluation_close(&evaluated->measured);
    evaluated->unmeasurable.message[0] = 0;
}

void evaluated_free(Evaluated *evaluated) {
    measured_evaluation_close(&evaluated->measured);
    json_decref(evaluated->results);
    free(evaluated->folder);
    *evaluated = (Evaluated){0};
}

/// What cannot be measured is tried once.
static bool measure(Evaluated *evaluated, Error *error) {
    Error *reason = &evaluated->unmeasurable;
    if (evaluated->measured.has_figures) return true;
    if (!*reason->message && measured_evaluation_open(&evaluated->measured, evaluated->folder,
                                                      evaluated->shared, reason))
        return true;
    measured_evaluation_close(&evaluated->measured);
    return error_set(error, "%s", reason->message);
}

/// The figures of all of them, to be freed, or NULL.
static const Figures **measure_all(Evaluated *const *of, int count, Error *error) {
    const Figures **figures = checked_calloc((size_t)count, sizeof *figures);
    for (int i = 0; i < count; i++) {
        figures[i] = &of[i]->measured.figures;
        if (measure(of[i], error)) continue;
        free(figures);
        return NULL;
    }
    return figures;
}

/// So that figures that depend on a key are not asked of those that have none.
static bool all_have(Evaluated *const *of, int count, const char *figure) {
    for (int i = 0; i < count; i++)
        if (!json_object_get(json_object_get(of[i]->results, "intervals"), figure)) return false;
    return true;
}

static uint64_t seed_of(const Evaluated *evaluated) {
    return (uint64_t)evaluated->measured.config->eval.seed;
}

// ---- estimates

bool figure_estimate_differs(const FigureEstimate *estimate) {
    return estimate->difference_low > 0 || estimate->difference_high < 0;
}

static FigureEstimate estimate_values(Evaluated *const *of, int count, const char *name) {
    FigureEstimate estimate = {NAN, NAN, NAN, INFINITY, -INFINITY, NAN, NAN, NAN};
    double sum = 0;
    for (int i = 0; i < count; i++) {
        Interval figure = results_figure(of[i]->results, name);
        sum += figure.estimate;
        estimate.least = fmin(estimate.least, figure.estimate);
        estimate.greatest = fmax(estimate.greatest, figure.estimate);
        if (count > 1) continue;
        estimate.low = figure.low;
        estimate.high = figure.high;
    }
    estimate.value = sum / count;
    if (count == 1 || !isfinite(estimate.value)) estimate.least = estimate.greatest = NAN;
    return estimate;
}

bool figure_estimates(Evaluated *const *of, int count, const char *const *names, int num_figures,
                      FigureEstimate *estimates, Error *error) {
    for (int f = 0; f < num_figures; f++) estimates[f] = estimate_values(of, count, names[f]);
    if (count == 1) return true;
    const Figures **figures = measure_all(of, count, error);
    bool ok = figures != NULL;
    for (int f = 0; ok && f < num_figures; f++) {
        Interval mean;
        if (!all_have(of, count, names[f])) continue;
        ok = figures_mean(figures, count, names[f], seed_of(of[0]), &mean, error);
        if (!ok) break;
        estimates[f].low = mean.low;
        estimates[f].high = mean.high;
    }
    free(figures);
    return ok;
}

bool figure_estimates_compare(Evaluated *const *base, Evaluated *const *of, int pairs,
                              const char *const *names, int num_figures, FigureEstimate *estimates,
                              Error *error) {
    const Figures **a = measure_all(base, pairs, error),
                  **b = a ? measure_all(of, pairs, error) : NULL;
    bool ok = b != NULL;
    for (int f = 0; ok && f < num_figures; f++) {
        Interval difference;
        if (!all_have(base, pairs, names[f]) || !all_have(of, pairs, names[f])) continue;
        ok = figures_mean_difference(a, b, pairs, names[f], seed_of(base[0]), &difference, error);
        if (!ok) break;
        estimates[f].difference = difference.estimate;
        estimates[f].difference_low = difference.low;
        estimates[f].difference_high = difference.high;
    }
    free(a);
    free(b);
    return ok;
}
