/// Files that the world is written in.
#pragma once
#include "autograd/error.h"
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/// Writes a JSON file, whole or not at all. Takes the reference to `value`.
bool write_json(const char *path, json_t *value, Error *error);

bool make_folder(const char *path, Error *error);
/// Removes a folder and all that it contains; what is not there is no error.
void remove_folder(const char *path);

/// A Python pickle (protocol 2) of a JSON value: dicts, lists, strings, integers below 2^31, true,
/// false. The caller frees *bytes.
void pickle_json(const json_t *value, uint8_t **bytes, uint64_t *count);

/// A bitmap [height, width] (nonzero: inside) as COCO's uncompressed RLE: {"size": [h, w],
/// "counts": [...]}.
json_t *mask_to_rle(const uint8_t *bitmap, int height, int width);
/// The same with counts in COCO's compressed string.
json_t *mask_to_compressed_rle(const uint8_t *bitmap, int height, int width);
/// Its bounding box [x, y, width, height].
json_t *mask_to_bbox(const uint8_t *bitmap, int height, int width);
