#include "train/evaluation/measured_evaluation.h"

#include "eval/tasks/judging.h"
#include "eval/tasks/results.h"
#include "train/evaluation/evaluation_setup.h"
#include "train/evaluation/evaluation_similarity.h"

#include <stdlib.h>

static bool measure(MeasuredEvaluation *measured, const char *folder, Error *error) {
    const Config *config = measured->config;
    EvaluationOptions options = evaluation_options(config);
    ModelSetup device = {0};
    BertSimilarity *bert = NULL;
    int64_t count = 0;
    json_t **verdicts = results_read_verdicts(folder, &count, error);
    measured->data = verdicts ? measured->task->open(&options, error) : NULL;
    bool ok =
        measured->data &&
        (evaluation_items(measured->task, measured->data, &options) == count ||
         error_set(error,
                   "%s: has %lld verdicts, but its annotations have %lld items; they "
                   "have changed since",
                   folder, (long long)count,
                   (long long)evaluation_items(measured->task, measured->data, &options))) &&
        (!evaluation_similarity_needs_device(config, measured->task) ||
         model_setup_open_device(config, NULL, &device, error)) &&
        evaluation_similarity_open(config, measured->task, device.device, &options, &bert, error) &&
        measured->task->measure(measured->data, &options, verdicts, count, &measured->figures,
                                error);
    measured->has_figures = ok;
    bert_similarity_close(bert);
    verdicts_free(verdicts, count);
    return ok;
}

bool measured_evaluation_open(MeasuredEvaluation *measured, const char *folder, Error *error) {
    char *path = format_string("%s/config.yaml", folder);
    *measured = (MeasuredEvaluation){.config = config_load(path, NULL, 0, error)};
    free(path);
    if (!measured->config)
        return error_context(error, "'%s' is not the eval.output_dir of an evaluation", folder);
    measured->task = evaluation_task(measured->config);
    return measure(measured, folder, error);
}

void measured_evaluation_close(MeasuredEvaluation *measured) {
    if (measured->has_figures) figures_free(&measured->figures);
    if (measured->data) measured->task->close(measured->data);
    config_free(measured->config);
    *measured = (MeasuredEvaluation){0};
}
