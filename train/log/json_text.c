#include "train/log/json_text.h"

#include "autograd/text/utf8.h"

#include <stdlib.h>

json_t *json_text(const char *text) {
    char *escaped = utf8_escape(text);
    json_t *string = json_string(escaped);
    free(escaped);
    return string;
}

void json_set_outside(json_t *object, const char *name, json_t *value) {
    char *escaped = utf8_escape(name);
    json_object_set_new(object, escaped, value);
    free(escaped);
}
