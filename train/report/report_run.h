/// A finished or unfinished run as a report sees it: what 'difflmm train' and 'difflmm eval' left
/// in a folder.
///
/// The folder is one training (RUN/metrics.jsonl), or holds several stages
/// (RUN/NAME/metrics.jsonl); evaluations are RUN/eval/NAME/results.json. All of it is read; nothing
/// is written.
#pragma once
#include "train/log/metrics.h"

#include <jansson.h>

/// What is measured in every step.
typedef enum ReportQuantity {
    QUANTITY_LOSS,
    /// of the kind "eval"; all others are of the kind "train"
    QUANTITY_HELD_OUT_LOSS,
    QUANTITY_LEARNING_RATE,
    QUANTITY_GRAD_NORM,
    /// of the step, with what was done between it and the one before (the log has the mean since
    /// the start)
    QUANTITY_TOKENS_PER_SECOND,
    QUANTITY_SHARE_OF_PEAK,
    QUANTITY_DEVICE_PEAK,
    QUANTITY_PEAK_MEMORY,
    QUANTITY_LOSS_ZSCORE,
    QUANTITY_GRAD_NORM_ZSCORE,
    /// 1: the step was applied, 0: it was left out
    QUANTITY_UPDATED,
    NUM_QUANTITIES
} ReportQuantity;

/// A figure that was measured while training went on, of the kind "eval".
typedef struct ReportFigure {
    /// "points.point_accuracy"
    char *name;
    MetricSeries series;
} ReportFigure;

typedef struct ReportTraining {
    char *name, *folder;
    MetricSeries series[NUM_QUANTITIES];
    /// of eval.tasks, a task's behind each other
    ReportFigure *figures;
    int num_figures;
    /// the last one logged
    double steps;
    /// of all parts of a run that was resumed
    double seconds;
    /// mean over all of them; NAN: not logged
    double tokens_per_second;
    /// bytes in tensors, 0: not logged
    double device_peak_memory;
    /// bytes of the process, 0: not logged
    double peak_memory;
    /// config.yaml, or ""
    char *configuration;
    /// command.sh, or ""
    char *command;
    /// the entries of runs.jsonl, the oldest first; perhaps none
    json_t *starts;
} ReportTraining;

typedef struct ReportEvaluation {
    char *name, *folder;
    json_t *results;
    double seconds, peak_memory;
} ReportEvaluation;

typedef struct ReportRun {
    /// name: the folder's last part
    char *folder, *name;
    ReportTraining *trainings;
    ReportEvaluation *evaluations;
    int num_trainings, num_evaluations;
} ReportRun;

/// The name of a training that is the run's folder itself.
#define REPORT_ONLY_TRAINING "training"

/// Reads a run. Fails, naming file and line, if the folder is none of a run or a file in it is
/// damaged; a last line that is cut off is left out, and so, with a warning on stderr, is a line of
/// runs.jsonl that is no JSON. The caller frees with report_run_free().
bool report_run_read(ReportRun *run, const char *folder, Error *error);
void report_run_free(ReportRun *run);

/// NULL if the run has none of that name.
const ReportTraining *report_run_training(const ReportRun *run, const char *name);
const ReportEvaluation *report_run_evaluation(const ReportRun *run, const char *name);

/// A figure's series; NULL if it was not measured. `training` may be NULL.
const MetricSeries *report_run_figure(const ReportTraining *training, const char *name);

/// Names that differ, for runs whose folders' last parts may not: as many of the last parts as it
/// takes ("a/tiny", "b/tiny"). Fails if two are the same folder. The caller frees them with
/// report_names_free().
char **report_names(const ReportRun *runs, int count, Error *error);
void report_names_free(char **names, int count);

/// The largest memory of a process in any part, in bytes, and the seconds of all parts together.
double report_run_peak_memory(const ReportRun *run);
double report_run_seconds(const ReportRun *run);

/// The mean over the first or the last twentieth of the values, at least one; NAN without any.
double report_mean_of_end(const MetricSeries *series, bool first);
/// The lowest value; NAN without any. step: where it was first reached, or NULL.
double report_lowest(const MetricSeries *series, double *step);
/// The last value; NAN without any.
double report_last(const MetricSeries *series);

/// Figures, point accuracies and all, for machines; seconds_total >= 0 takes the place of
/// report_run_seconds(). The caller releases it.
json_t *report_run_summary(const ReportRun *run, double seconds_total);

/// The value of "section.key" in a config.yaml as config_to_yaml() writes it; the caller frees it.
/// NULL: it is not there.
char *report_setting(const char *configuration, const char *key);

/// What each start of the training was, for the reader: date, version, machine, devices, processes,
/// and the command. "" if nothing is known; the caller frees it.
char *report_describe_starts(const ReportTraining *training);
