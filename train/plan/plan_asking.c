// Asking, as an evaluation does it: on the device that counts, for its memory, and in earnest, for
// its time.
#include "train/plan/plan_parts.h"

#include "autograd/clock.h"
#include "eval/tasks/asking.h"
#include "train/evaluation/evaluation_setup.h"
#include "train/trainer/answer_setup.h"

#include <stdlib.h>
#include <string.h>

ModelSetup plan_model_setup(const Plan *plan, const PlanModel *model) {
    return (ModelSetup){.device = model->device,
                        .parameters = model->parameters,
                        .model = model->model,
                        .tokenizer = model->tokenizer,
                        .format =
                            model_setup_format(plan->config, model->model->num_visual_tokens)};
}

// ---- memory

static size_t words_of(const TaskItem *item) {
    size_t length = item->expression ? strlen(item->expression) : 0;
    for (int u = 0; u < item->num_utterances; u++) length += strlen(item->utterances[u]);
    return length;
}

/// The item about which most is said.
static TaskItem longest_item(const Plan *plan, const Task *task, const void *data) {
    TaskItem longest = {0};
    for (int64_t i = 0; i < plan->evaluation.items; i++) {
        TaskItem item = {0};
        task->item(data, i, &item);
        if (i == 0 || words_of(&item) > words_of(&longest)) longest = item;
    }
    return longest;
}

/// Answers of the most tokens, whatever ends them: nothing is computed here.
static bool ask_at_length(AnswerSetup *answers, Llama *llama, const Question *questions,
                          int at_once, Answer *replies, Error *error) {
    int num_eos = llama->config.num_eos;
    answers->options.generation.num_end_tokens = 0;
    answers->options.generation.sampling = (Sampling){0};
    llama->config.num_eos = 0;
    bool ok = answer_questions(&answers->options, questions, at_once, replies, error);
    llama->config.num_eos = num_eos;
    return ok;
}

static int64_t bytes_of(const Answer *answer) {
    return (int64_t)sizeof(float) * answer->num_tokens * answer->layers * answer->heads *
           answer->grid.rows * answer->grid.columns;
}

static bool ask_longest(Plan *plan, ModelSetup *setup, const Task *task, const TaskItem *item,
                        Error *error) {
    const Config *config = plan->config;
    int at_once = plan->evaluation.at_once;
    AnswerSetup answers;
    if (!answer_setup(config, setup, &answers, error)) return false;
    if (!task->looks) answers.options.generation.attention = NULL;
    Image grey = image_new((int)config->data.image_size, (int)config->data.image_size);
    char *prompt =
        task_prompt(config->eval.prompt ? config->eval.prompt : task->prompt, item->expression);
    Question *questions = checked_calloc((size_t)at_once, sizeof *questions);
    Answer *replies = checked_calloc((size_t)at_once, sizeof *replies);
    for (int i = 0; i < at_once; i++)
        questions[i] = (Question){.image = &grey,
                                  .text = prompt,
                                  .index = (uint64_t)i,
                                  .utterances = item->utterances,
                                  .num_utterances = item->num_utterances};
    bool ok = ask_at_length(&answers, setup->model->llama, questions, at_once, replies, error);
    // One more while it is written.
    plan->memory.answers = ok ? (at_once + 1) * bytes_of(&replies[0]) : 0;
    for (int i = 0; i < at_once; i++) answer_free(&replies[i]);
    free(replies);
    free(questions);
    free(prompt);
    image_free(&grey);
    return ok;
}

void plan_asking_memory(Plan *plan, ModelSetup *setup, const Task *task, const void *data) {
    PlanEvaluation *evaluation = &plan->evaluation;
    int64_t batch = plan->config->eval.batch_size;
    Error error = {0};
    evaluation->at_once = (int)(batch < evaluation->items ? batch : evaluation->items);
    TaskItem item = longest_item(plan, task, data);
    device_reset_peak(setup->device);
    if (!ask_longest(plan, setup, task, &item, &error)) {
        plan_add_problem(plan, "eval.batch_size", error.message);
        return;
    }
    plan_note_peak(&plan->memory, PHASE_ASKING, setup->device);
    plan_sum_memory(plan, setup->device);
    plan_check_fit(plan, "eval.batch_size", "eval.batch_size",
                   "a smaller eval.batch_size or eval.max_new_tokens, eval.keep: mean, "
                   "model.dtype: bfloat16 or model.frozen_dtype: fp8 help");
}

// ---- time

static bool time_items(Plan *plan, AskingOptions *options, const int64_t *items, int count,
                       Error *error) {
    PlanEvaluation *evaluation = &plan->evaluation;
    Answer *answers = checked_calloc((size_t)count, sizeof *answers);
    int most = options->answers.generation.max_new_tokens;
    options->answers.generation.max_new_tokens = 1; // to warm up
    bool ok = asking_answers(options, items, 1, answers, error);
    if (ok) answer_free(&answers[0]);
    options->answers.generation.max_new_tokens = most;
    double start = clock_seconds();
    ok = ok && asking_answers(options, items, count, answers, error);
    evaluation->seconds_per_item = (clock_seconds() - start) / count;
    for (int i = 0; ok && i < count; i++) answer_free(&answers[i]);
    free(answers);
    if (!ok) return false;
    evaluation->timed_items = count;
    evaluation->seconds =
        evaluation->seconds_per_item * (double)evaluation->items / (double)plan->options.processes;
    return true;
}

/// The first items; they stand for all.
static bool ask_some(Plan *plan, ModelSetup *setup, Error *error) {
    const Config *config = plan->config;
    const Task *task = evaluation_task(config);
    EvaluationOptions evaluation = evaluation_options(config);
    AnswerSetup answers;
    if (!model_setup_load_checkpoint(config, setup, error) ||
        !answer_setup(config, setup, &answers, error))
        return false;
    void *data = task->open(&evaluation, error);
    if (!data) return false;
    AskingOptions options = {.task = task,
                             .data = data,
                             .evaluation = &evaluation,
                             .answers = answers.options,
                             .num_processes = 1};
    if (!task->looks) options.answers.generation.attention = NULL;
    int64_t count, *items = asking_missing(&options, NULL, &count);
    bool ok = time_items(plan, &options, items, plan->evaluation.at_once, error);
    free(items);
    task->close(data);
    return ok;
}

void plan_asking_time(Plan *plan) {
    const Config *config = plan->config;
    ModelSetup setup;
    Error error = {0};
    if (!plan->evaluation.at_once) return;
    bool opened = model_setup_open(config, (uint64_t)config->eval.seed, NULL, &setup, &error);
    if (!opened || !ask_some(plan, &setup, &error))
        plan_refuse(plan, "eval.annotations", "timing a few items failed: %s", error.message);
    if (opened) model_setup_close(&setup);
}
