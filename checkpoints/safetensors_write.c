// Writing. The layout is the reference implementation's: tensors of wide types first, then by name,
// and a header padded to 8 bytes, so that every tensor is aligned in the mapped file.
#include "autograd/output/output_file.h"
#include "checkpoints/safetensors.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

static int compare_layout(const void *a, const void *b) {
    const SafetensorsTensor *x = *(SafetensorsTensor *const *)a,
                            *y = *(SafetensorsTensor *const *)b;
    size_t x_size = element_size(x->type), y_size = element_size(y->type);
    if (x_size != y_size) return x_size > y_size ? -1 : 1;
    return strcmp(x->name, y->name);
}

static size_t tensor_bytes(const SafetensorsTensor *tensor) {
    CHECK(tensor->rank >= 0 && tensor->rank <= STORED_MAX_RANK,
          "safetensors_write: '%s' has rank %d", tensor->name, tensor->rank);
    size_t bytes = element_size(tensor->type);
    for (int i = 0; i < tensor->rank; i++) bytes *= (size_t)tensor->shape[i];
    return bytes;
}

static json_t *describe(const SafetensorsTensor *tensor, size_t begin, size_t end) {
    json_t *shape = json_array();
    for (int i = 0; i < tensor->rank; i++)
        json_array_append_new(shape, json_integer(tensor->shape[i]));
    return json_pack("{s:s, s:o, s:[I, I]}", "dtype", element_name(tensor->type), "shape", shape,
                     "data_offsets", (json_int_t)begin, (json_int_t)end);
}

/// The header's text, padded with spaces, or NULL if a name is not UTF-8 or comes twice.
static char *make_header(const SafetensorsTensor **order, int64_t count,
                         const SafetensorsMetadata *metadata, int64_t metadata_count,
                         Error *error) {
    json_t *header = json_object();
    bool valid = true;
    if (metadata_count > 0) {
        json_t *values = json_object();
        for (int64_t i = 0; i < metadata_count; i++)
            valid = valid && json_object_set_new(values, metadata[i].key,
                                                 json_string(metadata[i].value)) == 0;
        json_object_set_new(header, "__metadata__", values);
        if (!valid) error_set(error, "the metadata are not UTF-8");
    }
    size_t offset = 0;
    for (int64_t i = 0; valid && i < count; i++) {
        const SafetensorsTensor *tensor = order[i];
        size_t end = offset + tensor_bytes(tensor);
        if (json_object_get(header, tensor->name)) {
            valid = error_set(error, "the tensor name '%s' comes twice", tensor->name);
        } else if (json_object_set_new(header, tensor->name, describe(tensor, offset, end)) != 0) {
            valid = error_set(error, "the tensor name '%s' is not UTF-8", tensor->name);
        }
        offset = end;
    }
    char *text = valid ? json_dumps(header, JSON_COMPACT) : NULL;
    json_decref(header);
    if (!text) return NULL;
    size_t length = strlen(text), padded = (length + 7) / 8 * 8;
    text = checked_realloc(text, padded + 1);
    memset(text + length, ' ', padded - length);
    text[padded] = '\0';
    return text;
}

static bool write_all(OutputFile *file, const char *header, const SafetensorsTensor **order,
                      int64_t count, SafetensorsSource *source, void *context, Error *error) {
    unsigned char size[8];
    uint64_t length = strlen(header);
    for (int i = 0; i < 8; i++) size[i] = (unsigned char)(length >> (8 * i));
    bool good = output_write(file, size, sizeof size, error) &&
                output_write(file, header, (size_t)length, error);
    for (int64_t i = 0; good && i < count; i++)
        good = source && !order[i]->data
                   ? source(context, order[i], file, error)
                   : output_write(file, order[i]->data, tensor_bytes(order[i]), error);
    return good;
}

bool safetensors_write(const char *path, const SafetensorsTensor *tensors, int64_t count,
                       const SafetensorsMetadata *metadata, int64_t metadata_count, Error *error) {
    return safetensors_write_from(path, tensors, count, metadata, metadata_count, NULL, NULL,
                                  error);
}

bool safetensors_write_from(const char *path, const SafetensorsTensor *tensors, int64_t count,
                            const SafetensorsMetadata *metadata, int64_t metadata_count,
                            SafetensorsSource *source, void *context, Error *error) {
    bool written = false;
    const SafetensorsTensor **order = checked_calloc((size_t)count + 1, sizeof *order);
    for (int64_t i = 0; i < count; i++) order[i] = &tensors[i];
    qsort(order, (size_t)count, sizeof *order, compare_layout);
    char *header = make_header(order, count, metadata, metadata_count, error);
    OutputFile *file = header ? output_create(path, error) : NULL;
    if (!header) {
        error_context(error, "%s", path);
    } else if (file) {
        written = write_all(file, header, order, count, source, context, error);
        if (written)
            written = output_commit(file, error);
        else
            output_abandon(file);
    }
    free(header);
    free(order);
    return written;
}
