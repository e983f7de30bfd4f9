#include "train/config/config.h"

#include "autograd/output/output_file.h"
#include "train/config/config_schema.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/// Defaults are written in the schema as YAML and read by the same code as everything else.
static void set_default(Config *config, const ConfigField *field) {
    Error error = {0};
    bool is_set = true;
    if (config_field_is_list(field)) {
        is_set = config_read_value(config, field, field->fallback, &error);
    } else {
        const char *text = field->fallback ? field->fallback : "null";
        size_t length = strlen(text);
        bool is_quoted = text[0] == '"';
        char *bare =
            is_quoted ? format_string("%.*s", (int)length - 2, text + 1) : checked_strdup(text);
        ConfigScalar scalar = {.text = bare, .is_plain = !is_quoted, .place = {0}};
        is_set = config_set_scalar(config, field, &scalar, &error);
        free(bare);
    }
    CHECK(is_set, "the default of %s.%s: %s", field->section, field->name, error.message);
}

/// What may be a list and begins and ends like one is one.
static bool is_written_as_list(const ConfigField *field, const char *text) {
    size_t length = strlen(text);
    return config_field_is_list(field) ||
           (config_field_may_be_list(field) && text[0] == '[' && text[length - 1] == ']');
}

static bool apply_override(Config *config, const char *text, Error *error) {
    const ConfigPlace command_line = {0};
    const char *equals = strchr(text, '=');
    if (!equals || equals == text)
        return config_refuse_at(command_line, error,
                                "'%.200s' is not of the form section.key=value", text);
    char *key = format_string("%.*s", (int)(equals - text), text);
    int index = config_find_key(key);
    bool is_set = false;
    if (index < 0) {
        char *suggestion = config_suggest(NULL, key);
        config_refuse_at(command_line, error, "unknown key '%.100s': %s", key, suggestion);
        free(suggestion);
    } else if (is_written_as_list(&CONFIG_FIELDS[index], equals + 1)) {
        is_set = config_read_value(config, &CONFIG_FIELDS[index], equals + 1, error) ||
                 error_context(error, "'%.200s'", text);
    } else {
        ConfigScalar scalar = {.text = equals + 1, .is_plain = true, .place = command_line};
        is_set = config_set_scalar(config, &CONFIG_FIELDS[index], &scalar, error);
    }
    if (is_set) config->origins[index] = (ConfigOrigin){ORIGIN_COMMAND_LINE, 0, 0};
    free(key);
    return is_set;
}

static void resolve_folders(DatasetFiles *files, const char *folder) {
    for (int i = 0; folder && i < files->count; i++)
        if (!files->values[i].image_folder) files->values[i].image_folder = checked_strdup(folder);
}

/// Keys whose default is another key's value.
static void resolve(Config *config) {
    if (isnan(config->training.mm_projector_lr))
        config->training.mm_projector_lr = config->training.learning_rate;
    if (!config->data.eval_image_folder && config->data.image_folder)
        config->data.eval_image_folder = checked_strdup(config->data.image_folder);
    resolve_folders(&config->data.train, config->data.image_folder);
    resolve_folders(&config->data.eval, config->data.eval_image_folder);
}

/// What no single value can tell.
static bool check(const Config *config, Error *error) {
    for (int i = 0; i < config->data.eval.count; i++) {
        const DatasetFile *file = &config->data.eval.values[i];
        if (file->weight != 1)
            return config_refuse(config, "data.eval", error,
                                 "%s has the weight %g; held-out data is measured once, as a "
                                 "whole: expected no weights",
                                 file->path, file->weight);
    }
    if (config->data.feature_folder && !config->data.cache_features)
        return config_refuse(config, "data.feature_folder", error,
                             "keeps what data.cache_features computes, which is false: set that to "
                             "true as well, or this to null");
    return true;
}

static Config *new_config(const char *path) {
    Config *config = checked_calloc(1, sizeof *config);
    config->path = path ? checked_strdup(path) : NULL;
    config->origins = checked_calloc((unsigned long)NUM_CONFIG_FIELDS, sizeof *config->origins);
    for (int i = 0; i < NUM_CONFIG_FIELDS; i++) set_default(config, &CONFIG_FIELDS[i]);
    return config;
}

