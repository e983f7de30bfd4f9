/// The figures of an evaluation as functions of its images, made again of what it left: for
/// differences that are paired over images.
#pragma once
#include "eval/tasks/evaluation.h"
#include "train/config/config.h"

/// Zeros are none.
typedef struct MeasuredEvaluation {
    /// what it was evaluated with
    Config *config;
    const Task *task;
    /// the task's
    void *data;
    Figures figures;
    bool has_figures;
} MeasuredEvaluation;

/// folder: an eval.output_dir. Reads its configuration, its verdicts and the annotations; needs no
/// model (but BERT, where it was used). To be closed, also on failure.
bool measured_evaluation_open(MeasuredEvaluation *measured, const char *folder, Error *error);
void measured_evaluation_close(MeasuredEvaluation *measured);
