// Single values: from a YAML scalar into the typed field, and back.
#include "autograd/text/byte_buffer.h"
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

static void *field_address(const Config *config, const ConfigField *field) {
    return (char *)config + field->offset;
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

static bool refuse_value(const ConfigField *field, const ConfigScalar *scalar, Error *error) {
    char *expected = config_expected(field);
    const char *kind = scalar->is_plain ? "" : "the string ";
    config_refuse_at(scalar->place, error,
                     "%s.%s is %s'%.200s', expected %s. 'difflmm config %s.%s' explains it",
                     field->section, field->name, kind, scalar->text, expected, field->section,
                     field->name);
    free(expected);
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

static int64_t get_int(const Config *config, const ConfigField *field) {
    const void *value = field_address(config, field);
    return field->size == sizeof(int) ? *(const int *)value : *(const int64_t *)value;
}

/// The ranges of fields that are an int are within it.
static void put_int(Config *config, const ConfigField *field, int64_t integer) {
    void *value = field_address(config, field);
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

static bool set_text(char **value, const ConfigField *field, const ConfigScalar *scalar,
                     Error *error) {
    bool is_null = means_null(scalar);
    if (is_null && field->fallback) return refuse_value(field, scalar, error);
    if (!is_utf8(scalar->text, strlen(scalar->text)))
        return config_refuse_at(scalar->place, error, "the value of %s.%s is not UTF-8",
                                field->section, field->name);
    Error reason;
    char *text = is_null                     ? NULL
                 : field->type == FIELD_PATH ? home_path(scalar->text, &reason)
                                             : checked_strdup(scalar->text);
    if (text && !is_utf8(text, strlen(text))) {
        error_set(&reason, "%s is not UTF-8, which a configuration is", text);
        free(text);
        text = NULL;
    }
    if (!text && !is_null)
        return config_refuse_at(scalar->place, error, "%s.%s is '%s': %s", field->section,
                                field->name, quote(scalar->text).text, reason.message);
    free(*value);
    *value = text;
    return true;
}

bool config_set_scalar(Config *config, const ConfigField *field, const ConfigScalar *scalar,
                       Error *error) {
    void *value = field_address(config, field);
    int64_t integer;
    bool is_set = false;
    switch (field->type) {
    case FIELD_INT:
        is_set = parse_int(field, scalar, &integer);
        if (is_set) put_int(config, field, integer);
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
    case FIELD_INT_LIST:
    case FIELD_STRING_LIST:
        break;
    }
    return is_set || refuse_value(field, scalar, error);
}

bool config_append_to_list(Config *config, const ConfigField *field, const ConfigScalar *scalar,
                           Error *error) {
    IntList *integers = field_address(config, field);
    StringList *strings = field_address(config, field);
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

void config_empty_list(Config *config, const ConfigField *field) {
    config_free_value(config, field);
}

void config_free_value(Config *config, const ConfigField *field) {
    void *value = field_address(config, field);
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
    }
}

bool config_field_is_null(const Config *config, const ConfigField *field) {
    const void *value = field_address(config, field);
    if (field->type == FIELD_STRING || field->type == FIELD_PATH) return !*(char *const *)value;
    return field->type == FIELD_FLOAT && isnan(*(const double *)value);
}

/// The fewest digits that are read back to the same number.
static char *format_float(double value) {
    for (int digits = 6; digits < 17; digits++) {
        char *text = format_string("%.*g", digits, value);
        if (strtod(text, NULL) == value) return text;
        free(text);
    }
    return format_string("%.17g", value);
}

static bool is_safe_plain(const char *text) {
    if (!*text || !strcasecmp(text, "null") || !strcasecmp(text, "true") ||
        !strcasecmp(text, "false"))
        return false;
    bool starts_well = (text[0] >= 'a' && text[0] <= 'z') || (text[0] >= 'A' && text[0] <= 'Z') ||
                       text[0] == '/' || text[0] == '.';
    return starts_well && strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                       "0123456789_-./") == strlen(text);
}

/// How many bytes of the character at `text` YAML takes only as an escape (controls, line breaks
/// that are no newline, byte-order marks, what Unicode keeps for no character), and its number; 0:
/// it stands for itself.
static int escaped_character(const char *text, unsigned *number) {
    const unsigned char *c = (const unsigned char *)text;
    if (c[0] < 0x20 || c[0] == 0x7f) {
        *number = c[0];
        return 1;
    }
    if (c[0] == 0xc2 && c[1] < 0xa0) {
        *number = c[1];
        return 2;
    }
    if ((c[0] & 0xf0) != 0xe0 || !c[1] || !c[2]) return 0;
    *number = (c[0] & 0xfu) << 12 | (c[1] & 0x3fu) << 6 | (c[2] & 0x3fu);
    const bool is_break = *number == 0x2028 || *number == 0x2029;
    return is_break || *number == 0xfeff || *number == 0xfffe || *number == 0xffff ? 3 : 0;
}

static char *format_text(const char *text) {
    if (is_safe_plain(text)) return checked_strdup(text);
    ByteBuffer quoted = {0};
    byte_buffer_put_byte(&quoted, '"');
    while (*text) {
        unsigned number;
        const int length = escaped_character(text, &number);
        if (length > 0)
            byte_buffer_print(&quoted, length < 3 ? "\\x%02x" : "\\u%04x", number);
        else if (*text == '"' || *text == '\\')
            byte_buffer_print(&quoted, "\\%c", *text);
        else
            byte_buffer_put_byte(&quoted, *text);
        text += length > 0 ? length : 1;
    }
    byte_buffer_put_byte(&quoted, '"');
    return byte_buffer_take(&quoted);
}

static char *format_list(const Config *config, const ConfigField *field) {
    const IntList *integers = field_address(config, field);
    const StringList *strings = field_address(config, field);
    int count = field->type == FIELD_INT_LIST ? integers->count : strings->count;
    char *text = checked_strdup("[");
    for (int i = 0; i < count; i++) {
        char *element = field->type == FIELD_INT_LIST ? format_string("%d", integers->values[i])
                                                      : format_text(strings->values[i]);
        char *longer = format_string("%s%s%s", text, i ? ", " : "", element);
        free(text);
        free(element);
        text = longer;
    }
    char *closed = format_string("%s]", text);
    free(text);
    return closed;
}

static char *format_int(const ConfigField *field, int64_t value) {
    for (int i = 0; field->names && field->names[i]; i++)
        if (i == value) return checked_strdup(field->names[i]);
    return format_string("%lld", (long long)value);
}

char *config_format_value(const Config *config, const ConfigField *field) {
    const void *value = field_address(config, field);
    if (config_field_is_null(config, field)) return checked_strdup("null");
    switch (field->type) {
    case FIELD_INT:
        return format_int(field, get_int(config, field));
    case FIELD_FLOAT:
        return format_float(*(const double *)value);
    case FIELD_BOOL:
        return checked_strdup(*(const bool *)value ? "true" : "false");
    case FIELD_ENUM:
        return checked_strdup(field->names[*(const int *)value]);
    case FIELD_STRING:
    case FIELD_PATH:
        return format_text(*(char *const *)value);
    case FIELD_INT_LIST:
    case FIELD_STRING_LIST:
        break;
    }
    return format_list(config, field);
}
