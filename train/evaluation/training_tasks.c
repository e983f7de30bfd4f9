// What eval.tasks names, opened before the first step: whatever is wrong with it is known then.
#include "train/evaluation/training_tasks.h"

#include "autograd/home_path.h"
#include "autograd/stop_request.h"
#include "autograd/text/byte_buffer.h"
#include "autograd/text/nearest_name.h"
#include "autograd/text/utf8.h"
#include "train/config/config_schema.h"
#include "train/evaluation/evaluation_setup.h"
#include "train/evaluation/training_tasks_internal.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

/// Of a name: TensorBoard's tags and the report's legends are to stay short.
enum { LONGEST_NAME = 64 };

// ---- entries

static int count_tasks(void) {
    int count = 0;
    while (TASKS[count]) count++;
    return count;
}

static bool is_file_name(const char *entry) {
    const char *dot = strrchr(entry, '.');
    return strchr(entry, '/') || (dot && (!strcmp(dot, ".yaml") || !strcmp(dot, ".yml")));
}

/// "runs/res-testA.yaml" becomes "res_testA"; the caller frees it.
static char *name_of_file(const char *path) {
    const char *slash = strrchr(path, '/'), *file = slash ? slash + 1 : path,
               *dot = strrchr(file, '.');
    int length = dot && dot > file ? (int)(dot - file) : (int)strlen(file);
    char *name = format_string("%.*s", length, file);
    for (char *c = name; *c; c++)
        if (!isalnum((unsigned char)*c) || (unsigned char)*c >= 0x80) *c = '_';
    return name;
}

static bool refuse_entry(const char *entry, Error *error) {
    ByteBuffer names = {0};
    int count = count_tasks(), nearest;
    const char **all = checked_calloc((size_t)count + 1, sizeof *all);
    for (int i = 0; i < count; i++) {
        all[i] = TASKS[i]->name;
        byte_buffer_print(&names, "%s%s", i ? ", " : "", all[i]);
    }
    nearest = nearest_name(entry, all, count);
    char *known = byte_buffer_take(&names);
    if (nearest >= 0)
        error_set(error,
                  "is no task; did you mean '%s'? The tasks are %s; a YAML file is known by "
                  "its ending .yaml or .yml",
                  all[nearest], known);
    else
        error_set(error,
                  "is no task and no YAML file. The tasks are %s; a YAML file is known by "
                  "its ending .yaml or .yml",
                  known);
    free(known);
    free(all);
    return false;
}

static bool read_file(TrainingTask *task, Error *error) {
    char *path = home_path(task->entry, error);
    if (!path) return false;
    task->file = config_load(path, NULL, 0, error);
    free(path);
    if (!task->file) return false;
    task->name = name_of_file(task->entry);
    task->config.eval = task->file->eval;
    task->config.path = task->file->path;
    task->config.origins = task->file->origins;
    return true;
}

static bool read_name(TrainingTask *task, Error *error) {
    for (int i = 0; TASKS[i]; i++)
        if (!strcmp(TASKS[i]->name, task->entry)) {
            task->config.eval.task = (EvaluationTask)i;
            task->name = checked_strdup(task->entry);
            return true;
        }
    return refuse_entry(task->entry, error);
}

/// The section as a run has it: its own model, a few images, and nothing on the disk.
static void settle(TrainingTask *task) {
    EvalSection *eval = &task->config.eval;
    eval->checkpoint = eval->answers = eval->output_dir = NULL;
    eval->keep = KEEP_MEAN;
    if (eval->samples < 0) eval->samples = TRAINING_TASK_IMAGES;
    task->task = evaluation_task(&task->config);
    task->options = evaluation_options(&task->config);
}

static bool has_own_name(const TrainingTasks *tasks, int index, Error *error) {
    const char *name = tasks->items[index].name;
    if (strlen(name) > LONGEST_NAME)
        return error_set(error,
                         "its figures would be called '%s'; expected a file name of at most "
                         "%d bytes before its ending",
                         name, LONGEST_NAME);
    for (int i = 0; i < index; i++)
        if (!strcmp(tasks->items[i].name, name))
            return error_set(error,
                             "its figures would be called '%s' as those of '%s'; give the "
                             "YAML file another name",
                             name, tasks->items[i].entry);
    return true;
}

// ---- annotations

/// The names of its figures are those of an evaluation of nothing; whatever measuring reads is read
/// once by that.
static bool name_figures(TrainingTask *task, Error *error) {
    Figures figures;
    if (!task->task->measure(task->data, &task->options, NULL, 0, &figures, error)) return false;
    task->num_figures = figures.count;
    task->figures = checked_calloc((size_t)figures.count + 1, sizeof *task->figures);
    for (int i = 0; i < figures.count; i++)
        task->figures[i] = format_string("%s.%s", task->name, figures.items[i].name);
    figures_free(&figures);
    return true;
}

static bool open_task(TrainingTasks *tasks, int index, Error *error) {
    TrainingTask *task = &tasks->items[index];
    if (!(is_file_name(task->entry) ? read_file(task, error) : read_name(task, error)) ||
        !has_own_name(tasks, index, error))
        return false;
    settle(task);
    if (!evaluation_require_files(&task->config, error)) return false;
    task->data = task->task->open(&task->options, error);
    task->judging = (JudgingOptions){
        .task = task->task, .data = task->data, .evaluation = &task->options, .num_processes = 1};
    return task->data &&
           evaluation_check_items(&task->config, task->task, task->data, &task->options, error);
}

