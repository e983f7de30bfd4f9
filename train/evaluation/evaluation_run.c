#include "train/evaluation/evaluation_run.h"

#include "autograd/clock.h"
#include "autograd/output/output_folder.h"
#include "autograd/stop_request.h"
#include "autograd/tape.h"
#include "eval/tasks/judging.h"
#include "eval/tasks/results.h"
#include "train/evaluation/evaluation_setup.h"
#include "train/evaluation/evaluation_similarity.h"
#include "train/group/run_lock.h"
#include "train/log/progress.h"
#include "train/trainer/answer_setup.h"

#include <stdio.h>
#include <stdlib.h>

/// An evaluation on one rank.
typedef struct Evaluation {
    const Config *config;
    ProcessGroup *group;
    const Task *task;
    EvaluationOptions options;
    void *data;
    char *answers_folder;
    json_t *asked_with;
    AnswerStore *store;
    /// where networks that judge run; opened when it is needed
    ModelSetup model;
    bool has_device, has_model;
    double started;
} Evaluation;

static bool is_first(const Evaluation *evaluation) { return process_rank(evaluation->group) == 0; }

static bool agree(const Evaluation *evaluation, bool ok, Error *error) {
    return process_group_agree(evaluation->group, ok, error);
}

static void sign_of_life(void *group) { process_group_progress(group); }

// ---- progress

typedef struct Bar {
    Progress *progress;
    ProcessGroup *group;
} Bar;

static void show(void *context, int64_t done, int64_t total) {
    const Bar *bar = context;
    (void)total;
    process_group_progress(bar->group);
    if (bar->progress) progress_update(bar->progress, done, "%s", "");
}

/// Of the first rank; its share stands for all.
static Bar bar_begin(const Evaluation *evaluation, const char *what, int64_t total) {
    return (Bar){is_first(evaluation) && total ? progress_begin(stderr, what, 0, total, 16) : NULL,
                 evaluation->group};
}

static void bar_end(Bar *bar) {
    if (bar->progress) progress_end(bar->progress);
}

// ---- asking

static bool open_model(Evaluation *evaluation, Error *error) {
    if (!model_setup_open(evaluation->config, (uint64_t)evaluation->config->eval.seed,
                          evaluation->group, &evaluation->model, error))
        return false;
    evaluation->has_model = evaluation->has_device = true;
    return model_setup_load_checkpoint(evaluation->config, &evaluation->model, error);
}

static bool ask_items(Evaluation *evaluation, AskingOptions *options, const int64_t *items,
                      int64_t count, Error *error) {
    AnswerSetup answers;
    bool ok = answer_setup(evaluation->config, &evaluation->model, &answers, error);
    if (!ok) return false;
    options->answers = answers.options;
    if (!evaluation->task->looks) options->answers.generation.attention = NULL;
    Bar bar = bar_begin(evaluation, "asking", count);
    options->progress = (EvaluationProgress){show, &bar};
    ok = asking_run(options, items, count, error);
    bar_end(&bar);
    return ok;
}

static bool reopen_store(Evaluation *evaluation, Error *error) {
    answer_store_close(evaluation->store);
    evaluation->store = NULL;
    evaluation->store =
        answer_store_open(evaluation->answers_folder, evaluation->asked_with, error);
    return agree(evaluation, evaluation->store != NULL, error);
}

/// Asks what is not stored yet, each rank its share.
static bool ask(Evaluation *evaluation, Error *error) {
    const Config *config = evaluation->config;
    AskingOptions options = {.task = evaluation->task,
                             .data = evaluation->data,
                             .evaluation = &evaluation->options,
                             .folder = evaluation->answers_folder,
                             .asked_with = evaluation->asked_with,
                             .round = answer_store_next_round(evaluation->store),
                             .batch_size = (int)config->eval.batch_size,
                             .process = process_rank(evaluation->group),
                             .num_processes = process_count(evaluation->group)};
    int64_t count;
    int64_t *items = asking_missing(&options, evaluation->store, &count);
    double missing = (double)count;
    bool ok = process_group_sum(evaluation->group, &missing, 1, error);
    if (ok && missing > 0) {
        ok = agree(evaluation, open_model(evaluation, error), error);
        ok = ok && agree(evaluation, ask_items(evaluation, &options, items, count, error), error);
    }
    free(items);
    ok = ok && agree(evaluation,
                     answer_store_pack(evaluation->answers_folder, options.process,
                                       options.num_processes, error),
                     error);
    return ok && reopen_store(evaluation, error);
}

