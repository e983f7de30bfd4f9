/// Stands in for jansson where that is not installed: what reading models' configurations and
/// weights, and the tests of that, use of it, under the same names and with the same ownership. Not
/// for input that nobody vouches for.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

typedef long long json_int_t;
typedef struct json_t json_t;

typedef struct json_error_t {
    int line;
    char text[160];
} json_error_t;

enum {
    JSON_REJECT_DUPLICATES = 1,
    /// values beside objects and arrays at the top
    JSON_DECODE_ANY = 4,
    JSON_COMPACT = 0x20,
    JSON_ENCODE_ANY = 0x200,
};

/// NULL with a message (error may be NULL). Duplicate keys are always refused.
json_t *json_loadb(const char *text, size_t length, size_t flags, json_error_t *error);
json_t *json_loads(const char *text, size_t flags, json_error_t *error);
json_t *json_loadf(FILE *file, size_t flags, json_error_t *error);
json_t *json_load_file(const char *path, size_t flags, json_error_t *error);
/// Compact; the caller frees.
char *json_dumps(const json_t *value, size_t flags);
/// 0, or -1.
int json_dump_file(const json_t *value, const char *path, size_t flags);
/// Values are owned once, by what they are in: only the top is given back. NULL is allowed.
void json_decref(json_t *value);

bool json_is_object(const json_t *value);
bool json_is_array(const json_t *value);
bool json_is_string(const json_t *value);
bool json_is_integer(const json_t *value);
bool json_is_number(const json_t *value);
bool json_is_boolean(const json_t *value);
bool json_is_true(const json_t *value);
bool json_is_null(const json_t *value);

const char *json_string_value(const json_t *value);
json_int_t json_integer_value(const json_t *value);
double json_real_value(const json_t *value);
double json_number_value(const json_t *value);
size_t json_array_size(const json_t *array);
json_t *json_array_get(const json_t *array, size_t index);
size_t json_object_size(const json_t *object);
json_t *json_object_get(const json_t *object, const char *key);
/// Takes the value over.
int json_object_set_new(json_t *object, const char *key, json_t *value);

const char *json_key_at(const json_t *object, size_t index);
json_t *json_value_at(const json_t *object, size_t index);
#define json_object_foreach(object, key, value)                                                  \
    for (size_t json_at = 0;                                                                     \
         json_at < json_object_size(object) &&                                                   \
         ((key) = json_key_at(object, json_at), (value) = json_value_at(object, json_at), true); \
         json_at++)
