// Single values as the YAML that is read back to the same.
#include "autograd/text/byte_buffer.h"
#include "train/config/config_schema.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const void *field_address(const void *object, const ConfigField *field) {
    return (const char *)object + field->offset;
}

static int64_t get_int(const void *object, const ConfigField *field) {
    const void *value = field_address(object, field);
    return field->size == sizeof(int) ? *(const int *)value : *(const int64_t *)value;
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

static char *format_list(const void *object, const ConfigField *field) {
    const IntList *integers = field_address(object, field);
    const StringList *strings = field_address(object, field);
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

char *config_format_value(const void *object, const ConfigField *field) {
    const void *value = field_address(object, field);
    if (config_field_is_null(object, field)) return checked_strdup("null");
    switch (field->type) {
    case FIELD_INT:
        return format_int(field, get_int(object, field));
    case FIELD_FLOAT:
        return format_float(*(const double *)value);
    case FIELD_BOOL:
        return checked_strdup(*(const bool *)value ? "true" : "false");
    case FIELD_ENUM:
        return checked_strdup(field->names[*(const int *)value]);
    case FIELD_STRING:
    case FIELD_PATH: {
        const char *text = *(char *const *)value, *name = config_name_of_text(field, text);
        return name ? checked_strdup(name) : format_text(text);
    }
    case FIELD_DATASET_FILES:
        return config_format_files(value);
    case FIELD_INT_LIST:
    case FIELD_STRING_LIST:
        break;
    }
    return format_list(object, field);
}
