/// metrics.jsonl: what was measured, one JSON object a line, for machines and for the report.
///
///   {"step": 12, "kind": "train", "loss": 2.31, "learning_rate": 0.00093}
///
/// Every line is written at once, so a reader sees whole lines only, but for the last one of a run
/// that was killed.
#pragma once
#include "autograd/error.h"

#include <stdint.h>

typedef struct MetricsWriter MetricsWriter;

typedef struct Metric {
    /// letters, digits, '_', '.', '/'
    const char *name;
    /// written as null if not finite
    double value;
} Metric;

/// Opens the file for appending. Lines there of steps after `resumed_step`, and a last one that is
/// cut off, are dropped: the file is rewritten whole or not at all. A run that starts anew passes
/// -1 and drops all. NULL on failure.
MetricsWriter *metrics_open(const char *path, int64_t resumed_step, Error *error);

/// Appends one line. kind: "train", "eval", ... A line that cannot be written (a full disk) is kept
/// and tried again with the next.
bool metrics_write(MetricsWriter *writer, const char *kind, int64_t step, const Metric *metrics,
                   int count, Error *error);
/// NULL is allowed.
void metrics_close(MetricsWriter *writer);

typedef struct MetricsLog MetricsLog;

/// Reads all lines; a last one that is cut off is left out. NULL on failure: the error names file
/// and line.
MetricsLog *metrics_load(const char *path, Error *error);
void metrics_log_free(MetricsLog *log);

/// The names of what lines of that kind hold, but for step and kind, as they come first; the log's
/// own, in an array that the caller frees.
const char **metrics_names(const MetricsLog *log, const char *kind, int *count);

typedef struct MetricSeries {
    double *steps, *values;
    int count;
} MetricSeries;

/// The finite values of one metric in lines of that kind, in the file's order; the caller frees
/// with metric_series_free().
MetricSeries metrics_series(const MetricsLog *log, const char *kind, const char *name);
void metric_series_free(MetricSeries *series);
