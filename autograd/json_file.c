#include "autograd/json_file.h"

#include "autograd/file_content.h"
#include "autograd/text/byte_buffer.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/// Far above the largest annotations (COCO's 118,000 images with their masks: 450 MB).
static const size_t LARGEST_FILE = (size_t)8 << 30;

/// The end of the number that begins at text[at], and whether it is an integer of too many digits.
static size_t end_of_number(const char *text, size_t at, size_t length, bool *is_long) {
    const size_t digits = at + (text[at] == '-');
    size_t end = digits;
    while (end < length && text[end] >= '0' && text[end] <= '9') end++;
    const size_t end_of_integer = end;
    while (end < length && text[end] && strchr("0123456789.eE+-", text[end])) end++;
    *is_long = end_of_integer - digits > 18 && end == end_of_integer;
    return end > at ? end : at + 1;
}

/// Copies a text with quotes around its long integers.
static void quote_long_integers(const char *text, size_t length, ByteBuffer *out) {
    size_t copied = 0;
    bool in_string = false;
    for (size_t at = 0, end; at < length; at = end) {
        bool is_long = false;
        end = at + 1;
        if (in_string && text[at] == '\\')
            end++;
        else if (text[at] == '"')
            in_string = !in_string;
        else if (!in_string && (text[at] == '-' || (text[at] >= '0' && text[at] <= '9')))
            end = end_of_number(text, at, length, &is_long);
        if (!is_long) continue;
        byte_buffer_put(out, text + copied, at - copied);
        byte_buffer_print(out, "\"%.*s\"", (int)(end - at), text + at);
        copied = end;
    }
    byte_buffer_put(out, text + copied, length - copied);
}

json_t *json_file_read(const char *path, size_t flags, Error *error) {
    char *text;
    size_t length = 0;
    json_error_t where;
    ByteBuffer quoted = {0};
    if (!file_read_text(path, LARGEST_FILE, &text, &length, error)) return NULL;
    quote_long_integers(text, length, &quoted);
    free(text);
    json_t *value = json_loadb(quoted.data, quoted.size, flags, &where);
    byte_buffer_free(&quoted);
    if (!value) error_set(error, "%s:%d: not valid JSON: %s", path, where.line, where.text);
    return value;
}

json_t *json_file_read_object(const char *path, size_t flags, Error *error) {
    json_t *value = json_file_read(path, flags, error);
    if (!value || json_is_object(value)) return value;
    json_decref(value);
    error_set(error, "%s: expected a JSON object at the top level", path);
    return NULL;
}

// ---- one element or member at a time

typedef struct JsonWalk {
    const char *path, *text;
    size_t length, at;
    /// bit i: the list i of those that are asked for was met
    uint64_t met;
    Error *error;
} JsonWalk;

static int line_at(const JsonWalk *walk, size_t at) {
    int line = 1;
    for (size_t i = 0; i < at; i++) line += walk->text[i] == '\n';
    return line;
}

static bool not_valid(const JsonWalk *walk, const char *what) {
    return error_set(walk->error, "%s:%d: not valid JSON: %s", walk->path, line_at(walk, walk->at),
                     what);
}

/// The next character that is no blank, which is not passed over; 0 at the end.
static char next_character(JsonWalk *walk) {
    while (walk->at < walk->length && strchr(" \t\r\n", walk->text[walk->at])) walk->at++;
    return walk->at < walk->length ? walk->text[walk->at] : '\0';
}

static bool take(JsonWalk *walk, char character) {
    if (next_character(walk) != character) return false;
    walk->at++;
    return true;
}

static bool skip_string(JsonWalk *walk) {
    for (walk->at++; walk->at < walk->length; walk->at++) {
        if (walk->text[walk->at] == '\\')
            walk->at++;
        else if (walk->text[walk->at] == '"')
            return walk->at++, true;
    }
    walk->at = walk->length;
    return not_valid(walk, "a string does not end");
}

/// Passes over a value by its strings and brackets.
static bool skip_value(JsonWalk *walk) {
    const size_t start = walk->at;
    for (size_t depth = 0; walk->at < walk->length;) {
        const char c = walk->text[walk->at];
        if (!depth && strchr(",]}: \t\r\n", c)) break;
        if (c == '"') {
            if (!skip_string(walk)) return false;
        } else {
            depth += c == '[' || c == '{';
            depth -= c == ']' || c == '}';
            walk->at++;
        }
        if (!depth && strchr("\"]}", c)) break;
    }
    return walk->at > start || not_valid(walk, "a value is missing");
}

