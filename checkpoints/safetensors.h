/// safetensors files: an 8-byte little-endian header size, a JSON header, then the tensors' bytes without gaps.
///
/// Reading maps the file: opening a model of many gigabytes costs nothing until its weights are touched. A file is not
/// trusted: header size and syntax, types, shapes, offsets, overlaps, gaps and duplicate names are checked on opening,
/// and every message begins with the file's name.
#pragma once
#include "autograd/error.h"

#include <stddef.h>
#include <stdint.h>

typedef enum ElementType {
    ELEMENT_BOOL,
    ELEMENT_U8,
    ELEMENT_I8,
    ELEMENT_F8_E4M3,
    ELEMENT_F8_E5M2,
    ELEMENT_I16,
    ELEMENT_U16,
    ELEMENT_F16,
    ELEMENT_BF16,
    ELEMENT_I32,
    ELEMENT_U32,
    ELEMENT_F32,
    ELEMENT_I64,
    ELEMENT_U64,
    ELEMENT_F64,
    ELEMENT_TYPE_COUNT,
} ElementType;

enum { SAFETENSORS_MAX_RANK = 8 };

/// Bytes of one element.
size_t element_size(ElementType type);
/// The format's name: "F32", "BF16", ...
const char *element_name(ElementType type);

/// One stored tensor. `data` points into the mapping, lives as long as the file stays open, is read-only, and is aligned
/// to its type only if `aligned` says so (writers pad the header to 8 bytes, but the format does not require it).
typedef struct SafetensorsEntry {
    const char *name;
    ElementType type;
    int rank;
    int64_t shape[SAFETENSORS_MAX_RANK];
    int64_t numel;
    const void *data;
    size_t bytes;
    bool aligned;
} SafetensorsEntry;

typedef struct SafetensorsFile SafetensorsFile;

/// Maps `path` and reads its header. NULL on failure.
SafetensorsFile *safetensors_open(const char *path, Error *error);
void safetensors_close(SafetensorsFile *file);
const char *safetensors_path(const SafetensorsFile *file);

/// Tensors in the order in which their data lie in the file.
int64_t safetensors_count(const SafetensorsFile *file);
const SafetensorsEntry *safetensors_entry(const SafetensorsFile *file, int64_t index);
/// The tensor of that name, or NULL.
const SafetensorsEntry *safetensors_find(const SafetensorsFile *file, const char *name);
/// A value of `__metadata__`, or NULL. Owned by the file.
const char *safetensors_metadata(const SafetensorsFile *file, const char *key);

/// Converts all elements to float32 (exact for F16, BF16, F32; rounded for F64 and wide integers). `out` holds
/// entry->numel floats. Fails for 8-bit floats, which no supported model uses.
bool safetensors_read_float32(const SafetensorsEntry *entry, float *out, Error *error);
/// The same to bfloat16 bit patterns, rounded to nearest even.
bool safetensors_read_bfloat16(const SafetensorsEntry *entry, uint16_t *out, Error *error);

/// A tensor to write; the memory stays the caller's.
typedef struct SafetensorsTensor {
    const char *name;
    ElementType type;
    int rank;
    const int64_t *shape;
    const void *data;
} SafetensorsTensor;

typedef struct SafetensorsMetadata {
    const char *key;
    const char *value;
} SafetensorsMetadata;

/// Writes a file that Hugging Face's reader accepts; it appears whole or not at all. Names must differ.
bool safetensors_write(const char *path, const SafetensorsTensor *tensors, int64_t count,
                       const SafetensorsMetadata *metadata, int64_t metadata_count, Error *error);

/// "[2, 3, 4]" into a buffer; returns the buffer.
const char *safetensors_shape_text(int rank, const int64_t *shape, char *buffer, size_t size);
