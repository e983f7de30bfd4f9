#include "train/evaluation/evaluation_run.h"

#include "autograd/clock.h"
#include "autograd/output/output_file.h"
#include "autograd/tape.h"
#include "autograd/text/utf8.h"
#include "eval/tasks/judging.h"
#include "eval/tasks/results.h"
#include "ops/kernels.h"
#include "train/evaluation/evaluation_setup.h"
#include "train/evaluation/evaluation_similarity.h"
#include "train/evaluation/evaluation_tools.h"
#include "train/group/replicas.h"
#include "train/log/progress.h"
#include "train/trainer/answer_setup.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

/// Behind work without signs of life: one rank writes, the disk takes its time. A rank that has
/// ended is noticed all the same.
static bool agree_patiently(const Evaluation *evaluation, bool ok, Error *error) {
    static const double PATIENCE = 24 * 3600;
    process_group_set_timeout(evaluation->group, PATIENCE);
    ok = agree(evaluation, ok, error);
    process_group_set_timeout(evaluation->group,
                              (double)evaluation->config->training.distributed_timeout);
    return ok;
}

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

static bool open_device(Evaluation *evaluation, Error *error) {
    char bus_id[GPU_BUS_ID_BYTES] = "";
    evaluation->has_device =
        model_setup_open_device(evaluation->config, evaluation->group, &evaluation->model, error);
    if (!agree(evaluation, evaluation->has_device, error)) return false;
    ops_cuda_bus_id(evaluation->model.device, bus_id);
    return process_group_distinct_gpus(evaluation->group, bus_id, error) &&
           replicas_compare_kernels(evaluation->group, evaluation->model.device, error);
}

static bool read_model(Evaluation *evaluation, Error *error) {
    const Config *config = evaluation->config;
    evaluation->has_model =
        model_setup_read(config, (uint64_t)config->eval.seed, &evaluation->model, error);
    return evaluation->has_model && model_setup_load_checkpoint(config, &evaluation->model, error);
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

static bool open_own_store(Evaluation *evaluation, Error *error) {
    const Config *config = evaluation->config;
    evaluation->store =
        evaluation_open_answers(config, evaluation->answers_folder, evaluation->asked_with, error);
    if (!evaluation->store) return false;
    return !config->eval.answers || answer_store_count(evaluation->store) ||
           config_refuse(config, "eval.answers", error, "'%s' holds no answers",
                         config->eval.answers);
}

static bool open_store(Evaluation *evaluation, Error *error) {
    answer_store_close(evaluation->store);
    return agree_patiently(evaluation, open_own_store(evaluation, error), error);
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
        ok = open_device(evaluation, error) &&
             agree_patiently(evaluation, !count || read_model(evaluation, error), error) &&
             agree(evaluation, !count || ask_items(evaluation, &options, items, count, error),
                   error);
    }
    free(items);
    ok = ok && agree_patiently(evaluation,
                               answer_store_pack(evaluation->answers_folder, options.process,
                                                 options.num_processes, error),
                               error);
    return ok && open_store(evaluation, error);
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
    return (!evaluation_tools_need_device(config) || need_device(evaluation, error)) &&
           evaluation_tools_open(config, evaluation->model.device, options, error);
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
    output_remove_remains(path); // of a kill
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
    bool ok = results_write(&options, verdicts, count, stdout, error) && save_config(config, error);
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
    json_t *judged_with = evaluation_judged_with(config, asked_with);
    options.judged_with = judged_with;
    bool ok = judging_check_answers(&options, error) &&
              evaluation_select_maps(config, asked_with, &evaluation->options.grounding, error) &&
              (!is_first(evaluation) || judging_clean(&options, error)) &&
              open_tools(evaluation, &options, error);
    ok = agree_patiently(evaluation, ok, error);
    if (ok) {
        Bar bar =
            bar_begin(evaluation, "judging",
                      evaluation_items(evaluation->task, evaluation->data, &evaluation->options));
        options.progress = (EvaluationProgress){show, &bar};
        ok = agree(evaluation, judging_run(&options, error), error);
        bar_end(&bar);
    }
    evaluation_tools_close(&options);
    ok = ok && agree_patiently(evaluation,
                               !is_first(evaluation) || write_results(evaluation, &options, error),
                               error);
    json_decref(judged_with);
    return ok;
}

// ---- the whole

/// Annotations; nothing is written.
static bool open_data(Evaluation *evaluation, Error *error) {
    const Config *config = evaluation->config;
    evaluation->options = evaluation_options(config);
    evaluation->data = evaluation->task->open(&evaluation->options, error);
    if (!evaluation->data || !evaluation_check_items(config, evaluation->task, evaluation->data,
                                                     &evaluation->options, error))
        return false;
    evaluation->answers_folder = config->eval.answers
                                     ? format_string("%s", config->eval.answers)
                                     : format_string("%s/answers", config->eval.output_dir);
    if (config->eval.answers) return true;
    evaluation->asked_with =
        evaluation_asked_with(config, evaluation->task, evaluation->data, error);
    return evaluation->asked_with != NULL;
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
    EvaluationFolders folders = {0};
    bool ok = agree_patiently(evaluation, open_data(evaluation, error), error) &&
              evaluation_is_one_job(config, evaluation->asked_with, evaluation->group, error);
    ok = ok &&
         agree(evaluation,
               !is_first(evaluation) || evaluation_take_folders(config, &folders, error), error);
    ok = ok && open_store(evaluation, error) && (config->eval.answers || ask(evaluation, error)) &&
         judge(evaluation, error);
    evaluation_leave_folders(&folders, !ok);
    return ok;
}

/// As in training: an evaluation that was asked to stop has failed at nothing, and lost nothing.
static bool was_stopped(const Evaluation *evaluation, const Error *error) {
    if (!error->is_stop || process_group_is_broken(evaluation->group)) return false;
    if (is_first(evaluation))
        utf8_print(stderr,
                   "%s: what was answered and judged is kept, and the same command goes on with "
                   "the rest\n",
                   error->message);
    return true;
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
    return ok || was_stopped(&evaluation, error);
}
