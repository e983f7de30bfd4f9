// Reading. jansson refuses duplicate names, bad UTF-8 and runaway nesting; everything else is
// checked here, once, so that the rest of the program may trust an entry.
#include "checkpoints/safetensors.h"
#include "autograd/file_content.h"
#include "checkpoints/mapped_file.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

static const uint64_t MAX_HEADER_BYTES = 100u * 1000 * 1000; // the reference implementation's limit
enum { HEADER_SIZE_BYTES = 8 };

struct SafetensorsFile {
    MappedFile mapping;
    /// owns the names and the metadata
    json_t *header;
    json_t *metadata;
    /// by offset
    StoredTensor *entries;
    StoredTensor **by_name;
    int64_t count;
};

static bool parse_type(const json_t *value, ElementType *type) {
    const char *text = json_string_value(value);
    for (int i = 0; text && i < ELEMENT_TYPE_COUNT; i++) {
        if (strcmp(text, element_name((ElementType)i)) == 0) {
            *type = (ElementType)i;
            return true;
        }
    }
    return false;
}

static bool parse_shape(const json_t *value, StoredTensor *entry) {
    if (!json_is_array(value) || json_array_size(value) > STORED_MAX_RANK) return false;
    entry->rank = (int)json_array_size(value);
    entry->numel = 1;
    for (int i = 0; i < entry->rank; i++) {
        const json_t *dimension = json_array_get(value, (size_t)i);
        if (!json_is_integer(dimension) || json_integer_value(dimension) < 0) return false;
        entry->shape[i] = json_integer_value(dimension);
        if (__builtin_mul_overflow(entry->numel, entry->shape[i], &entry->numel)) return false;
    }
    return !__builtin_mul_overflow((size_t)entry->numel, element_size(entry->type), &entry->bytes);
}

static bool parse_offsets(const json_t *value, size_t data_bytes, size_t *begin, size_t *end) {
    if (!json_is_array(value) || json_array_size(value) != 2) return false;
    const json_t *first = json_array_get(value, 0), *last = json_array_get(value, 1);
    if (!json_is_integer(first) || !json_is_integer(last)) return false;
    if (json_integer_value(first) < 0 || json_integer_value(last) < json_integer_value(first))
        return false;
    *begin = (size_t)json_integer_value(first);
    *end = (size_t)json_integer_value(last);
    return *end <= data_bytes;
}

static bool parse_entry(SafetensorsFile *file, const char *name, const json_t *value,
                        size_t data_start, StoredTensor *entry, Error *error) {
    const char *path = file->mapping.path;
    size_t data_bytes = file->mapping.size - data_start, begin, end;
    const Quoted quoted = quote(name);
    entry->name = name;
    if (!json_is_object(value))
        return error_set(error, "%s: the header's entry '%s' is not an object", path, quoted.text);
    const json_t *type = json_object_get(value, "dtype");
    if (!parse_type(type, &entry->type))
        return error_set(error,
                         "%s: tensor '%s' has the dtype '%.40s'; known are BOOL, U8 to U64, I8 to "
                         "I64, F8_E4M3, F8_E5M2, F16, BF16, F32 and F64",
                         path, quoted.text,
                         json_is_string(type) ? json_string_value(type) : "(none)");
    if (!parse_shape(json_object_get(value, "shape"), entry))
        return error_set(error,
                         "%s: tensor '%s' has no valid shape: expected at most %d dimensions, "
                         "none negative, whose product fits 63 bits",
                         path, quoted.text, STORED_MAX_RANK);
    if (!parse_offsets(json_object_get(value, "data_offsets"), data_bytes, &begin, &end))
        return error_set(error,
                         "%s: tensor '%s' does not lie within the file's %zu bytes of data. "
                         "The file is damaged or cut off; fetch it again",
                         path, quoted.text, data_bytes);
    if (end - begin != entry->bytes) {
        char shape[256];
        return error_set(
            error, "%s: tensor '%s' has %zu bytes, but its shape %s and type %s need %zu", path,
            quoted.text, end - begin, shape_text(entry->rank, entry->shape, shape, sizeof shape),
            element_name(entry->type), entry->bytes);
    }
    entry->data = entry->first = (const char *)file->mapping.bytes + data_start + begin;
    entry->aligned = (uintptr_t)entry->data % element_size(entry->type) == 0;
    return true;
}

static int compare_offsets(const void *a, const void *b) {
    const StoredTensor *x = a, *y = b;
    if (x->data != y->data) return (const char *)x->data < (const char *)y->data ? -1 : 1;
    return (x->bytes > y->bytes) - (x->bytes < y->bytes);
}

static int compare_names(const void *a, const void *b) {
    return strcmp((*(StoredTensor *const *)a)->name, (*(StoredTensor *const *)b)->name);
}

