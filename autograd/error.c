#include "autograd/error.h"

#include "autograd/text/utf8.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// ---- text that may be anything

/// Where the character at text[at] ends, at most `end`; a byte that belongs to none counts by
/// itself.
static size_t next_character(const char *text, size_t at, size_t end) {
    const size_t length = utf8_character_length(text + at, end - at);
    return at + (length ? length : 1);
}

/// Writes one character, or a byte that belongs to none, as far as `room` bytes and a zero allow:
/// as an escape if no terminal shows it. Returns the bytes written.
static size_t put_character(char *to, size_t room, const char *from, size_t length) {
    char escaped[12];
    if (!utf8_printable_length(from, length)) {
        const unsigned char *c = (const unsigned char *)from;
        length =
            (size_t)(*c == '\n'   ? snprintf(escaped, sizeof escaped, "\\n")
                     : *c == '\t' ? snprintf(escaped, sizeof escaped, "\\t")
                     : length > 1 ? snprintf(escaped, sizeof escaped, "\\x%02x\\x%02x", *c, c[1])
                                  : snprintf(escaped, sizeof escaped, "\\x%02x", *c));
        from = escaped;
    }
    if (length > room) return 0;
    memcpy(to, from, length);
    return length;
}

Quoted quote(const char *text) {
    enum { KEPT = 80 };
    Quoted quoted = {""};
    size_t used = 0, at = 0, length = text ? strlen(text) : 0;
    while (at < length && used < KEPT) {
        size_t next = next_character(text, at, length);
        used +=
            put_character(quoted.text + used, sizeof quoted.text - 8 - used, text + at, next - at);
        at = next;
    }
    memcpy(quoted.text + used, at < length ? "..." : "", at < length ? 4 : 1);
    return quoted;
}

/// Copies `text` into a message as one line without endless words. A word's middle is left out
/// between characters.
static void copy_readable(char *to, size_t size, const char *text) {
    enum { LONGEST_WORD = 240, BEGINNING = 100, END = 40 };
    size_t used = 0, length = strlen(text);
    to[0] = 0;
    for (size_t at = 0; at < length;) {
        const size_t word = strcspn(text + at, " "), end = at + word, begin = at;
        while (at < end || (at < length && text[at] == ' ')) {
            const size_t next = next_character(text, at, length);
            const size_t put = put_character(to + used, size - 1 - used, text + at, next - at);
            used += put;
            to[used] = 0;
            if (!put) return; // the message is full
            at = next;
            if (word > LONGEST_WORD && at >= begin + BEGINNING && at < end - END) {
                used += put_character(to + used, size - 1 - used, "...", 3);
                at = end - END;
                while (((unsigned char)text[at] & 0xc0) == 0x80) at++;
            }
        }
    }
}

// ---- errors

static void set_message(Error *error, const char *format, va_list arguments)
    __attribute__((format(printf, 2, 0)));
static void set_message(Error *error, const char *format, va_list arguments) {
    char *whole = NULL;
    if (vasprintf(&whole, format, arguments) < 0) whole = NULL;
    copy_readable(error->message, sizeof error->message, whole ? whole : format);
    free(whole);
}

bool error_set(Error *error, const char *format, ...) {
    if (!error) return false;
    va_list arguments;
    va_start(arguments, format);
    set_message(error, format, arguments);
    va_end(arguments);
    error->is_configuration = error->is_stop = false;
    return false;
}

/// Whether the message says first what the context would say: "a.json:12: ..." in the context of
/// a.json, or "model/a.json: ..." in that of the folder model.
static bool is_said(const char *context, const char *message) {
    const size_t length = strlen(context);
    return length && strncmp(message, context, length) == 0 && strchr(":/", message[length]) &&
           message[length];
}

bool error_context(Error *error, const char *format, ...) {
    if (!error) return false;
    Error context, whole;
    va_list arguments;
    va_start(arguments, format);
    set_message(&context, format, arguments);
    va_end(arguments);
    if (is_said(context.message, error->message)) return false;
    const bool is_configuration = error->is_configuration, is_stop = error->is_stop;
    error_set(&whole, "%s: %s", context.message, error->message);
    *error = whole;
    error->is_configuration = is_configuration;
    error->is_stop = is_stop;
    return false;
}

void check_failed(const char *file, int line, const char *condition, const char *format, ...) {
    fprintf(stderr, "%s:%d: internal error, '%s' does not hold: ", file, line, condition);
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    abort();
}

void stop_program(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    fflush(NULL);
    _Exit(1);
}

static void *or_stop(void *pointer, unsigned long bytes) {
    if (!pointer && bytes > 0) stop_program("out of memory: %lu bytes were asked for", bytes);
    return pointer;
}

void *checked_malloc(unsigned long bytes) { return or_stop(malloc(bytes), bytes); }

void *checked_calloc(unsigned long count, unsigned long bytes) {
    unsigned long all;
    if (__builtin_mul_overflow(count, bytes, &all))
        stop_program("out of memory: %lu times %lu bytes were asked for", count, bytes);
    return or_stop(calloc(count, bytes), all);
}

void *checked_realloc(void *pointer, unsigned long bytes) {
    return or_stop(realloc(pointer, bytes), bytes);
}

char *checked_strdup(const char *text) { return or_stop(strdup(text), strlen(text) + 1); }

char *format_string(const char *format, ...) {
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    int length = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    char *text = checked_malloc((unsigned long)length + 1);
    vsnprintf(text, (size_t)length + 1, format, again);
    va_end(again);
    return text;
}
