// Single values: from a YAML scalar into the typed field.
#include "autograd/text/utf8.h"
#include "train/config/config_schema.h"

#include "autograd/home_path.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { LONGEST_LIST = 65536 };

static void *field_address(const void *object, const ConfigField *field) {
    return (char *)object + field->offset;
}

bool config_field_may_be_list(const ConfigField *field) {
    return config_field_is_list(field) || field->type == FIELD_DATASET_FILES;
}

bool config_field_is_list(const ConfigField *field) {
    return field->type == FIELD_INT_LIST || field->type == FIELD_STRING_LIST;
}

bool config_refuse_at(ConfigPlace place, Error *error, const char *format, ...) {
    char message[sizeof error->message];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    error_set(error, "%s", message);
    if (place.path) return error_context(error, "%s:%d:%d", place.path, place.line, place.column);
    return error_context(error, "command line");
}

char *config_field_name(const ConfigField *field) {
    return field->section ? format_string("%s.%s", field->section, field->name)
                          : checked_strdup(field->name);
}

static bool refuse_value(const ConfigField *field, const ConfigScalar *scalar, Error *error) {
    char *expected = config_expected(field), *name = config_field_name(field),
         *hint = field->section ? format_string(". 'difflmm config %s' explains it", name)
                                : checked_strdup("");
    const char *kind = scalar->is_plain ? "" : "the string ";
    config_refuse_at(scalar->place, error, "%s is %s'%.200s', expected %s%s", name, kind,
                     scalar->text, expected, hint);
    free(expected);
    free(name);
    free(hint);
    return false;
}

static bool means_null(const ConfigScalar *scalar) {
    return scalar->is_plain &&
           (!*scalar->text || !strcmp(scalar->text, "~") || !strcasecmp(scalar->text, "null"));
}

static bool parse_int(const ConfigField *field, const ConfigScalar *scalar, int64_t *value) {
    if (!scalar->is_plain) return false;
    for (int i = 0; field->names && field->names[i]; i++)
        if (!strcmp(scalar->text, field->names[i])) {
            *value = i;
            return true;
        }
    if (!strchr("+-0123456789", scalar->text[0])) return false;
    char *end;
    errno = 0;
    long long parsed = strtoll(scalar->text, &end, 10);
    if (errno || *end || end == scalar->text) return false;
    if ((double)parsed < field->minimum || (double)parsed > field->maximum) return false;
    *value = parsed;
    return true;
}

/// The ranges of fields that are an int are within it.
static void put_int(void *object, const ConfigField *field, int64_t integer) {
    void *value = field_address(object, field);
    if (field->size == sizeof(int))
        *(int *)value = (int)integer;
    else
        *(int64_t *)value = integer;
}

static bool parse_float(const ConfigField *field, const ConfigScalar *scalar, double *value) {
    // strtod alone would also take hexadecimal, "inf" and "nan".
    const char *digits = "+-.0123456789eE";
    if (!scalar->is_plain || strspn(scalar->text, digits) != strlen(scalar->text)) return false;
    char *end;
    double parsed = strtod(scalar->text, &end);
    if (*end || end == scalar->text || !isfinite(parsed)) return false;
    if (parsed < field->minimum || parsed > field->maximum) return false;
    *value = parsed;
    return true;
}

static bool parse_bool(const ConfigScalar *scalar, bool *value) {
    if (!scalar->is_plain) return false;
    *value = !strcasecmp(scalar->text, "true");
    return *value || !strcasecmp(scalar->text, "false");
}

static bool parse_enum(const ConfigField *field, const ConfigScalar *scalar, int *value) {
    for (int i = 0; field->names[i]; i++)
        if (!strcmp(scalar->text, field->names[i])) {
            *value = i;
            return true;
        }
    return false;
}

const char *config_name_of_text(const ConfigField *field, const char *text) {
    for (int i = 0; field->names && field->names[i]; i++)
        if (!strcasecmp(text, field->names[i])) return field->names[i];
    return NULL;
}

