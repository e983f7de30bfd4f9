// From the text of an argument to the member of a command's structure.
#include "train/arguments_value.h"

#include "autograd/text/byte_buffer.h"
#include "autograd/text/utf8.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static void *member_of(const Argument *row, void *into) { return (char *)into + row->offset; }

static bool is_list(const Argument *row) {
    return row->kind == ARGUMENT_SETTINGS || (row->rules & ARGUMENT_REPEATABLE);
}

void argument_set_flag(const Argument *row, void *into) { *(bool *)member_of(row, into) = true; }

// ---- texts

static void append(ArgumentList *list, const char *value) {
    list->values =
        checked_realloc(list->values, ((unsigned long)list->count + 1) * sizeof *list->values);
    list->values[list->count++] = value;
}

static bool check_utf8(const Argument *row, const char *value, Error *error) {
    if (is_utf8(value, strlen(value))) return true;
    char *shown = utf8_escape(value);
    error_set(error, "%s is not UTF-8, which the model's text is: '%.200s'", row->name, shown);
    free(shown);
    return false;
}

void arguments_free(const CommandLine *line, void *into) {
    for (const Argument *row = line->arguments; row->name; row++) {
        if (!is_list(row)) continue;
        ArgumentList *list = member_of(row, into);
        free(list->values);
        *list = (ArgumentList){0};
    }
}

// ---- numbers and names

/// strtod() alone would also take hexadecimal, "inf" and "nan", and both take white space.
static bool has_only(const char *text, const char *characters) {
    return *text && strspn(text, characters) == strlen(text);
}

static bool parse_integer(const Argument *row, const char *text, int64_t *value) {
    char *end;
    if (!has_only(text, "+-0123456789")) return false;
    errno = 0;
    const long long parsed = strtoll(text, &end, 10);
    if (*end || end == text || errno) return false;
    *value = parsed;
    return (double)parsed >= row->minimum && (double)parsed <= row->maximum;
}

static bool parse_number(const Argument *row, const char *text, double *value) {
    char *end;
    if (!has_only(text, "+-.0123456789eE")) return false;
    *value = strtod(text, &end);
    return !*end && end != text && isfinite(*value) && *value >= row->minimum &&
           *value <= row->maximum;
}

static bool parse_name(const Argument *row, const char *text, int *value) {
    for (*value = 0; row->names[*value]; ++*value)
        if (!strcmp(text, row->names[*value])) return true;
    return false;
}

static void expect_range(ByteBuffer *words, const Argument *row) {
    const bool has_least = isfinite(row->minimum), has_most = isfinite(row->maximum);
    byte_buffer_put_text(words, row->kind == ARGUMENT_INTEGER ? "an integer" : "a number");
    if (has_least && has_most)
        byte_buffer_print(words, " from %.10g to %.10g", row->minimum, row->maximum);
    else if (has_least)
        byte_buffer_print(words, " of at least %.10g", row->minimum);
    else if (has_most)
        byte_buffer_print(words, " of at most %.10g", row->maximum);
}

static void expect_names(ByteBuffer *words, const Argument *row) {
    for (const char *const *name = row->names; *name; name++)
        byte_buffer_print(words, "%s%s", name == row->names ? "" : name[1] ? ", " : " or ", *name);
}

static bool refuse(const Argument *row, const char *text, Error *error) {
    ByteBuffer words = {0};
    if (row->kind == ARGUMENT_NAME)
        expect_names(&words, row);
    else
        expect_range(&words, row);
    error_set(error, "%s needs %s, not '%s'", row->name, words.data, text);
    byte_buffer_free(&words);
    return false;
}

bool argument_store(const Argument *row, int index, const char *value, void *into, Error *error) {
    void *member = member_of(row, into);
    bool is_right = true;
    switch (row->kind) {
    case ARGUMENT_INTEGER:
        is_right = parse_integer(row, value, (int64_t *)member + index);
        break;
    case ARGUMENT_NUMBER:
        is_right = parse_number(row, value, (double *)member + index);
        break;
    case ARGUMENT_NAME:
        is_right = parse_name(row, value, (int *)member + index);
        break;
    case ARGUMENT_FLAG:
        CHECK(false, "%s: a flag has no value", row->name);
    case ARGUMENT_TEXT:
        if (!check_utf8(row, value, error)) return false;
        // fall through
    case ARGUMENT_PATH:
    case ARGUMENT_SETTINGS:
        if (is_list(row))
            append(member, value);
        else
            ((const char **)member)[index] = value;
        break;
    }
    return is_right || refuse(row, value, error);
}
