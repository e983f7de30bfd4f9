/// Files that the world is written in.
#pragma once
#include "autograd/error.h"
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/// Each writes one file, flushed to the disk, and reports what could not be written and why.
bool write_bytes(const char *path, const void *bytes, uint64_t count, Error *error);
/// Takes the reference to `value`.
bool write_json(const char *path, json_t *value, Error *error);
/// rgb: [height, width, 3].
bool write_jpeg(const char *path, const uint8_t *rgb, int width, int height, int quality,
                Error *error);
bool write_png(const char *path, const uint8_t *rgb, int width, int height, Error *error);

bool make_folder(const char *path, Error *error);
/// Removes a folder and all that it contains; what is not there is no error.
void remove_folder(const char *path);

/// A Python pickle (protocol 2) of a JSON value: dicts, lists, strings, integers below 2^31, true, false.
/// The caller frees *bytes.
void pickle_json(const json_t *value, uint8_t **bytes, uint64_t *count);

/// A COCO mask [height, width] of 0 and 1 as uncompressed RLE: {"size": [h, w], "counts": [...]} in column order.
json_t *mask_to_rle(const uint8_t *mask, int height, int width);
/// The same with counts in COCO's compressed string.
json_t *mask_to_compressed_rle(const uint8_t *mask, int height, int width);
/// [x, y, width, height] of the pixels set.
json_t *mask_to_bbox(const uint8_t *mask, int height, int width);
