#include "train/plan/plan.h"

#include "train/plan/plan_parts.h"

#include <stdarg.h>
#include <stdlib.h>

void plan_add_problem(Plan *plan, const char *key, const char *message) {
    size_t count = (size_t)plan->problem_count + 1;
    plan->problems = checked_realloc(plan->problems, count * sizeof *plan->problems);
    plan->problems[plan->problem_count++] = (PlanProblem){key, checked_strdup(message)};
}

void plan_refuse(Plan *plan, const char *key, const char *format, ...) {
    Error error = {0}, located = {0};
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(error.message, sizeof error.message, format, arguments);
    va_end(arguments);
    config_refuse(plan->config, key, &located, "%s", error.message);
    plan_add_problem(plan, key, located.message);
}

void plan_add_file(Plan *plan, const char *key, const char *path, bool found, char *detail) {
    size_t count = (size_t)plan->file_count + 1;
    plan->files = checked_realloc(plan->files, count * sizeof *plan->files);
    plan->files[plan->file_count++] =
        (PlanFile){key, checked_strdup(path), found, detail ? detail : checked_strdup("")};
    if (!found) plan_refuse(plan, key, "%s", detail ? detail : "not found");
}

bool plan_is_of_evaluation(const Config *config) {
    return config->eval.annotations && !config->data.train.count && !config->data.image_folder &&
           !config->training.output_dir;
}

/// Every key without which nothing can be planned or run; config_require() would stop at the first.
static void require_keys(Plan *plan) {
    const Config *config = plan->config;
    bool diffusion = config->model.architecture == ADAPTERS_DIFFLMM, trains = !plan->evaluates,
         runs = trains || !config->eval.answers;
    const struct {
        const char *key, *value;
        bool needed;
    } keys[] = {
        {"data.train", config->data.train.count ? "" : NULL, trains},
        {"data.image_folder", config_require_data(config, NULL) ? "" : config->data.image_folder,
         trains},
        {"training.output_dir", config->training.output_dir, trains},
        {"model.sd", config->model.sd, runs && diffusion},
        {"model.vision_tower", config->model.vision_tower, runs},
        {"model.llm", config->model.llm, runs},
    };
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (keys[i].needed && !keys[i].value) plan_refuse(plan, keys[i].key, "is missing");
}

static void plan_training(Plan *plan, PlanModel *model) {
    PlanBatches batches = {0};
    plan_data(plan, model, &batches);
    plan_resume(plan, model);
    plan_memory(plan, model, &batches);
    plan_disk(plan, model, &batches);
    plan_answers(plan, model);
    plan_tasks(plan);
    plan_batches_free(&batches);
}

Plan *plan_make(const Config *config, const PlanOptions *options) {
    Plan *plan = checked_calloc(1, sizeof *plan);
    plan->config = config;
    plan->options = *options;
    plan->evaluates = plan_is_of_evaluation(config);
    require_keys(plan);
    PlanModel model = {0};
    plan_model_open(plan, &model);
    if (plan->evaluates)
        plan_evaluation(plan, &model);
    else
        plan_training(plan, &model);
    plan_model_close(&model);
    if (options->timed_steps > 0 && plan->problem_count == 0) {
        if (plan->evaluates)
            plan_asking_time(plan);
        else
            plan_time(plan);
    }
    return plan;
}

void plan_free(Plan *plan) {
    if (!plan) return;
    for (int i = 0; i < plan->file_count; i++) {
        free(plan->files[i].path);
        free(plan->files[i].detail);
    }
    for (int i = 0; i < plan->problem_count; i++) free(plan->problems[i].message);
    free(plan->files);
    free(plan->problems);
    free(plan->changes);
    free(plan->parts);
    free(plan);
}
