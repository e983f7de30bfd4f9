#include "data/json_values.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

Quoted json_shown(const json_t *value) {
    enum { SHOWN = JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(15) };
    char *text = value ? json_dumps(value, SHOWN) : NULL;
    Quoted quoted = quote(text ? text : "missing");
    free(text);
    return quoted;
}

bool json_whole_number(const json_t *value, int64_t *number) {
    const double real = json_is_real(value) ? json_real_value(value) : 0.5;
    if (json_is_integer(value))
        *number = json_integer_value(value);
    else if (fabs(real) < 0x1p53 && real == floor(real))
        *number = (int64_t)real;
    else
        return false;
    return true;
}

char *json_id(const json_t *value) {
    int64_t number;
    if (json_is_string(value)) return checked_strdup(json_string_value(value));
    return json_whole_number(value, &number) ? format_string("%lld", (long long)number) : NULL;
}

bool json_remember_id(json_t *dictionary, const char *id, int index) {
    if (json_object_get(dictionary, id)) return false;
    json_object_set_new(dictionary, id, json_integer(index));
    return true;
}

int json_find_id(const json_t *dictionary, const json_t *value) {
    char *id = json_id(value);
    const json_t *index = id ? json_object_get(dictionary, id) : NULL;
    free(id);
    return index ? (int)json_integer_value(index) : -1;
}

bool json_find_list(const json_t *object, const char *key, const json_t **list, Error *error) {
    *list = json_object_get(object, key);
    return !*list || json_is_array(*list) ||
           error_set(error, "\"%s\" is %s; expected a list", key, json_shown(*list).text);
}

json_t *json_published_id(const char *id) {
    size_t digits = strspn(id, "0123456789"), length = strlen(id);
    bool is_number = digits == length && length > 0 && length < 19 && (id[0] != '0' || length == 1);
    return is_number ? json_integer(strtoll(id, NULL, 10)) : json_string(id);
}

const char *json_find_text(const json_t *object, const char *key, Error *error) {
    const json_t *value = json_object_get(object, key);
    const char *text = json_string_value(value);
    if (text && *text) return text;
    error_set(error, "\"%s\" is %s; expected a text", key, json_shown(value).text);
    return NULL;
}
