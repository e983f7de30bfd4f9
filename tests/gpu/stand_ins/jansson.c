// A recursive-descent reader of JSON [RFC 8259] into a tree, and a writer.
#include "jansson.h"

#include "autograd/error.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_DEPTH = 256 };

typedef enum Kind { OBJECT, ARRAY, STRING, INTEGER, REAL, TRUE, FALSE, NOTHING } Kind;

struct json_t {
    Kind kind;
    char *string;
    json_int_t integer;
    double real;
    /// of an object's or array's items
    size_t count;
    /// NULL in an array
    char **keys;
    json_t **items;
};

typedef struct Reader {
    const char *at, *end;
    int line, depth;
    json_error_t *error;
    bool failed;
} Reader;

static void *fail(Reader *reader, const char *what) {
    if (!reader->failed && reader->error) {
        reader->error->line = reader->line;
        snprintf(reader->error->text, sizeof reader->error->text, "%s", what);
    }
    reader->failed = true;
    return NULL;
}

static json_t *value_new(Kind kind) {
    json_t *value = checked_calloc(1, sizeof *value);
    value->kind = kind;
    return value;
}

static void append(json_t *container, char *key, json_t *item) {
    size_t bytes = (container->count + 1) * sizeof(void *);
    container->items = checked_realloc(container->items, bytes);
    container->items[container->count] = item;
    if (key) {
        container->keys = checked_realloc(container->keys, bytes);
        container->keys[container->count] = key;
    }
    container->count++;
}

// ---- reading

static void skip_space(Reader *reader) {
    for (; reader->at < reader->end && strchr(" \t\r\n", *reader->at) && *reader->at; reader->at++)
        reader->line += *reader->at == '\n';
}

static bool take(Reader *reader, char expected) {
    skip_space(reader);
    if (reader->at == reader->end || *reader->at != expected) return false;
    reader->at++;
    return true;
}

static bool take_word(Reader *reader, const char *word) {
    size_t length = strlen(word);
    if ((size_t)(reader->end - reader->at) < length || memcmp(reader->at, word, length) != 0)
        return false;
    reader->at += length;
    return true;
}

/// Four hexadecimal digits; -1 if they are not.
static long take_hex(Reader *reader) {
    long code = 0;
    for (int i = 0; i < 4; i++, reader->at++) {
        static const char digits[] = "0123456789abcdef";
        char c = reader->at < reader->end ? *reader->at : 0;
        if (c >= 'A' && c <= 'F') c = (char)(c - 'A' + 'a');
        const char *digit = c ? strchr(digits, c) : NULL;
        if (!digit) return -1;
        code = code * 16 + (digit - digits);
    }
    return code;
}

static char *put_utf8(char *to, long code) {
    if (code < 0x80) {
        *to++ = (char)code;
    } else if (code < 0x800) {
        *to++ = (char)(0xc0 | code >> 6);
        *to++ = (char)(0x80 | (code & 0x3f));
    } else {
        if (code < 0x10000) {
            *to++ = (char)(0xe0 | code >> 12);
        } else {
            *to++ = (char)(0xf0 | code >> 18);
            *to++ = (char)(0x80 | (code >> 12 & 0x3f));
        }
        *to++ = (char)(0x80 | (code >> 6 & 0x3f));
        *to++ = (char)(0x80 | (code & 0x3f));
    }
    return to;
}

