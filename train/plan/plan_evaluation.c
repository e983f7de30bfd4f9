// What an evaluation of the configuration's `eval` section would ask, and how much its answers take
// on the disk: at most, for every answer is counted with eval.max_new_tokens.
#include "train/plan/plan_parts.h"

#include "eval/attention/answer_store.h"
#include "eval/tasks/items.h"
#include "train/evaluation/evaluation_setup.h"

#include <string.h>

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

void plan_evaluation(Plan *plan, const PlanModel *model) {
    const Config *config = plan->config;
    const Task *task = evaluation_task(config);
    PlanEvaluation *evaluation = &plan->evaluation;
    Error error;
    if (!config->eval.annotations || !model->model || !model->tokenizer ||
        !evaluation_require(config, &error))
        return;
    EvaluationOptions options = evaluation_options(config);
    void *data = task->open(&options, &error);
    if (!data) return; // perhaps they are to be made yet: training does not need them
    count_maps(plan, model, task);
    evaluation->task = task->name;
    evaluation->items = evaluation_items(task, data, &options);
    for (int64_t i = 0; i < evaluation->items; i++) {
        TaskItem item = {0};
        task->item(data, i, &item);
        int64_t tokens = item.utterances ? count_tokens(model, &item)
                                         : (int64_t)evaluation_max_new_tokens(config);
        evaluation->tokens += tokens;
        evaluation->answer_bytes += answer_store_bytes(
            (int)tokens, evaluation->layers, evaluation->heads, model->model->num_visual_tokens);
    }
    task->close(data);
    evaluation->free = plan_free_bytes(config->eval.output_dir);
    evaluation->known = true;
}
