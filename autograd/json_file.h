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
