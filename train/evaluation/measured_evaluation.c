#include "train/evaluation/measured_evaluation.h"

#include "eval/tasks/judging.h"
#include "eval/tasks/results.h"
#include "train/evaluation/evaluation_setup.h"
#include "train/evaluation/evaluation_similarity.h"

#include <stdlib.h>
#include <string.h>

// ---- annotations

/// What a task reads from its files, and the configuration that named them, to which it may refer.
typedef struct Annotations {
    Config *config;
    const Task *task;
    void *data;
} Annotations;

struct SharedAnnotations {
    Annotations *items;
    int count;
};

SharedAnnotations *shared_annotations_new(void) {
    return checked_calloc(1, sizeof(SharedAnnotations));
}

void shared_annotations_free(SharedAnnotations *shared) {
    if (!shared) return;
    for (int i = 0; i < shared->count; i++) {
        shared->items[i].task->close(shared->items[i].data);
        config_free(shared->items[i].config);
    }
    free(shared->items);
    free(shared);
}

static bool same_text(const char *a, const char *b) { return a && b ? !strcmp(a, b) : a == b; }

/// Whether Task.open() reads the same for both.
static bool same_annotations(const Config *a, const Config *b) {
    const EvalSection *x = &a->eval, *y = &b->eval;
    return x->task == y->task && x->sentences == y->sentences &&
           same_text(x->annotations, y->annotations) && same_text(x->masks, y->masks) &&
           same_text(x->segments, y->segments) && same_text(x->split, y->split) &&
           same_text(x->wordnet, y->wordnet);
}

/// Takes the configuration. NULL on failure.
static void *read_shared(SharedAnnotations *shared, Config *config, Error *error) {
    for (int i = 0; i < shared->count; i++) {
        if (!same_annotations(shared->items[i].config, config)) continue;
        config_free(config);
        return shared->items[i].data;
    }
    const Task *task = evaluation_task(config);
    const EvaluationOptions options = evaluation_options(config);
    void *data = task->open(&options, error);
    if (!data) {
        config_free(config);
        return NULL;
    }
    shared->items =
        checked_realloc(shared->items, (size_t)(shared->count + 1) * sizeof *shared->items);
    shared->items[shared->count++] = (Annotations){config, task, data};
    return data;
}

/// path: of the evaluation's configuration.
static bool open_annotations(MeasuredEvaluation *measured, const char *path,
                             SharedAnnotations *shared, Error *error) {
    const EvaluationOptions options = evaluation_options(measured->config);
    measured->owns_data = !shared;
    if (!shared) {
        measured->data = measured->task->open(&options, error);
    } else {
        Config *again = config_load(path, NULL, 0, error);
        measured->data = again ? read_shared(shared, again, error) : NULL;
    }
    return measured->data != NULL;
}

// ---- an evaluation

static bool measure(MeasuredEvaluation *measured, const char *folder, const char *path,
                    SharedAnnotations *shared, Error *error) {
    const Config *config = measured->config;
    EvaluationOptions options = evaluation_options(config);
    ModelSetup device = {0};
    BertSimilarity *bert = NULL;
    int64_t count = 0;
    json_t **verdicts = results_read_verdicts(folder, &count, error);
    bool ok =
        verdicts && open_annotations(measured, path, shared, error) &&
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

bool measured_evaluation_open(MeasuredEvaluation *measured, const char *folder,
                              SharedAnnotations *shared, Error *error) {
    char *path = format_string("%s/config.yaml", folder);
    *measured = (MeasuredEvaluation){.config = config_load(path, NULL, 0, error)};
    bool ok = measured->config != NULL;
    if (!ok) error_context(error, "'%s' is not the eval.output_dir of an evaluation", folder);
    if (ok) measured->task = evaluation_task(measured->config);
    ok = ok && measure(measured, folder, path, shared, error);
    free(path);
    return ok;
}

void measured_evaluation_close(MeasuredEvaluation *measured) {
    if (measured->has_figures) figures_free(&measured->figures);
    if (measured->data && measured->owns_data) measured->task->close(measured->data);
    config_free(measured->config);
    *measured = (MeasuredEvaluation){0};
}
