/// safetensors files: an 8-byte little-endian header size, a JSON header, then the tensors' bytes
/// without gaps.
///
/// Reading maps the file: opening a model of many gigabytes costs nothing until its weights are
/// touched. A file is not trusted: header size and syntax, types, shapes, offsets, overlaps, gaps
/// and duplicate names are checked on opening, and every message begins with the file's name.
#pragma once
#include "checkpoints/stored_tensor.h"

typedef struct SafetensorsFile SafetensorsFile;

/// Maps `path` and reads its header. NULL on failure.
SafetensorsFile *safetensors_open(const char *path, Error *error);
void safetensors_close(SafetensorsFile *file);
const char *safetensors_path(const SafetensorsFile *file);

/// Tensors in the order in which their data lie in the file.
int64_t safetensors_count(const SafetensorsFile *file);
const StoredTensor *safetensors_entry(const SafetensorsFile *file, int64_t index);
/// The tensor of that name, or NULL.
const StoredTensor *safetensors_find(const SafetensorsFile *file, const char *name);
/// The values of `__metadata__` one by one, owned by the file, `index` counting from 0: the key, or
/// NULL behind the last. Values that are not text, which the format does not have, are NULL.
const char *safetensors_metadata_key(const SafetensorsFile *file, int64_t index,
                                     const char **value);

/// A tensor to write; the memory stays the caller's.
typedef struct SafetensorsTensor {
    const char *name;
    ElementType type;
    int rank;
    const int64_t *shape;
    const void *data;
} SafetensorsTensor;

struct OutputFile; // autograd/output/output_file.h

typedef struct SafetensorsMetadata {
    const char *key;
    const char *value;
} SafetensorsMetadata;

/// Writes a file that Hugging Face's reader accepts; it appears whole or not at all. Names must
/// differ.
bool safetensors_write(const char *path, const SafetensorsTensor *tensors, int64_t count,
                       const SafetensorsMetadata *metadata, int64_t metadata_count, Error *error);

/// Appends the bytes of a tensor that was given without data, all of them in order
/// (output_write()).
typedef bool SafetensorsSource(void *context, const SafetensorsTensor *tensor,
                               struct OutputFile *file, Error *error);

/// The same where tensors without `data` are asked for one by one, each when its turn comes: the
/// file may be larger than memory.
bool safetensors_write_from(const char *path, const SafetensorsTensor *tensors, int64_t count,
                            const SafetensorsMetadata *metadata, int64_t metadata_count,
                            SafetensorsSource *source, void *context, Error *error);
