// Mean and deviation are summed anew at every value, the oldest first: a hundred additions a step,
// no drift as running sums have, and the same bits after a restart.
#include "train/trainer/outlier_detector.h"

#include <math.h>
#include <string.h>

static const double SMALLEST_RELATIVE_DEVIATION = 1e-3;

OutlierDetector detector_new(int window, double threshold) {
    CHECK(window >= 4 && window <= DETECTOR_WINDOW, "detector_new: window %d", window);
    CHECK(threshold > 0, "detector_new: threshold %g", threshold);
    return (OutlierDetector){.window = window, .threshold = threshold};
}

static double z_score(const DetectorState *state, double value) {
    double n = (double)state->count, mean = 0, squares = 0;
    for (int64_t i = 0; i < state->count; i++) mean += state->values[i] / n;
    for (int64_t i = 0; i < state->count; i++)
        squares += (state->values[i] - mean) * (state->values[i] - mean);
    double deviation = fmax(sqrt(squares / (n - 1)), SMALLEST_RELATIVE_DEVIATION * fabs(mean));
    return value == mean ? 0
                         : (value - mean) / deviation; // values that are all zero do not deviate
}

static void add(OutlierDetector *detector, float value) {
    DetectorState *state = &detector->state;
    if (state->count == detector->window) {
        state->count--;
        memmove(state->values, state->values + 1, (size_t)state->count * sizeof *state->values);
    }
    state->values[state->count++] = value;
}

double detector_update(OutlierDetector *detector, double value) {
    DetectorState *state = &detector->state;
    float kept = (float)value;
    if (!isfinite(kept)) return INFINITY;
    int64_t half = (detector->window + 1) / 2;
    double z = state->count >= half ? z_score(state, kept) : NAN;
    bool is_outlier = z > detector->threshold;
    state->outliers_in_a_row = is_outlier ? state->outliers_in_a_row + 1 : 0;
    if (state->outliers_in_a_row >= half) *state = (DetectorState){0};
    if (!is_outlier || state->count == 0) add(detector, kept);
    return z;
}

DetectorState detector_state(const OutlierDetector *detector) { return detector->state; }

bool detector_restore(OutlierDetector *detector, const DetectorState *state, Error *error) {
    if (state->count < 0 || state->count > DETECTOR_WINDOW || state->outliers_in_a_row < 0)
        return error_set(error, "outlier detector: a state of %lld values, %lld outliers in a row",
                         (long long)state->count, (long long)state->outliers_in_a_row);
    for (int64_t i = 0; i < state->count; i++) {
        if (!isfinite(state->values[i]))
            return error_set(error, "outlier detector: value %lld of the state is not finite",
                             (long long)i);
    }
    int64_t dropped = state->count > detector->window ? state->count - detector->window : 0;
    DetectorState last = {.count = state->count - dropped,
                          .outliers_in_a_row = state->outliers_in_a_row};
    memcpy(last.values, state->values + dropped, (size_t)last.count * sizeof *last.values);
    detector->state = last;
    return true;
}
