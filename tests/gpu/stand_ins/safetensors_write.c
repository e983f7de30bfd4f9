// Files of tensors are written with jansson's own writer, which is not here.
#include "checkpoints/safetensors.h"

bool safetensors_write(const char *path, const SafetensorsTensor *tensors, int64_t count,
                       const SafetensorsMetadata *metadata, int64_t metadata_count, Error *error) {
    (void)tensors, (void)count, (void)metadata, (void)metadata_count;
    return error_set(error, "%s: this program is built without jansson and writes no tensors",
                     path);
}