// ---- judging

/// A device for networks that judge, if there is none yet.
static bool need_device(Evaluation *evaluation, Error *error) {
    evaluation->has_device =
        evaluation->has_device ||
        model_setup_open_device(evaluation->config, evaluation->group, &evaluation->model, error);
    return evaluation->has_device;
}

static bool open_tools(Evaluation *evaluation, JudgingOptions *options, Error *error) {
    const Config *config = evaluation->config;
    if (evaluation->task->finds_phrases) {
        options->phrases = phrase_finder_open(config->eval.phrases, error);
        if (!options->phrases) return false;
    }
    if (!evaluation->task->looks) return true;
    if (config->eval.segmenter == SEGMENTER_SAM && !need_device(evaluation, error)) return false;
    return evaluation_segmenter(config, evaluation->model.device, &options->segmenter, error);
}

static void close_tools(JudgingOptions *options) {
    if (options->segmenter) options->segmenter->close(options->segmenter);
    phrase_finder_close(options->phrases);
}

static bool open_similarity(Evaluation *evaluation, BertSimilarity **bert, Error *error) {
    if (evaluation_similarity_needs_device(evaluation->config, evaluation->task) &&
        !need_device(evaluation, error))
        return false;
    return evaluation_similarity_open(evaluation->config, evaluation->task,
                                      evaluation->model.device, &evaluation->options, bert, error);
}

static bool save_config(const Config *config, Error *error) {
    char *path = format_string("%s/config.yaml", config->eval.output_dir);
    bool ok = config_save(config, path, error);
    free(path);
    return ok;
}

static bool write_results(Evaluation *evaluation, const JudgingOptions *judging, Error *error) {
    const Config *config = evaluation->config;
    BertSimilarity *bert = NULL;
    int64_t count;
    if (!open_similarity(evaluation, &bert, error)) return false;
    json_t **verdicts = judging_collect(judging, &count, error);
    if (!verdicts) {
        bert_similarity_close(bert);
        return false;
    }
    bool is_ours = !answer_store_dumps(evaluation->store);
    const char *own = config->model.architecture == ADAPTERS_LLAVA ? "llava" : "difflmm";
    ResultsOptions options = {
        .task = evaluation->task,
        .data = evaluation->data,
        .evaluation = &evaluation->options,
        .folder = config->eval.output_dir,
        .pictures = config->eval.pictures,
        .architecture = is_ours ? own : "groundLMM's",
        .checkpoint = is_ours ? config->eval.checkpoint : config->eval.answers,
        .asked_with = evaluation->asked_with ? evaluation->asked_with
                                             : answer_store_asked_with(evaluation->store),
        .judged_with = judging->judged_with,
        .seconds = clock_seconds() - evaluation->started};
    bool ok = save_config(config, error) && results_write(&options, verdicts, count, stdout, error);
    verdicts_free(verdicts, count);
    bert_similarity_close(bert);
    if (ok) judging_remove_journals(judging);
    return ok;
}

