/// What an evaluation leaves: figures, the verdict about every item, pictures, predictions.
#pragma once
#include "eval/tasks/evaluation.h"

#include <stdio.h>

typedef struct ResultsOptions {
    const Task *task;
    const void *data;
    const EvaluationOptions *evaluation;
    /// exists
    const char *folder;
    /// images of which a picture is drawn, from the first on
    int64_t pictures;
    /// for the record; checkpoint NULL: untrained; of another model's answers their folder
    const char *architecture, *checkpoint;
    const json_t *asked_with, *judged_with;
    double seconds;
} ResultsOptions;

/// Measures and writes results.json, items.jsonl, pictures/ and predictions/ below the folder, and
/// prints the figures. On failure no picture of this call is left behind.
bool results_write(const ResultsOptions *options, json_t *const *verdicts, int64_t count, FILE *out,
                   Error *error);

/// The verdicts that an evaluation left in its folder, in the order of its items; the caller frees
/// them with verdicts_free(). NULL on failure.
json_t **results_read_verdicts(const char *folder, int64_t *count, Error *error);
