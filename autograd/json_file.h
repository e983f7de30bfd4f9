/// Whole JSON files, of any room.
#pragma once
#include "autograd/error.h"

#include <jansson.h>

/// The file's value, decoded with these flags of jansson's; NULL, with the file and the line, on failure. A byte-order mark is passed
/// over. The caller has the reference.
json_t *json_file_read(const char *path, size_t flags, Error *error);
/// The same for a file of records with ids: an integer of more than 18 digits, which jansson would refuse, becomes a string of its
/// digits.
json_t *json_file_read_long_ids(const char *path, Error *error);
/// The same for a file whose value must be an object.
json_t *json_file_read_object(const char *path, size_t flags, Error *error);
