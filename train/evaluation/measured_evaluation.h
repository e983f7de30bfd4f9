/// The figures of an evaluation as functions of its images, made again of what it left: for
/// differences that are paired over images.
#pragma once
#include "eval/tasks/evaluation.h"
#include "train/config/config.h"

/// Annotations that several evaluations may be about: each is read once.
typedef struct SharedAnnotations SharedAnnotations;

SharedAnnotations *shared_annotations_new(void);
/// When nothing that is measured with them is left. NULL is allowed.
void shared_annotations_free(SharedAnnotations *shared);

/// Zeros are none.
typedef struct MeasuredEvaluation {
    /// what it was evaluated with
    Config *config;
    const Task *task;
    /// the task's, and whether it is this evaluation's own
    void *data;
    bool owns_data;
    Figures figures;
    bool has_figures;
} MeasuredEvaluation;

/// folder: an eval.output_dir. Reads its configuration, its verdicts and the annotations; needs no
/// model (but BERT, where it was used). shared: where annotations are, or are put; NULL: they are
/// this evaluation's own. To be closed, also on failure.
bool measured_evaluation_open(MeasuredEvaluation *measured, const char *folder,
                              SharedAnnotations *shared, Error *error);
void measured_evaluation_close(MeasuredEvaluation *measured);
