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

/// Keys that are as by default are left out: a program that has learned new ones finds again what
/// was done without them.
static bool is_default(SweepKnown *known, const ConfigField *field, const char *value) {
    Error error;
    if (!known->defaults) known->defaults = config_load(NULL, NULL, 0, &error);
    CHECK(known->defaults, "%s", error.message);
    char *usual = config_format_value(known->defaults, field);
    bool same = !strcmp(usual, value);
    free(usual);
    return same;
}

static void put(SweepKnown *known, json_t *object, const Config *config, const ConfigField *field) {
    char *name = format_string("%s.%s", field->section, field->name),
         *value = config_format_value(config, field);
    if (!is_default(known, field, value)) json_object_set_new(object, name, json_string(value));
    free(name);
    free(value);
}

static void leave_out_defaults(SweepKnown *known, json_t *object) {
    for (int i = 0; i < NUM_CONFIG_FIELDS; i++) {
        const ConfigField *field = &CONFIG_FIELDS[i];
        char *name = format_string("%s.%s", field->section, field->name);
        const char *value = json_string_value(json_object_get(object, name));
        if (value && is_default(known, field, value)) json_object_del(object, name);
        free(name);
    }
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

/// describe_content(), once for every path.
static json_t *content_of(SweepKnown *known, const char *path, Error *error) {
    if (!known->files) known->files = json_object();
    json_t *description = json_object_get(known->files, path);
    if (description) return json_incref(description);
    description = describe_content(path, error);
    if (description) json_object_set(known->files, path, description);
    return description;
}

/// A file by its content; of a folder, and of what is not there, its name is all that counts.
static bool put_file(SweepKnown *known, json_t *object, const char *key, const char *path,
                     Error *error) {
    struct stat about;
    if (!path) return true;
    if (stat(path, &about) != 0 || S_ISDIR(about.st_mode))
        return put_described(object, key, json_string(path));
    return put_described(object, key, content_of(known, path, error));
}

static bool put_weights(SweepKnown *known, json_t *object, const char *key, const char *path,
                        Error *error) {
    char *file = trained_weights_resolve(path, error);
    bool ok = file && put_described(object, key, content_of(known, file, error));
    free(file);
    return ok || error_context(error, "%s", key);
}

// ---- trainings

/// What the files say that these name.
static const char *const TRAINING_FILES[] = {"model.sd", "model.vision_tower", "model.llm",
                                             "data.train", NULL};

/// A list by what each element is: its content, its folder and its weight.
static bool put_data(SweepKnown *known, json_t *with, const DatasetFiles *files, Error *error) {
    json_t *list = json_array();
    for (int i = 0; i < files->count; i++) {
        const DatasetFile *file = &files->values[i];
        json_t *element = json_object();
        json_array_append_new(list, element);
        if (!put_file(known, element, "path", file->path, error)) {
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

static bool put_training_files(SweepKnown *known, json_t *with, const Config *config,
                               Error *error) {
    const bool is_llava = config->model.architecture == ADAPTERS_LLAVA; // reads no diffusion model
    const struct {
        const char *key, *path;
    } networks[] = {{"model.sd", is_llava ? NULL : config->model.sd},
                    {"model.vision_tower", config->model.vision_tower},
                    {"model.llm", config->model.llm}};
    for (size_t i = 0; i < sizeof networks / sizeof *networks; i++)
        if (networks[i].path &&
            !put_described(with, networks[i].key, describe_network(networks[i].path, error)))
            return false;
    return put_data(known, with, &config->data.train, error);
}

static bool put_start(SweepKnown *known, json_t *with, const Config *config, const char *after,
                      Error *error) {
    if (after) return put_described(with, "model.adapters", json_string(after));
    return !config->adapters || put_weights(known, with, "model.adapters", config->adapters, error);
}

json_t *sweep_training_identity(SweepKnown *known, const Config *config, const char *after,
                                Error *error) {
    json_t *with = json_object();
    for (int i = 0; i < NUM_CONFIG_FIELDS; i++) {
        const ConfigField *field = &CONFIG_FIELDS[i];
        bool is_off = !strcmp(field->section, "lora") && !config->lora.lora_enable;
        if (field->on_resume != ON_RESUME_MAY_CHANGE && !is_off &&
            !is_one_of(field, TRAINING_FILES))
            put(known, with, config, field);
    }
    if (put_start(known, with, config, after, error) &&
        put_training_files(known, with, config, error))
        return with;
    json_decref(with);
    return NULL;
}

// ---- evaluations

/// What annotations are read by.
static const char *const OPENED_BY[] = {"eval.task",
                                        "eval.annotations",
                                        "eval.masks",
                                        "eval.segments",
                                        "eval.image_folder",
                                        "eval.split",
                                        "eval.sentences",
                                        "eval.samples",
                                        "eval.as_published",
                                        "eval.plurals",
                                        "eval.wordnet",
                                        "eval.meteor",
                                        NULL};

static bool is_opened(const SweepKnown *known, const Config *config) {
    bool same = known->data != NULL;
    for (const char *const *key = OPENED_BY; same && *key; key++) {
        const ConfigField *field = &CONFIG_FIELDS[config_find_key(*key)];
        char *then = config_format_value(known->config, field),
             *now = config_format_value(config, field);
        same = !strcmp(then, now);
        free(then);
        free(now);
    }
    return same;
}

static void close_annotations(SweepKnown *known) {
    if (known->data) evaluation_task(known->config)->close(known->data);
    config_free(known->config);
    known->config = NULL;
    known->data = NULL;
}

/// Cells that follow each other mostly have the same.
static const void *open_annotations(SweepKnown *known, const Config *config, Error *error) {
    if (is_opened(known, config)) return known->data;
    close_annotations(known);
    known->config = sweep_copy_config(config); // the options refer to it
    EvaluationOptions options = evaluation_options(known->config);
    known->data = evaluation_task(config)->open(&options, error);
    return known->data;
}

void sweep_known_free(SweepKnown *known) {
    close_annotations(known);
    config_free(known->defaults);
    json_decref(known->files);
}

static bool put_checkpoint(SweepKnown *known, json_t *with, const Config *config,
                           const char *trained, Error *error) {
    static const char KEY[] = "eval.checkpoint";
    if (trained) return put_described(with, KEY, json_string(trained));
    if (!config->eval.checkpoint) return put_described(with, KEY, json_string("untrained"));
    return put_weights(known, with, KEY, config->eval.checkpoint, error);
}

json_t *sweep_asking_identity(SweepKnown *known, const Config *config, const char *trained,
                              Error *error) {
    const void *data = open_annotations(known, config, error);
    json_t *with =
        data ? evaluation_asked_of_any(config, evaluation_task(config), data, error) : NULL;
    if (!with) return NULL;
    json_object_del(with, "eval.keep");
    json_object_del(with, "eval.layers");
    json_object_del(with, "eval.heads");
    leave_out_defaults(known, with);
    if (put_checkpoint(known, with, config, trained, error)) return with;
    json_decref(with);
    return NULL;
}

/// Of the section `eval`: where, how fast, and what is in `asked`, or counts by its content.
static const char *const NOT_JUDGED_BY[] = {
    "eval.output_dir", "eval.answers",     "eval.batch_size", "eval.keep",     "eval.checkpoint",
    "eval.prompt",     "eval.annotations", "eval.masks",      "eval.segments", NULL};

json_t *sweep_judging_identity(SweepKnown *known, const Config *config, const json_t *asked,
                               Error *error) {
    json_t *with = json_object();
    for (int i = 0; i < NUM_CONFIG_FIELDS; i++)
        if (!strcmp(CONFIG_FIELDS[i].section, "eval") &&
            !is_one_of(&CONFIG_FIELDS[i], NOT_JUDGED_BY))
            put(known, with, config, &CONFIG_FIELDS[i]);
    json_object_set(with, "answers", (json_t *)asked);
    if (put_file(known, with, "eval.annotations", config->eval.annotations, error) &&
        put_file(known, with, "eval.masks", config->eval.masks, error) &&
        put_file(known, with, "eval.segments", config->eval.segments, error))
        return with;
    json_decref(with);
    return NULL;
}