static bool judge(Evaluation *evaluation, Error *error) {
    const Config *config = evaluation->config;
    JudgingOptions options = {.task = evaluation->task,
                              .data = evaluation->data,
                              .evaluation = &evaluation->options,
                              .store = evaluation->store,
                              .folder = config->eval.output_dir,
                              .process = process_rank(evaluation->group),
                              .num_processes = process_count(evaluation->group)};
    const json_t *asked_with = answer_store_asked_with(evaluation->store);
    evaluation_select_maps(config, asked_with, &evaluation->options.grounding);
    json_t *judged_with = evaluation_judged_with(config, asked_with);
    options.judged_with = judged_with;
    bool ok = !is_first(evaluation) || judging_clean(&options, error);
    ok = agree(evaluation, ok && open_tools(evaluation, &options, error), error);
    if (ok) {
        Bar bar =
            bar_begin(evaluation, "judging",
                      evaluation_items(evaluation->task, evaluation->data, &evaluation->options));
        options.progress = (EvaluationProgress){show, &bar};
        ok = agree(evaluation, judging_run(&options, error), error);
        bar_end(&bar);
    }
    close_tools(&options);
    ok = ok && agree(evaluation,
                     !is_first(evaluation) || write_results(evaluation, &options, error), error);
    json_decref(judged_with);
    return ok;
}

// ---- the whole

static bool check_items(const Evaluation *evaluation, Error *error) {
    int64_t count = evaluation_items(evaluation->task, evaluation->data, &evaluation->options);
    return count > 0 || config_refuse(evaluation->config, "eval.samples", error,
                                      "there is nothing to evaluate: %lld items in %s, of which "
                                      "none is taken",
                                      (long long)evaluation->task->count(evaluation->data),
                                      evaluation->config->eval.annotations);
}

/// Annotations, and what is stored already; nothing is written.
static bool open_all(Evaluation *evaluation, Error *error) {
    const Config *config = evaluation->config;
    evaluation->options = evaluation_options(config);
    evaluation->data = evaluation->task->open(&evaluation->options, error);
    if (!evaluation->data || !check_items(evaluation, error)) return false;
    evaluation->answers_folder = config->eval.answers
                                     ? format_string("%s", config->eval.answers)
                                     : format_string("%s/answers", config->eval.output_dir);
    if (!config->eval.answers) {
        evaluation->asked_with =
            evaluation_asked_with(config, evaluation->task, evaluation->data, error);
        if (!evaluation->asked_with) return false;
    }
    evaluation->store =
        evaluation_open_answers(config, evaluation->answers_folder, evaluation->asked_with, error);
    if (evaluation->store && config->eval.answers && !answer_store_count(evaluation->store))
        return config_refuse(config, "eval.answers", error, "'%s' holds no answers",
                             config->eval.answers);
    return evaluation->store != NULL;
}

static void close_all(Evaluation *evaluation) {
    answer_store_close(evaluation->store);
    if (evaluation->has_model) model_setup_close(&evaluation->model);
    if (evaluation->data) evaluation->task->close(evaluation->data);
    json_decref(evaluation->asked_with);
    free(evaluation->answers_folder);
}

static bool evaluate(Evaluation *evaluation, Error *error) {
    const Config *config = evaluation->config;
    OutputFolder folder = {0}, answers = {0};
    RunLock *lock = NULL;
    bool ok = agree(evaluation, open_all(evaluation, error), error);
    if (ok && is_first(evaluation)) {
        ok = output_folder_make(&folder, config->eval.output_dir, error) &&
             (lock = run_lock_take(config->eval.output_dir, error)) &&
             (config->eval.answers ||
              output_folder_make(&answers, evaluation->answers_folder, error));
    }
    ok = agree(evaluation, ok, error);
    ok = ok && (config->eval.answers || ask(evaluation, error)) && judge(evaluation, error);
    run_lock_release(lock);
    output_folder_close(&answers, !ok);
    output_folder_close(&folder, !ok);
    return ok;
}

bool evaluation_run(Config *config, ProcessGroup *group, Error *error) {
    Evaluation evaluation = {.config = config,
                             .group = group,
                             .task = evaluation_task(config),
                             .started = clock_seconds()};
    tape_on_op(sign_of_life, group);
    bool ok = evaluate(&evaluation, error);
    tape_on_op(NULL, NULL);
    close_all(&evaluation);
    return ok;
}
