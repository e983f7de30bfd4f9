#include "autograd/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool error_set(Error *error, const char *format, ...) {
    if (!error) return false;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(error->message, sizeof error->message, format, arguments);
    va_end(arguments);
    error->is_configuration = false;
    return false;
}

bool error_context(Error *error, const char *format, ...) {
    if (!error) return false;
    char context[sizeof error->message];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(context, sizeof context, format, arguments);
    va_end(arguments);
    size_t used = strnlen(context, sizeof context - 3);
    memcpy(context + used, ": ", 2);
    used += 2;
    size_t room = sizeof context - 1 - used, length_kept = strnlen(error->message, room);
    memcpy(context + used, error->message, length_kept);
    context[used + length_kept] = 0;
    memcpy(error->message, context, sizeof context);
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

static void *or_stop(void *pointer, unsigned long bytes) {
    if (pointer || bytes == 0) return pointer;
    fprintf(stderr, "out of memory: %lu bytes were asked for\n", bytes);
    exit(1);
}

void *checked_malloc(unsigned long bytes) { return or_stop(malloc(bytes), bytes); }

void *checked_calloc(unsigned long count, unsigned long bytes) {
    return or_stop(calloc(count, bytes), count * bytes);
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