/// The format wants tensors side by side, without gaps (bytes that nothing describes) or overlaps.
static bool check_layout(const SafetensorsFile *file, size_t data_start, Error *error) {
    const char *next = (const char *)file->mapping.bytes + data_start;
    for (int64_t i = 0; i < file->count; i++) {
        const StoredTensor *entry = &file->entries[i];
        if ((const char *)entry->data != next)
            return error_set(error, "%s: tensor '%s' %s. The file is damaged", file->mapping.path,
                             entry->name,
                             (const char *)entry->data < next ? "overlaps the one before it"
                                                              : "leaves a gap before it");
        next += entry->bytes;
    }
    size_t described = (size_t)(next - (const char *)file->mapping.bytes);
    if (described != file->mapping.size)
        return error_set(error, "%s: %zu bytes follow the last tensor. The file is damaged",
                         file->mapping.path, file->mapping.size - described);
    return true;
}

/// Of a file that begins with something else than a header's length.
static bool refuse_beginning(const SafetensorsFile *file, uint64_t header_bytes, Error *error) {
    const char *content = file_content(file->mapping.bytes, file->mapping.size);
    if (content)
        return error_set(error, "%s: %s, not a safetensors file", file->mapping.path, content);
    return error_set(error,
                     "%s: not a safetensors file: its first 8 bytes announce a header of "
                     "%llu bytes (at most 100 MB are allowed)",
                     file->mapping.path, (unsigned long long)header_bytes);
}

static bool parse_header(SafetensorsFile *file, Error *error) {
    uint64_t header_bytes = 0;
    if (file->mapping.size < HEADER_SIZE_BYTES)
        return error_set(error, "%s: only %zu bytes long: not a safetensors file, or cut off",
                         file->mapping.path, file->mapping.size);
    const unsigned char *bytes = file->mapping.bytes;
    for (int i = 0; i < HEADER_SIZE_BYTES; i++) header_bytes |= (uint64_t)bytes[i] << (8 * i);
    if (header_bytes > MAX_HEADER_BYTES) return refuse_beginning(file, header_bytes, error);
    if (header_bytes > file->mapping.size - HEADER_SIZE_BYTES)
        return error_set(error,
                         "%s: cut off within its header: %llu bytes were announced, %zu are "
                         "there. Fetch the file again",
                         file->mapping.path, (unsigned long long)header_bytes,
                         file->mapping.size - HEADER_SIZE_BYTES);
    json_error_t json_error;
    file->header = json_loadb((const char *)bytes + HEADER_SIZE_BYTES, (size_t)header_bytes,
                              JSON_REJECT_DUPLICATES, &json_error);
    if (!file->header || !json_is_object(file->header))
        return error_set(error, "%s: the header is not a JSON object: %s", file->mapping.path,
                         file->header ? "another JSON value" : json_error.text);

    size_t data_start = HEADER_SIZE_BYTES + (size_t)header_bytes;
    size_t members = json_object_size(file->header);
    file->entries = checked_calloc(members + 1, sizeof *file->entries);
    const char *name;
    json_t *value;
    json_object_foreach(file->header, name, value) {
        if (strcmp(name, "__metadata__") == 0) {
            file->metadata = value;
        } else if (parse_entry(file, name, value, data_start, &file->entries[file->count], error)) {
            file->count++;
        } else {
            return false;
        }
    }
    qsort(file->entries, (size_t)file->count, sizeof *file->entries, compare_offsets);
    file->by_name = checked_calloc((size_t)file->count + 1, sizeof *file->by_name);
    for (int64_t i = 0; i < file->count; i++) file->by_name[i] = &file->entries[i];
    qsort(file->by_name, (size_t)file->count, sizeof *file->by_name, compare_names);
    return check_layout(file, data_start, error);
}

SafetensorsFile *safetensors_open(const char *path, Error *error) {
    SafetensorsFile *file = checked_calloc(1, sizeof *file);
    if (mapped_file_open(&file->mapping, path, error) && parse_header(file, error)) return file;
    safetensors_close(file);
    return NULL;
}

void safetensors_close(SafetensorsFile *file) {
    if (!file) return;
    json_decref(file->header);
    free(file->entries);
    free(file->by_name);
    mapped_file_close(&file->mapping);
    free(file);
}

const char *safetensors_path(const SafetensorsFile *file) { return file->mapping.path; }
int64_t safetensors_count(const SafetensorsFile *file) { return file->count; }

const StoredTensor *safetensors_entry(const SafetensorsFile *file, int64_t index) {
    CHECK(index >= 0 && index < file->count, "safetensors_entry: index %lld of %lld",
          (long long)index, (long long)file->count);
    return &file->entries[index];
}

const StoredTensor *safetensors_find(const SafetensorsFile *file, const char *name) {
    StoredTensor key = {.name = name}, *key_pointer = &key;
    StoredTensor **found = bsearch(&key_pointer, file->by_name, (size_t)file->count,
                                   sizeof *file->by_name, compare_names);
    return found ? *found : NULL;
}

const char *safetensors_metadata_key(const SafetensorsFile *file, int64_t index,
                                     const char **value) {
    const char *key;
    json_t *text;
    json_object_foreach(file->metadata, key, text) {
        if (index-- > 0) continue;
        *value = json_string_value(text);
        return key;
    }
    return NULL;
}