/// The value that begins here, to be released by the caller.
static json_t *take_value(JsonWalk *walk) {
    next_character(walk);
    const size_t start = walk->at;
    json_error_t where;
    ByteBuffer quoted = {0};
    if (!skip_value(walk)) return NULL;
    quote_long_integers(walk->text + start, walk->at - start, &quoted);
    json_t *value = json_loadb(quoted.data, quoted.size, JSON_DECODE_ANY, &where);
    byte_buffer_free(&quoted);
    if (!value)
        error_set(walk->error, "%s:%d: not valid JSON: %s", walk->path,
                  line_at(walk, start) + where.line - 1, where.text);
    return value;
}

static bool walk_list(JsonWalk *walk, const JsonList *list, void *context) {
    if (!take(walk, '[')) {
        json_t *value = take_value(walk);
        char *text = value ? json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT) : NULL;
        if (text)
            error_set(walk->error, "%s: \"%s\" is %s; expected a list", walk->path,
                      quote(list->key).text, quote(text).text);
        free(text);
        json_decref(value);
        return false;
    }
    if (take(walk, ']')) return true;
    for (size_t number = 0;; number++) {
        json_t *element = take_value(walk);
        bool ok = element && (list->use(context, element, number, walk->error) ||
                              error_context(walk->error, "%s", walk->path));
        json_decref(element);
        if (!ok) return false;
        if (take(walk, ']')) return true;
        if (!take(walk, ',')) return not_valid(walk, "',' or ']' expected");
    }
}

/// What is read of the object: some of its lists, or every member.
typedef struct JsonReading {
    const JsonList *lists;
    int num_lists;
    /// NULL: the lists
    JsonMemberFunction *use;
    void *context;
} JsonReading;

/// The reader is behind the key.
static bool walk_value(JsonWalk *walk, const JsonReading *reading, const char *key) {
    int list = 0;
    if (!take(walk, ':')) return not_valid(walk, "':' expected");
    if (reading->use) {
        json_t *value = take_value(walk);
        bool ok = value && (reading->use(reading->context, key, value, walk->error) ||
                            error_context(walk->error, "%s", walk->path));
        json_decref(value);
        return ok;
    }
    while (list < reading->num_lists && strcmp(key, reading->lists[list].key) != 0) list++;
    if (list < reading->num_lists) {
        if (walk->met >> list & 1)
            return error_set(walk->error, "%s: the key \"%s\" occurs twice", walk->path,
                             quote(key).text);
        walk->met |= (uint64_t)1 << list;
        return walk_list(walk, &reading->lists[list], reading->context);
    }
    next_character(walk);
    return skip_value(walk);
}

static bool walk_member(JsonWalk *walk, const JsonReading *reading) {
    if (next_character(walk) != '"') return not_valid(walk, "a string expected");
    json_t *key = take_value(walk);
    bool ok = key && walk_value(walk, reading, json_string_value(key));
    json_decref(key);
    return ok;
}

static bool walk_object(JsonWalk *walk, const JsonReading *reading) {
    if (!take(walk, '{'))
        return error_set(walk->error, "%s: expected an object at the top level", walk->path);
    bool ok = take(walk, '}');
    while (!ok) {
        if (!walk_member(walk, reading)) return false;
        ok = take(walk, '}');
        if (!ok && !take(walk, ',')) return not_valid(walk, "',' or '}' expected");
    }
    return !next_character(walk) || not_valid(walk, "end of file expected");
}

static bool walk_file(const char *path, const JsonReading *reading, Error *error) {
    char *text;
    JsonWalk walk = {.path = path, .error = error};
    if (!file_read_text(path, LARGEST_FILE, &text, &walk.length, error)) return false;
    walk.text = text;
    bool ok = walk_object(&walk, reading);
    free(text);
    return ok;
}

bool json_file_read_lists(const char *path, const JsonList *lists, int num_lists, void *context,
                          Error *error) {
    CHECK(num_lists <= 64, "%d lists", num_lists);
    const JsonReading reading = {.lists = lists, .num_lists = num_lists, .context = context};
    return walk_file(path, &reading, error);
}

bool json_file_read_members(const char *path, JsonMemberFunction *use, void *context,
                            Error *error) {
    const JsonReading reading = {.use = use, .context = context};
    return walk_file(path, &reading, error);
}
