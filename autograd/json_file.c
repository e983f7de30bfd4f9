#include "autograd/json_file.h"

#include "autograd/file_content.h"
#include "autograd/text/byte_buffer.h"

#include <stdlib.h>
#include <string.h>

/// Far above the largest annotations (COCO's 118,000 images with their masks: 450 MB).
static const size_t LARGEST_FILE = (size_t)8 << 30;

/// The end of the number that begins at text[at], and whether it is an integer of too many digits.
static size_t end_of_number(const char *text, size_t at, size_t length, bool *is_long) {
    const size_t digits = at + (text[at] == '-');
    size_t end = digits;
    while (end < length && text[end] >= '0' && text[end] <= '9') end++;
    *is_long = end - digits > 18 && (end == length || !strchr(".eE", text[end]));
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
