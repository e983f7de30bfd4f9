/// What evaluations came to, figure by figure, beside each other: of one evaluation or as the mean
/// over those of several seeds, and as the difference to others of the same images.
#pragma once
#include "train/evaluation/measured_evaluation.h"

#include <jansson.h>

/// An evaluation that has ended. Zeros are none.
typedef struct Evaluated {
    /// eval.output_dir; owned
    char *folder;
    /// results.json; owned
    json_t *results;
    /// where its annotations are shared with others, or NULL; not owned
    SharedAnnotations *shared;
    /// measured again when that is asked for first
    MeasuredEvaluation measured;
    /// why it cannot be, or empty
    Error unmeasurable;
} Evaluated;

/// Reads results.json. Fails, naming the file, where it is none that an evaluation leaves. To be
/// freed, also on failure.
bool evaluated_read(Evaluated *evaluated, const char *folder, Error *error);
/// Releases what was measured again; the results stay.
void evaluated_forget(Evaluated *evaluated);
void evaluated_free(Evaluated *evaluated);

/// "points" of results of that task.
const char *results_task(const json_t *results);
/// The figure and its 95% interval; NaN where there is none.
Interval results_figure(const json_t *results, const char *figure);
/// Adds the names of the figures with intervals to those of an object, which has them in order.
void results_add_figures(const json_t *results, json_t *names);
/// Those names, [*count], and each the caller's to free. Takes the reference to the object.
char **results_figure_names(json_t *names, int *count);

/// A figure of one evaluation, or of several that differ in their seeds. NaN: there is none.
typedef struct FigureEstimate {
    /// the mean over seeds and its interval, in which the images are resampled alike for all seeds
    double value, low, high;
    /// over the seeds, of several
    double least, greatest;
    /// the mean of the differences to the base, seed by seed and image by image
    double difference, difference_low, difference_high;
} FigureEstimate;

/// Whether the interval of the difference leaves out zero.
bool figure_estimate_differs(const FigureEstimate *estimate);

/// Estimates [num_figures] figures of the evaluations, without a difference. Of several evaluations
/// the intervals need them measured again; where that fails they are NaN, the values stay, and
/// false is returned.
bool figure_estimates(Evaluated *const *of, int count, const char *const *names, int num_figures,
                      FigureEstimate *estimates, Error *error);
/// Adds the differences of[i] - base[i], of `pairs` >= 1 pairs. Figures that one of them lacks get
/// none. Fails where verdicts or annotations cannot be read again and where the images differ.
bool figure_estimates_compare(Evaluated *const *base, Evaluated *const *of, int pairs,
                              const char *const *names, int num_figures, FigureEstimate *estimates,
                              Error *error);
