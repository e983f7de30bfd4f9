/// What is in a file of weights or data: `difflmm inspect`.
#pragma once
#include "autograd/error.h"

#include <jansson.h>
#include <stdio.h>

/// Describes a file of any format that is read, or a model directory:
///
///   {"path": ..., "format": "safetensors" | "PyTorch archive" | "PyTorch archive (before 1.6)" |
///   "pickle" | "training checkpoint"
///                           | "model directory",
///    "files": [...],                 of a model directory
///    "metadata": {key: value, ...},  what is there beside tensors
///    "value": ...,                   of a pickle: its outer parts
///    "tensors": [{"name": ..., "type": "F32", "shape": [...], "bytes": ..., "crc32c": "0123abcd",
///    "file": ...}, ...], "total": {"tensors": ..., "elements": ..., "bytes": ...}}
///
/// With checksums every byte is read: "crc32c" is the CRC-32C of a tensor's elements in row-major
/// order, little-endian, so that the same tensor has the same in every format, and the file's own
/// checksums are compared. NULL on failure.
json_t *inspect_path(const char *path, bool checksums, Error *error);

/// The same for people.
void inspection_print(const json_t *inspection, FILE *out);

/// The outer parts of a pickle's value: scalars are themselves, containers {"kind": "a dict",
/// "count": 2, "first": ...} down to a few levels and with their first few items.
struct PickleValue;
json_t *inspect_value(const struct PickleValue *value);