/// What is wrong with an entry is a matter of configuration, wherever it is found.
static bool refuse(const TrainingTasks *tasks, const TrainingTask *task, const Error *reason,
                   Error *error) {
    if (stop_requested()) return stop_request_error(error);
    return config_refuse(tasks->config, "eval.tasks", error, "'%s': %s", quote(task->entry).text,
                         reason->message);
}

bool training_tasks_open(const Config *config, TrainingTasks **tasks, Error *error) {
    const StringList *entries = &config->eval.tasks;
    *tasks = NULL;
    if (!entries->count) return true;
    TrainingTasks *opened = *tasks = checked_calloc(1, sizeof *opened);
    opened->config = config;
    opened->items = checked_calloc((size_t)entries->count, sizeof *opened->items);
    for (int i = 0; i < entries->count; i++) {
        TrainingTask *task = &opened->items[opened->count++];
        Error reason = {0};
        task->entry = entries->values[i];
        task->config = *config;
        if (open_task(opened, i, &reason)) continue;
        refuse(opened, task, &reason, error);
        training_tasks_close(opened);
        *tasks = NULL;
        return false;
    }
    return true;
}

static void close_task(TrainingTask *task) {
    evaluation_tools_close(&task->judging);
    bert_similarity_close(task->bert);
    if (task->data) task->task->close(task->data);
    for (int i = 0; i < task->num_figures; i++) free(task->figures[i]);
    free(task->figures);
    json_decref(task->basis);
    free(task->name);
    config_free(task->file);
}

void training_tasks_close(TrainingTasks *tasks) {
    if (!tasks) return;
    for (int i = 0; i < tasks->count; i++) close_task(&tasks->items[i]);
    free(tasks->items);
    free(tasks);
}

// ---- the model

static bool describe(TrainingTask *task, Error *error) {
    json_t *asked_with = evaluation_asked_of_any(&task->config, task->task, task->data, error);
    if (!asked_with) return false;
    task->basis = evaluation_judged_with(&task->config, asked_with);
    int64_t items = evaluation_items(task->task, task->data, &task->options);
    json_object_set_new(task->basis, "items", json_integer(items));
    json_object_set_new(task->basis, "eval.plurals", json_boolean(task->options.plural_by_flag));
    json_decref(asked_with);
    return true;
}

/// What the file says otherwise about the model than the run, whose word counts.
static void tell_difference(const TrainingTask *task, const Config *run, const ConfigField *field) {
    char *key = format_string("%s.%s", field->section, field->name),
         *there = config_format_value(task->file, field), *here = config_format_value(run, field);
    bool is_set = task->file->origins[config_find_key(key)].kind != ORIGIN_DEFAULT;
    if (is_set && strcmp(field->section, "eval") != 0 && evaluation_is_asked_with(key) &&
        strcmp(there, here) != 0)
        utf8_print(stderr, "eval.tasks: %s has %s: %s; the model is trained, and asked, with %s\n",
                   task->entry, key, there, here);
    free(key);
    free(there);
    free(here);
}

static bool use(TrainingTask *task, const Config *run, const ModelSetup *setup, Error *error) {
    ModelSetup asked = *setup;
    for (int i = 0; i < NUM_CONFIG_FIELDS && task->file && setup->speaks; i++)
        tell_difference(task, run, &CONFIG_FIELDS[i]);
    task->model = *setup->model;
    task->model.options.seed = (uint64_t)task->config.eval.seed;
    asked.model = &task->model;
    if (!answer_setup(&task->config, &asked, &task->answers, error)) return false;
    if (!task->task->looks) task->answers.options.generation.attention = NULL;
    return evaluation_tools_open(&task->config, setup->device, &task->judging, error) &&
           evaluation_similarity_open(&task->config, task->task, setup->device, &task->options,
                                      &task->bert, error) &&
           name_figures(task, error) && describe(task, error);
}

bool training_tasks_use(TrainingTasks *tasks, const ModelSetup *setup, Error *error) {
    for (int i = 0; i < tasks->count; i++) {
        Error reason = {0};
        if (!use(&tasks->items[i], tasks->config, setup, &reason))
            return refuse(tasks, &tasks->items[i], &reason, error);
    }
    return true;
}

// ---- what there is

static bool has_figure(const TrainingTask *task, const char *figure) {
    for (int i = 0; i < task->num_figures; i++)
        if (!strcmp(task->figures[i], figure)) return true;
    return false;
}

bool training_tasks_have(const TrainingTasks *tasks, const char *figure) {
    for (int i = 0; tasks && i < tasks->count; i++)
        if (has_figure(&tasks->items[i], figure)) return true;
    return false;
}

char *training_tasks_list(const TrainingTasks *tasks) {
    ByteBuffer names = {0};
    for (int i = 0; tasks && i < tasks->count; i++)
        for (int k = 0; k < tasks->items[i].num_figures; k++)
            byte_buffer_print(&names, "%s%s", names.size ? ", " : "", tasks->items[i].figures[k]);
    return byte_buffer_take(&names);
}

char *training_tasks_describe(const TrainingTasks *tasks, const char *figure) {
    json_t *bases = json_object();
    for (int i = 0; tasks && i < tasks->count; i++)
        if (!figure || has_figure(&tasks->items[i], figure))
            json_object_set(bases, tasks->items[i].name, tasks->items[i].basis);
    char *text = json_dumps(bases, JSON_COMPACT | JSON_SORT_KEYS);
    json_decref(bases);
    return text;
}
