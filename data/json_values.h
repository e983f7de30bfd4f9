/// Single values of a JSON file of annotations: how they are understood, and how they stand in
/// messages.
///
/// Ids are numbers in one data set and strings in the next, so they are kept and looked up as text:
/// 42, 42.0 and "42" are the same id.
#pragma once
#include "autograd/json_file.h"

#include <stdint.h>

/// A value as it stands in the file, for messages: cut where it is long. NULL: "missing".
Quoted json_shown(const json_t *value);

/// A whole number; 128.0 is one, as what pandas has touched writes it. False for anything else.
bool json_whole_number(const json_t *value, int64_t *number);

/// The id that a value is; NULL if it is none. The caller frees it.
char *json_id(const json_t *value);
/// Puts id -> index into a JSON object used as a dictionary; false if the id is there already.
bool json_remember_id(json_t *dictionary, const char *id, int index);
/// What was remembered of the id that a value is; -1 for none.
int json_find_id(const json_t *dictionary, const json_t *value);

/// The list under that key of an object. An absent one is NULL, which jansson counts as empty; what
/// is no list is an error.
bool json_find_list(const json_t *object, const char *key, const json_t **list, Error *error);

/// The text under that key of an object, which keeps it; NULL, with the error, for anything else
/// and for an empty one.
const char *json_find_text(const json_t *object, const char *key, Error *error);

/// An id as the published files write it: a number where it is one, else a string. The caller has
/// the reference.
json_t *json_published_id(const char *id);
