#include "checkpoints/model_config.h"

#include "autograd/json_file.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct ModelConfig {
    char *path;
    json_t *root;
};

ModelConfig *model_config_open(const char *path, Error *error) {
    json_t *root = json_file_read_object(path, JSON_REJECT_DUPLICATES, error);
    if (!root) return NULL;
    ModelConfig *config = checked_calloc(1, sizeof *config);
    config->path = checked_strdup(path);
    config->root = root;
    return config;
}

ModelConfig *model_config_empty(const char *path) {
    ModelConfig *config = checked_calloc(1, sizeof *config);
    config->path = checked_strdup(path);
    config->root = json_loads("{}", 0, NULL);
    return config;
}

void model_config_close(ModelConfig *config) {
    if (!config) return;
    json_decref(config->root);
    free(config->path);
    free(config);
}

const char *model_config_path(const ModelConfig *config) { return config->path; }

/// The key's value, or NULL if it is absent or null.
static const json_t *find(const ModelConfig *config, const char *key) {
    const json_t *value = config->root;
    while (value && *key) {
        size_t length = strcspn(key, ".");
        char *part = format_string("%.*s", (int)length, key);
        value = json_object_get(value, part);
        free(part);
        key += length + (key[length] == '.');
    }
    return json_is_null(value) ? NULL : value;
}

bool model_config_has(const ModelConfig *config, const char *key) {
    return find(config, key) != NULL;
}

bool model_config_has_object(const ModelConfig *config, const char *key) {
    return json_is_object(find(config, key));
}

/// Fills the error for a key that is absent or has another type or value than wanted.
static bool refuse(const ModelConfig *config, const char *key, const json_t *value,
                   const char *expected, Error *error) {
    if (!value)
        return error_set(error, "%s: key '%s' is missing: expected %s", config->path, key,
                         expected);
    char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
    error_set(error, "%s: key '%s' is %.200s: expected %s", config->path, key, text ? text : "?",
              expected);
    free(text);
    return false;
}

bool model_config_unsupported(const ModelConfig *config, const char *key, const char *expected,
                              Error *error) {
    return refuse(config, key, find(config, key), expected, error);
}

bool model_config_int(const ModelConfig *config, const char *key, int64_t *value, Error *error) {
    const json_t *found = find(config, key);
    if (!json_is_integer(found)) return refuse(config, key, found, "an integer", error);
    *value = json_integer_value(found);
    return true;
}

bool model_config_float(const ModelConfig *config, const char *key, double *value, Error *error) {
    const json_t *found = find(config, key);
    if (!json_is_number(found)) return refuse(config, key, found, "a number", error);
    *value = json_number_value(found);
    return true;
}

bool model_config_bool(const ModelConfig *config, const char *key, bool *value, Error *error) {
    const json_t *found = find(config, key);
    if (!json_is_boolean(found)) return refuse(config, key, found, "true or false", error);
    *value = json_is_true(found);
    return true;
}

bool model_config_string(const ModelConfig *config, const char *key, const char **value,
                         Error *error) {
    const json_t *found = find(config, key);
    if (!json_is_string(found)) return refuse(config, key, found, "a string", error);
    *value = json_string_value(found);
    return true;
}

bool model_config_int_list(const ModelConfig *config, const char *key, int capacity,
                           int64_t *values, int *count, Error *error) {
    const json_t *found = find(config, key);
    if (json_is_integer(found) && capacity > 0) {
        values[0] = json_integer_value(found);
        *count = 1;
        return true;
    }
    bool valid = json_is_array(found) && json_array_size(found) <= (size_t)capacity;
    for (size_t i = 0; valid && i < json_array_size(found); i++) {
        const json_t *item = json_array_get(found, i);
        valid = json_is_integer(item);
        values[i] = json_integer_value(item);
    }
    if (valid) {
        *count = (int)json_array_size(found);
        return true;
    }
    char expected[64];
    snprintf(expected, sizeof expected, "a list of at most %d integers", capacity);
    return refuse(config, key, found, expected, error);
}

bool model_config_float_list(const ModelConfig *config, const char *key, int capacity,
                             double *values, int *count, Error *error) {
    const json_t *found = find(config, key);
    bool valid = json_is_array(found) && json_array_size(found) <= (size_t)capacity;
    for (size_t i = 0; valid && i < json_array_size(found); i++) {
        const json_t *item = json_array_get(found, i);
        valid = json_is_number(item);
        values[i] = json_number_value(item);
    }
    if (valid) {
        *count = (int)json_array_size(found);
        return true;
    }
    char expected[64];
    snprintf(expected, sizeof expected, "a list of at most %d numbers", capacity);
    return refuse(config, key, found, expected, error);
}

bool model_config_string_list(const ModelConfig *config, const char *key, int capacity,
                              const char **values, int *count, Error *error) {
    const json_t *found = find(config, key);
    bool valid = json_is_array(found) && json_array_size(found) <= (size_t)capacity;
    for (size_t i = 0; valid && i < json_array_size(found); i++) {
        const json_t *item = json_array_get(found, i);
        valid = json_is_string(item);
        values[i] = json_string_value(item);
    }
    if (valid) {
        *count = (int)json_array_size(found);
        return true;
    }
    char expected[64];
    snprintf(expected, sizeof expected, "a list of at most %d strings", capacity);
    return refuse(config, key, found, expected, error);
}

bool model_config_int_or(const ModelConfig *config, const char *key, int64_t fallback,
                         int64_t *value, Error *error) {
    *value = fallback;
    return !model_config_has(config, key) || model_config_int(config, key, value, error);
}

bool model_config_float_or(const ModelConfig *config, const char *key, double fallback,
                           double *value, Error *error) {
    *value = fallback;
    return !model_config_has(config, key) || model_config_float(config, key, value, error);
}

bool model_config_bool_or(const ModelConfig *config, const char *key, bool fallback, bool *value,
                          Error *error) {
    *value = fallback;
    return !model_config_has(config, key) || model_config_bool(config, key, value, error);
}

bool model_config_string_or(const ModelConfig *config, const char *key, const char *fallback,
                            const char **value, Error *error) {
    *value = fallback;
    return !model_config_has(config, key) || model_config_string(config, key, value, error);
}
