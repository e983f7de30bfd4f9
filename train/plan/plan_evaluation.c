// What an evaluation of the configuration's `eval` section would ask, and how much its answers take
// on the disk: at most, for every answer is counted with eval.max_new_tokens. Beside a training
// that is all; of an evaluation alone everything that it needs is looked for.
#include "train/plan/plan_parts.h"

#include "eval/attention/answer_store.h"
#include "eval/tasks/items.h"
#include "train/evaluation/evaluation_setup.h"
#include "train/saved/trained_weights.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/// The maps of a token that are kept.
static void count_maps(Plan *plan, const PlanModel *model, const Task *task) {
    PlanEvaluation *evaluation = &plan->evaluation;
    const LlamaConfig *llama = &model->model->llama->config;
    KeptMaps keep = plan->config->eval.keep;
    if (!task->looks) return;
    evaluation->layers = keep == KEEP_MEAN ? 1 : llama->num_hidden_layers;
    evaluation->heads = keep == KEEP_HEADS ? llama->num_attention_heads : 1;
}

/// Of a text that is read instead of an answer.
static int64_t count_tokens(const PlanModel *model, const TaskItem *item) {
    int64_t tokens = 0;
    for (int u = 0; u < item->num_utterances; u++) {
        TokenList list = {0};
        const char *text = item->utterances[u];
        Error error;
        tokens += tokenizer_encode(model->tokenizer, text, strlen(text), &list, &error)
                      ? list.count
                      : (int64_t)strlen(text);
        token_list_free(&list);
    }
    return tokens;
}

static void count_answers(Plan *plan, const PlanModel *model, const Task *task, const void *data) {
    PlanEvaluation *evaluation = &plan->evaluation;
    count_maps(plan, model, task);
    for (int64_t i = 0; i < evaluation->items; i++) {
        TaskItem item = {0};
        task->item(data, i, &item);
        int64_t tokens = item.utterances ? count_tokens(model, &item)
                                         : (int64_t)evaluation_max_new_tokens(plan->config);
        evaluation->tokens += tokens;
        evaluation->answer_bytes += answer_store_bytes(
            (int)tokens, evaluation->layers, evaluation->heads, model->model->num_visual_tokens);
    }
}

static void count_items(Plan *plan, const Task *task, const void *data) {
    EvaluationOptions options = evaluation_options(plan->config);
    plan->evaluation.task = task->name;
    plan->evaluation.items = evaluation_items(task, data, &options);
    plan->evaluation.free = plan_free_bytes(plan->config->eval.output_dir);
    plan->evaluation.known = true;
}

void plan_answers(Plan *plan, const PlanModel *model) {
    const Config *config = plan->config;
    const Task *task = evaluation_task(config);
    Error error;
    if (!config->eval.annotations || !model->model || !model->tokenizer ||
        !evaluation_require(config, &error))
        return;
    EvaluationOptions options = evaluation_options(config);
    void *data = task->open(&options, &error);
    if (!data) return; // perhaps they are to be made yet: training does not need them
    count_items(plan, task, data);
    count_answers(plan, model, task, data);
    task->close(data);
}

// ---- an evaluation alone

/// The annotations and, if they are looked at, the pictures; NULL, with the problem, if something
/// is missing.
static void *open_items(Plan *plan, const Task *task) {
    const Config *config = plan->config;
    EvaluationOptions options = evaluation_options(config);
    const char *path = config->eval.annotations;
    Error error = {0};
    if (!evaluation_require(config, &error)) {
        plan_add_problem(plan, "eval.annotations", error.message);
        return NULL;
    }
    void *data = task->open(&options, &error);
    if (!data) {
        plan_add_file(plan, "eval.annotations", path, false, checked_strdup(error.message));
        return NULL;
    }
    plan_add_file(
        plan, "eval.annotations", path, true,
        format_string("%lld items of the task %s", (long long)task->count(data), task->name));
    bool complete = evaluation_check_items(config, task, data, &options, &error);
    plan_add_file(plan, "eval.image_folder", config->eval.image_folder, complete,
                  complete ? NULL : checked_strdup(error.message));
    if (complete) return data;
    task->close(data);
    return NULL;
}

/// Whether the weights are the model's; without it (NULL) whether they are there at all.
static void check_checkpoint(Plan *plan, ModelSetup *setup) {
    const Config *config = plan->config;
    Error error = {0};
    if (!config->eval.checkpoint || config->eval.answers) return;
    char *resolved = trained_weights_resolve(config->eval.checkpoint, &error);
    bool fits = resolved && (!setup || model_setup_load_checkpoint(config, setup, &error));
    plan_add_file(plan, "eval.checkpoint", config->eval.checkpoint, fits,
                  checked_strdup(fits ? "what is evaluated" : error.message));
    free(resolved);
}

/// What is opened when answers are judged.
static void check_judging(Plan *plan) {
    const EvalSection *eval = &plan->config->eval;
    const struct {
        const char *key, *path;
    } files[] = {{"eval.answers", eval->answers},
                 {"eval.sam", eval->segmenter == SEGMENTER_SAM ? eval->sam : NULL},
                 {"eval.regions", eval->segmenter == SEGMENTER_REGIONS ? eval->regions : NULL},
                 {"eval.bert", eval->bert},
                 {"eval.meteor", eval->meteor}};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        if (!files[i].path) continue;
        bool there = access(files[i].path, R_OK) == 0;
        plan_add_file(plan, files[i].key, files[i].path, there,
                      there ? NULL : format_string("%s: %s", files[i].path, strerror(errno)));
    }
}

void plan_evaluation(Plan *plan, PlanModel *model) {
    const Config *config = plan->config;
    const Task *task = evaluation_task(config);
    plan_machine(plan);
    void *data = open_items(plan, task);
    if (data) count_items(plan, task, data);
    bool asks = !config->eval.answers && model->model && model->tokenizer;
    if (asks) {
        ModelSetup setup = plan_model_setup(plan, model);
        check_checkpoint(plan, &setup);
        if (data) {
            count_answers(plan, model, task, data);
            plan_asking_memory(plan, &setup, task, data);
        }
    } else {
        check_checkpoint(plan, NULL);
    }
    check_judging(plan);
    if (data) task->close(data);
}
