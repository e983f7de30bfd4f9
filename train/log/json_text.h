/// JSON of text that comes from outside: paths, arguments, names of machines and in files may be
/// any bytes, but JSON is UTF-8.
#pragma once
#include <jansson.h>

/// The text as a JSON string, bytes that are not UTF-8 as "\xNN".
json_t *json_text(const char *text);
/// Sets a member whose name is from outside, escaped likewise, and takes ownership of the value.
void json_set_outside(json_t *object, const char *name, json_t *value);
