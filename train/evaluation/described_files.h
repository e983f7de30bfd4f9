/// Files as records of what something depends on describe them.
#pragma once
#include "autograd/error.h"

#include <jansson.h>

/// By content: "1234 bytes with CRC-32C 0123abcd". Of a folder, that of the weight files in it.
/// NULL on failure.
json_t *describe_content(const char *path, Error *error);

/// A frozen network: the last part of its path, and how many bytes of weights it has. (Reading
/// gigabytes for a checksum would cost more than it tells.) NULL on failure.
json_t *describe_network(const char *path, Error *error);
