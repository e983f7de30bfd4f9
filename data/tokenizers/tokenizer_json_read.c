#include "data/tokenizers/tokenizer_json_read.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool reader_refuse(const Reader *reader, const char *key, const json_t *value,
                   const char *expected) {
    char *written = value ? json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT) : NULL;
    const bool is_long = written && strlen(written) > 160;
    error_set(reader->error, "%s: %s is %.160s%s; expected %s", reader->path, key,
              written ? written : "missing", is_long ? "..." : "", expected);
    free(written);
    return false;
}

bool reader_knows(const Reader *reader, const char *key, const json_t *object, ...) {
    if (!json_is_object(object)) return reader_refuse(reader, key, object, "an object");
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)object, name, value) {
        va_list known;
        va_start(known, object);
        const char *one;
        while ((one = va_arg(known, const char *)) && strcmp(one, name) != 0) continue;
        va_end(known);
        if (one) continue;
        char path[256];
        snprintf(path, sizeof path, "%s.%s", key, name);
        return reader_refuse(reader, path, value, "no such key: what it asks for is not supported");
    }
    return true;
}

const char *reader_type(const json_t *object) {
    const char *type = json_string_value(json_object_get(object, "type"));
    return type ? type : "";
}

bool reader_string(const Reader *reader, const char *key, const json_t *object, const char *name,
                   bool may_be_empty, char **result) {
    const json_t *value = json_object_get(object, name);
    const char *text = json_string_value(value);
    if (text && (*text || may_be_empty)) {
        *result = checked_strdup(text);
        return true;
    }
    char path[256];
    snprintf(path, sizeof path, "%s.%s", key, name);
    return reader_refuse(reader, path, value, "a string");
}

bool reader_bool(const Reader *reader, const char *key, const json_t *object, const char *name,
                 bool otherwise, bool *result) {
    const json_t *value = json_object_get(object, name);
    *result = value && !json_is_null(value) ? json_is_true(value) : otherwise;
    if (!value || json_is_null(value) || json_is_boolean(value)) return true;
    char path[256];
    snprintf(path, sizeof path, "%s.%s", key, name);
    return reader_refuse(reader, path, value, "true or false");
}

static bool read_nested(Reader *reader, const char *key, const json_t *value, const char *list,
                        ReadStep *read, int depth) {
    if (strcmp(reader_type(value), "Sequence") != 0) return read(reader, key, value);
    if (depth == MAX_STEPS)
        return error_set(reader->error, "%s: %s is nested too deeply", reader->path, key);
    if (!reader_knows(reader, key, value, "type", list, NULL)) return false;
    const json_t *steps = json_object_get(value, list);
    char path[256];
    snprintf(path, sizeof path, "%s.%s", key, list);
    if (!json_is_array(steps)) return reader_refuse(reader, path, steps, "a list");
    for (size_t i = 0; i < json_array_size(steps); i++) {
        snprintf(path, sizeof path, "%s.%s[%zu]", key, list, i);
        if (!read_nested(reader, path, json_array_get(steps, i), list, read, depth + 1))
            return false;
    }
    return true;
}

bool reader_steps(Reader *reader, const char *key, const json_t *value, const char *list,
                  ReadStep *read) {
    return !value || json_is_null(value) || read_nested(reader, key, value, list, read, 0);
}
