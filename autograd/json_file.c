#include "autograd/json_file.h"

#include "autograd/file_content.h"

#include <stdlib.h>

/// Far above the largest annotations (COCO's 118,000 images with their masks: 450 MB).
static const size_t LARGEST_FILE = (size_t)8 << 30;

json_t *json_file_read(const char *path, size_t flags, Error *error) {
    char *text;
    size_t length = 0;
    json_error_t where;
    if (!file_read_text(path, LARGEST_FILE, &text, &length, error)) return NULL;
    json_t *value = json_loadb(text, length, flags, &where);
    free(text);
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
