/// Whole JSON files, of any room.
#pragma once
#include "autograd/error.h"

#include <jansson.h>

/// The file's value, decoded with these flags of jansson's; NULL, with the file and the line, on
/// failure. A byte-order mark is passed over, and an integer of more than 18 digits, for which
/// jansson would refuse the file, becomes a string of its digits: ids may have as many, and what is
/// no id is refused where it is used. The caller has the reference.
json_t *json_file_read(const char *path, size_t flags, Error *error);
/// The same for a file whose value must be an object.
json_t *json_file_read_object(const char *path, size_t flags, Error *error);

/// What is done with a member of a large file's object: called with each element of its list, in
/// order, `number` from 0 on. False, with the error, ends the reading.
typedef bool JsonElementFunction(void *context, const json_t *element, size_t number, Error *error);
typedef struct JsonList {
    const char *key;
    JsonElementFunction *use;
} JsonList;

/// Called with each member of a large file's object, in the file's order. False, with the error,
/// ends the reading.
typedef bool JsonMemberFunction(void *context, const char *key, const json_t *value, Error *error);
/// Reads a file whose value is an object, its members one at a time: memory is the file's size and
/// one member. Whether a key occurs twice is the caller's to see. The message names the file.
bool json_file_read_members(const char *path, JsonMemberFunction *use, void *context, Error *error);

/// Reads a file whose value is an object, the elements of these of its lists one at a time: memory
/// is the file's size and one element, whatever the file's values would take. Lists that are absent
/// are passed over, as are other members, of which only strings and brackets are looked at; a list
/// that occurs twice is an error. At most 64 lists. The message names the file.
bool json_file_read_lists(const char *path, const JsonList *lists, int num_lists, void *context,
                          Error *error);
