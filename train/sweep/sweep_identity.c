// What jobs depend on. Paths of files that are read count by what is in them, so that a sweep that
// was moved, or whose annotations were written anew with the same content, is done still.
#include "autograd/fnv.h"
#include "train/evaluation/described_files.h"
#include "train/evaluation/evaluation_setup.h"
#include "train/saved/trained_weights.h"
#include "train/sweep/sweep_jobs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

void sweep_hash(const json_t *identity, char hash[17]) {
    char *text = json_dumps(identity, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY);
    snprintf(hash, 17, "%016llx", (unsigned long long)fnv1a(text, strlen(text)));
    free(text);
}

static void put(json_t *object, const Config *config, int field) {
    const ConfigField *key = &CONFIG_FIELDS[field];
    char *name = format_string("%s.%s", key->section, key->name),
         *value = config_format_value(config, key);
    json_object_set_new(object, name, json_string(value));
    free(name);
    free(value);
}

static bool is_one_of(const ConfigField *field, const char *const *keys) {
    for (; *keys; keys++) {
        size_t length = strlen(field->section);
        if (!strncmp(*keys, field->section, length) && (*keys)[length] == '.' &&
            !strcmp(*keys + length + 1, field->name))
            return true;
    }
    return false;
}

static bool put_described(json_t *object, const char *key, json_t *description) {
    return description && json_object_set_new(object, key, description) == 0;
}

/// A file by its content; of a folder, and of what is not there, its name is all that counts.
static bool put_file(json_t *object, const char *key, const char *path, Error *error) {
    struct stat about;
    if (!path) return true;
    if (stat(path, &about) != 0 || S_ISDIR(about.st_mode))
        return put_described(object, key, json_string(path));
    return put_described(object, key, describe_content(path, error));
}

// ---- trainings

/// What the files say that these name.
static const char *const TRAINING_FILES[] = {"model.sd", "model.vision_tower", "model.llm",
                                             "data.train", NULL};

/// A list by what each element is: its content, its folder and its weight.
static bool put_data(json_t *with, const DatasetFiles *files, Error *error) {
    json_t *list = json_array();
    for (int i = 0; i < files->count; i++) {
        const DatasetFile *file = &files->values[i];
        json_t *element = json_object();
        json_array_append_new(list, element);
        if (!put_file(element, "path", file->path, error)) {
            json_decref(list);
            return false;
        }
        if (!files->is_list) continue;
        if (file->image_folder)
            json_object_set_new(element, "image_folder", json_string(file->image_folder));
        json_object_set_new(element, "weight", json_real(file->weight));
    }
    if (files->is_list) return put_described(with, "data.train", list);
    json_t *path = json_object_get(json_array_get(list, 0), "path");
    const bool ok = !path || json_object_set(with, "data.train", path) == 0;
    json_decref(list);
    return ok;
}

static bool put_training_files(json_t *with, const Config *config, Error *error) {
    const struct {
        const char *key, *path;
    } networks[] = {{"model.sd", config->model.sd},
                    {"model.vision_tower", config->model.vision_tower},
                    {"model.llm", config->model.llm}};
    for (size_t i = 0; i < sizeof networks / sizeof *networks; i++)
        if (networks[i].path &&
            !put_described(with, networks[i].key, describe_network(networks[i].path, error)))
            return false;
    return put_data(with, &config->data.train, error);
}

static bool put_start(json_t *with, const Config *config, const char *after, Error *error) {
    if (after) return put_described(with, "model.adapters", json_string(after));
    if (!config->adapters) return true;
    char *file = trained_weights_resolve(config->adapters, error);
    bool ok = file && put_described(with, "model.adapters", describe_content(file, error));
    free(file);
    return ok || error_context(error, "model.adapters");
}

json_t *sweep_training_identity(const Config *config, const char *after, Error *error) {
    json_t *with = json_object();
    for (int i = 0; i < NUM_CONFIG_FIELDS; i++) {
        const ConfigField *field = &CONFIG_FIELDS[i];
        bool is_off = !strcmp(field->section, "lora") && !config->lora.lora_enable;
        if (field->on_resume != ON_RESUME_MAY_CHANGE && !is_off &&
            !is_one_of(field, TRAINING_FILES))
            put(with, config, i);
    }
    if (put_start(with, config, after, error) && put_training_files(with, config, error))
        return with;
    json_decref(with);
    return NULL;
}

// ---- evaluations

json_t *sweep_asking_identity(const Config *config, const char *trained, Error *error) {
    const Task *task = evaluation_task(config);
    EvaluationOptions options = evaluation_options(config);
    void *data = task->open(&options, error);
    if (!data) return NULL;
    json_t *with = evaluation_asked_of_any(config, task, data, error);
    task->close(data);
    if (!with) return NULL;
    json_object_del(with, "eval.keep");
    json_object_del(with, "eval.layers");
    json_object_del(with, "eval.heads");
    if (trained ? put_described(with, "eval.checkpoint", json_string(trained))
                : evaluation_add_checkpoint(with, config->eval.checkpoint, error))
        return with;
    json_decref(with);
    return NULL;
}

/// Of the section `eval`: where, how fast, and what is in `asked`, or counts by its content.
static const char *const NOT_JUDGED_BY[] = {
    "eval.output_dir", "eval.answers",     "eval.batch_size", "eval.keep",     "eval.checkpoint",
    "eval.prompt",     "eval.annotations", "eval.masks",      "eval.segments", NULL};

json_t *sweep_judging_identity(const Config *config, const json_t *asked, Error *error) {
    json_t *with = json_object();
    for (int i = 0; i < NUM_CONFIG_FIELDS; i++)
        if (!strcmp(CONFIG_FIELDS[i].section, "eval") &&
            !is_one_of(&CONFIG_FIELDS[i], NOT_JUDGED_BY))
            put(with, config, i);
    json_object_set(with, "answers", (json_t *)asked);
    if (put_file(with, "eval.annotations", config->eval.annotations, error) &&
        put_file(with, "eval.masks", config->eval.masks, error) &&
        put_file(with, "eval.segments", config->eval.segments, error))
        return with;
    json_decref(with);
    return NULL;
}