/// What follows a backslash; NULL if nothing is meant by it. An escape is never shorter than what
/// it stands for.
static char *read_escape(Reader *reader, char *to) {
    static const char letters[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
    char letter = reader->at < reader->end ? *reader->at++ : 0;
    const char *simple = letter ? strchr(letters, letter) : NULL;
    if (simple) {
        *to++ = meanings[simple - letters];
        return to;
    }
    if (letter != 'u') return NULL;
    long code = take_hex(reader);
    if (code >= 0xd800 && code < 0xdc00 && take_word(reader, "\\u")) {
        long low = take_hex(reader);
        if (low < 0xdc00 || low > 0xdfff) return NULL;
        code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
    }
    return code > 0 ? put_utf8(to, code) : NULL;
}

/// After the opening quote.
static char *read_string(Reader *reader) {
    const char *close = reader->at;
    while (close < reader->end && *close != '"') close += *close == '\\' ? 2 : 1;
    if (close >= reader->end) return fail(reader, "a string has no end");
    char *text = checked_malloc((size_t)(close - reader->at) + 1), *to = text;
    while (to && reader->at < close) {
        if (*reader->at == '\\') {
            reader->at++;
            to = read_escape(reader, to);
        } else if ((unsigned char)*reader->at < 0x20) {
            to = NULL;
        } else {
            *to++ = *reader->at++;
        }
    }
    if (!to) {
        free(text);
        return fail(reader, "a string has an escape or a character that JSON does not have");
    }
    *to = '\0';
    reader->at = close + 1;
    return text;
}

static json_t *read_number(Reader *reader) {
    char text[64];
    size_t length = 0;
    const char *from = reader->at;
    while (from + length < reader->end && length < sizeof text - 1 &&
           strchr("+-0123456789.eE", from[length]) && from[length])
        length++;
    memcpy(text, from, length);
    text[length] = '\0';
    reader->at += length;
    json_t *value = value_new(strpbrk(text, ".eE") ? REAL : INTEGER);
    char *end = text;
    errno = 0;
    if (value->kind == INTEGER)
        value->integer = strtoll(text, &end, 10);
    else
        value->real = strtod(text, &end);
    if (length > 0 && !*end && errno == 0 && text[0] != '+') return value;
    json_decref(value);
    return fail(reader, "neither a value nor a number that fits");
}

static json_t *read_value(Reader *reader);

/// After the opening bracket.
static json_t *read_container(Reader *reader, Kind kind, char close) {
    json_t *container = value_new(kind);
    if (reader->depth++ > MAX_DEPTH) fail(reader, "too many brackets inside one another");
    bool first = true;
    while (!reader->failed && !take(reader, close)) {
        char *key = NULL;
        if (!first && !take(reader, ',')) fail(reader, "expected ',' or the closing bracket");
        first = false;
        if (!reader->failed && kind == OBJECT) {
            key = take(reader, '"') ? read_string(reader) : fail(reader, "expected a key");
            if (key && !take(reader, ':')) fail(reader, "expected ':' after a key");
            if (key && json_object_get(container, key)) fail(reader, "duplicate object key");
        }
        json_t *item = reader->failed ? NULL : read_value(reader);
        if (item)
            append(container, key, item);
        else
            free(key);
    }
    reader->depth--;
    if (!reader->failed) return container;
    json_decref(container);
    return NULL;
}

static json_t *read_value(Reader *reader) {
    if (take(reader, '{')) return read_container(reader, OBJECT, '}');
    if (take(reader, '[')) return read_container(reader, ARRAY, ']');
    if (take(reader, '"')) {
        char *string = read_string(reader);
        if (!string) return NULL;
        json_t *value = value_new(STRING);
        value->string = string;
        return value;
    }
    if (take_word(reader, "true")) return value_new(TRUE);
    if (take_word(reader, "false")) return value_new(FALSE);
    if (take_word(reader, "null")) return value_new(NOTHING);
    return read_number(reader);
}

json_t *json_loadb(const char *text, size_t length, size_t flags, json_error_t *error) {
    Reader reader = {text, text + length, 1, 0, error, false};
    json_t *value = read_value(&reader);
    skip_space(&reader);
    if (value && reader.at != reader.end) fail(&reader, "end of file expected");
    if (value && !(flags & JSON_DECODE_ANY) && value->kind > ARRAY)
        fail(&reader, "'[' or '{' expected");
    if (!reader.failed) return value;
    json_decref(value);
    return NULL;
}

json_t *json_loads(const char *text, size_t flags, json_error_t *error) {
    return json_loadb(text, strlen(text), flags, error);
}

json_t *json_loadf(FILE *file, size_t flags, json_error_t *error) {
    size_t length = 0, capacity = 1 << 12;
    char *text = checked_malloc(capacity);
    for (size_t got; (got = fread(text + length, 1, capacity - length, file)) > 0;) {
        length += got;
        if (length == capacity) text = checked_realloc(text, capacity *= 2);
    }
    json_t *value = json_loadb(text, length, flags, error);
    free(text);
    return value;
}

json_t *json_load_file(const char *path, size_t flags, json_error_t *error) {
    FILE *file = fopen(path, "rb");
    if (!file) {
        if (error) *error = (json_error_t){-1, "unable to open the file"};
        return NULL;
    }
    json_t *value = json_loadf(file, flags, error);
    fclose(file);
    return value;
}

// ---- writing

static void write_string(FILE *to, const char *text) {
    fputc('"', to);
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\')
            fprintf(to, "\\%c", c);
        else if (c < 0x20)
            fprintf(to, "\\u%04x", c);
        else
            fputc(c, to);
    }
    fputc('"', to);
}