/// After the file, if that could be read. Frees the configuration on failure.
static Config *finish(Config *config, bool is_loaded, const char *const *overrides,
                      int num_overrides, Error *error) {
    for (int i = 0; is_loaded && i < num_overrides; i++)
        is_loaded = apply_override(config, overrides[i], error);
    if (is_loaded) resolve(config);
    if (is_loaded && check(config, error)) return config;
    config_free(config);
    return NULL;
}

Config *config_load(const char *path, const char *const *overrides, int num_overrides,
                    Error *error) {
    Config *config = new_config(path);
    bool is_loaded = !path || config_read_file(config, path, error);
    return finish(config, is_loaded, overrides, num_overrides, error);
}

Config *config_load_text(const char *text, const char *path, const char *const *overrides,
                         int num_overrides, Error *error) {
    Config *config = new_config(path);
    bool is_loaded = config_read_text(config, path, text, strlen(text), error);
    return finish(config, is_loaded, overrides, num_overrides, error);
}

void config_free(Config *config) {
    if (!config) return;
    for (int i = 0; i < NUM_CONFIG_FIELDS; i++) config_free_value(config, &CONFIG_FIELDS[i]);
    free(config->path);
    free(config->origins);
    free(config);
}

static bool require_key(const Config *config, const char *key, Error *error) {
    int index = config_find_key(key);
    CHECK(index >= 0, "config_require: '%s' is not a key", key);
    const ConfigField *field = &CONFIG_FIELDS[index];
    if (!config_field_is_null(config, field)) return true;
    const char *where = config->path ? config->path : "command line";
    return error_set(error,
                     "%s: %s is missing: %s. Set it in section '%s' of the file or as %s=VALUE on "
                     "the command line",
                     where, key, field->doc, field->section, key);
}

bool config_require(const Config *config, Error *error, ...) {
    va_list keys;
    va_start(keys, error);
    bool has_all = true;
    const char *key;
    while (has_all && (key = va_arg(keys, const char *))) has_all = require_key(config, key, error);
    va_end(keys);
    return has_all;
}

bool config_require_data(const Config *config, Error *error) {
    bool has_folders = true;
    for (int i = 0; i < config->data.train.count; i++)
        has_folders = has_folders && config->data.train.values[i].image_folder;
    return config_require(config, error, "data.train", NULL) &&
           (has_folders || config_require(config, error, "data.image_folder", NULL));
}

bool config_require_model(const Config *config, Error *error) {
    if (config->model.architecture == ADAPTERS_DIFFLMM &&
        !config_require(config, error, "model.sd", NULL))
        return false;
    if (config->model.architecture == ADAPTERS_LLAVA &&
        config->data.image_normalization == IMAGE_NORMALIZATION_CLIP_TWICE)
        return config_refuse(
            config, "data.image_normalization", error,
            "clip_twice is what DiffLMM's published code does; with "
            "model.architecture: llava pictures are normalised once, as half says");
    return config_require(config, error, "model.vision_tower", "model.llm", NULL);
}

bool config_refuse(const Config *config, const char *key, Error *error, const char *format, ...) {
    int index = config_find_key(key);
    CHECK(index >= 0, "config_refuse: '%s' is not a key", key);
    char message[sizeof error->message];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    error_set(error, "%s", message);
    if (error) error->is_configuration = true;
    ConfigOrigin origin = config->origins[index];
    if (origin.kind == ORIGIN_FILE)
        return error_context(error, "%s:%d:%d: %s", config->path, origin.line, origin.column, key);
    const char *where = origin.kind == ORIGIN_DEFAULT ? "default" : "command line";
    return error_context(error, "%s: %s", where, key);
}

bool config_save(const Config *config, const char *path, Error *error) {
    char *yaml = config_to_yaml(config);
    bool is_saved = output_whole_file(path, yaml, strlen(yaml), error);
    free(yaml);
    return is_saved;
}