static bool set_text(char **value, const ConfigField *field, const ConfigScalar *scalar,
                     Error *error) {
    const bool is_path = field->type != FIELD_STRING;
    bool is_null = means_null(scalar);
    if (is_null && field->fallback) return refuse_value(field, scalar, error);
    if (!is_utf8(scalar->text, strlen(scalar->text)))
        return config_refuse_at(scalar->place, error, "the value of %s%s%s is not UTF-8",
                                field->section ? field->section : "", field->section ? "." : "",
                                field->name);
    Error reason;
    const char *name = config_name_of_text(field, scalar->text);
    char *text = is_null   ? NULL
                 : is_path ? home_path(scalar->text, &reason)
                           : checked_strdup(name ? name : scalar->text);
    if (text && !is_utf8(text, strlen(text))) {
        error_set(&reason, "%s is not UTF-8, which a configuration is", text);
        free(text);
        text = NULL;
    }
    if (!text && !is_null)
        return config_refuse_at(scalar->place, error, "%s%s%s is '%s': %s",
                                field->section ? field->section : "", field->section ? "." : "",
                                field->name, quote(scalar->text).text, reason.message);
    free(*value);
    *value = text;
    return true;
}

/// One file, or none.
static bool set_file(void *object, const ConfigField *field, const ConfigScalar *scalar,
                     Error *error) {
    char *path = NULL;
    if (!set_text(&path, field, scalar, error)) return false;
    config_free_value(object, field);
    if (path) config_append_file(object, field, scalar->place, NULL)->path = path;
    return true;
}

bool config_set_scalar(void *object, const ConfigField *field, const ConfigScalar *scalar,
                       Error *error) {
    void *value = field_address(object, field);
    int64_t integer;
    bool is_set = false;
    switch (field->type) {
    case FIELD_INT:
        is_set = parse_int(field, scalar, &integer);
        if (is_set) put_int(object, field, integer);
        break;
    case FIELD_FLOAT:
        is_set = parse_float(field, scalar, value);
        if (!is_set && means_null(scalar) && !field->fallback) {
            *(double *)value = NAN;
            is_set = true;
        }
        break;
    case FIELD_BOOL:
        is_set = parse_bool(scalar, value);
        break;
    case FIELD_ENUM:
        is_set = parse_enum(field, scalar, value);
        break;
    case FIELD_STRING:
    case FIELD_PATH:
        return set_text(value, field, scalar, error);
    case FIELD_DATASET_FILES:
        return set_file(object, field, scalar, error);
    case FIELD_INT_LIST:
    case FIELD_STRING_LIST:
        break;
    }
    return is_set || refuse_value(field, scalar, error);
}

bool config_append_to_list(void *object, const ConfigField *field, const ConfigScalar *scalar,
                           Error *error) {
    IntList *integers = field_address(object, field);
    StringList *strings = field_address(object, field);
    int count = field->type == FIELD_INT_LIST ? integers->count : strings->count;
    if (count == LONGEST_LIST)
        return config_refuse_at(scalar->place, error, "%s.%s has more than %d elements",
                                field->section, field->name, LONGEST_LIST);
    if (field->type == FIELD_INT_LIST) {
        int64_t element;
        if (!parse_int(field, scalar, &element)) return refuse_value(field, scalar, error);
        integers->values = checked_realloc(integers->values,
                                           (unsigned long)(count + 1) * sizeof *integers->values);
        integers->values[integers->count++] = (int)element;
        return true;
    }
    if (means_null(scalar) || !is_utf8(scalar->text, strlen(scalar->text)))
        return refuse_value(field, scalar, error);
    strings->values =
        checked_realloc(strings->values, (unsigned long)(count + 1) * sizeof *strings->values);
    strings->values[strings->count++] = checked_strdup(scalar->text);
    return true;
}

void config_empty_list(void *object, const ConfigField *field) { config_free_value(object, field); }

void config_free_value(void *object, const ConfigField *field) {
    void *value = field_address(object, field);
    if (field->type == FIELD_STRING || field->type == FIELD_PATH) {
        free(*(char **)value);
        *(char **)value = NULL;
    } else if (field->type == FIELD_INT_LIST) {
        free(((IntList *)value)->values);
        *(IntList *)value = (IntList){0};
    } else if (field->type == FIELD_STRING_LIST) {
        StringList *strings = value;
        for (int i = 0; i < strings->count; i++) free(strings->values[i]);
        free(strings->values);
        *strings = (StringList){0};
    } else if (field->type == FIELD_DATASET_FILES) {
        config_free_files(value);
    }
}

bool config_field_is_null(const void *object, const ConfigField *field) {
    const void *value = field_address(object, field);
    if (field->type == FIELD_STRING || field->type == FIELD_PATH) return !*(char *const *)value;
    if (field->type == FIELD_DATASET_FILES) return ((const DatasetFiles *)value)->count == 0;
    return field->type == FIELD_FLOAT && isnan(*(const double *)value);
}