static void write_value(FILE *to, const json_t *value) {
    static const char *const words[] = {[TRUE] = "true", [FALSE] = "false", [NOTHING] = "null"};
    char number[40];
    switch (value->kind) {
    case OBJECT:
    case ARRAY:
        fputc(value->kind == OBJECT ? '{' : '[', to);
        for (size_t i = 0; i < value->count; i++) {
            if (i) fputc(',', to);
            if (value->keys) write_string(to, value->keys[i]);
            if (value->keys) fputc(':', to);
            write_value(to, value->items[i]);
        }
        fputc(value->kind == OBJECT ? '}' : ']', to);
        break;
    case STRING:
        write_string(to, value->string);
        break;
    case INTEGER:
        fprintf(to, "%lld", value->integer);
        break;
    case REAL:
        snprintf(number, sizeof number, "%.17g", value->real);
        fprintf(to, "%s%s", number, strpbrk(number, ".e") ? "" : ".0");
        break;
    default:
        fputs(words[value->kind], to);
    }
}

char *json_dumps(const json_t *value, size_t flags) {
    (void)flags;
    char *text = NULL;
    size_t length = 0;
    FILE *to = open_memstream(&text, &length);
    write_value(to, value);
    fclose(to);
    return text;
}

int json_dump_file(const json_t *value, const char *path, size_t flags) {
    (void)flags;
    FILE *to = fopen(path, "wb");
    if (!to) return -1;
    write_value(to, value);
    return fclose(to) ? -1 : 0;
}

void json_decref(json_t *value) {
    if (!value) return;
    for (size_t i = 0; i < value->count; i++) {
        if (value->keys) free(value->keys[i]);
        json_decref(value->items[i]);
    }
    free(value->keys);
    free(value->items);
    free(value->string);
    free(value);
}

// ---- looking

static bool is(const json_t *value, Kind kind) { return value && value->kind == kind; }

bool json_is_object(const json_t *value) { return is(value, OBJECT); }
bool json_is_array(const json_t *value) { return is(value, ARRAY); }
bool json_is_string(const json_t *value) { return is(value, STRING); }
bool json_is_integer(const json_t *value) { return is(value, INTEGER); }
bool json_is_number(const json_t *value) { return is(value, INTEGER) || is(value, REAL); }
bool json_is_boolean(const json_t *value) { return is(value, TRUE) || is(value, FALSE); }
bool json_is_true(const json_t *value) { return is(value, TRUE); }
bool json_is_null(const json_t *value) { return is(value, NOTHING); }

const char *json_string_value(const json_t *value) {
    return is(value, STRING) ? value->string : NULL;
}
json_int_t json_integer_value(const json_t *value) {
    return is(value, INTEGER) ? value->integer : 0;
}
double json_real_value(const json_t *value) { return is(value, REAL) ? value->real : 0; }
double json_number_value(const json_t *value) {
    return is(value, INTEGER) ? (double)value->integer : json_real_value(value);
}

size_t json_array_size(const json_t *array) { return is(array, ARRAY) ? array->count : 0; }

json_t *json_array_get(const json_t *array, size_t index) {
    return index < json_array_size(array) ? array->items[index] : NULL;
}

size_t json_object_size(const json_t *object) { return is(object, OBJECT) ? object->count : 0; }

static size_t position(const json_t *object, const char *key) {
    size_t at = 0;
    while (at < json_object_size(object) && strcmp(object->keys[at], key) != 0) at++;
    return at;
}

json_t *json_object_get(const json_t *object, const char *key) {
    size_t at = position(object, key);
    return at < json_object_size(object) ? object->items[at] : NULL;
}

int json_object_set_new(json_t *object, const char *key, json_t *value) {
    size_t at = position(object, key);
    if (at == json_object_size(object)) {
        append(object, checked_strdup(key), value);
    } else {
        json_decref(object->items[at]);
        object->items[at] = value;
    }
    return 0;
}

const char *json_key_at(const json_t *object, size_t index) { return object->keys[index]; }
json_t *json_value_at(const json_t *object, size_t index) { return object->items[index]; }
