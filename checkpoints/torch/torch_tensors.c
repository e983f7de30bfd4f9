// From the values of a pickle to tensors: what PyTorch's _rebuild functions would do with their
// arguments, and names for the results.
#include "checkpoints/torch/torch_archive_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// ---- one tensor

static const PickleValue *argument(const PickleValue *tuple, uint32_t index) {
    return index < tuple->count ? tuple->items[index] : NULL;
}

static bool is_size(const PickleValue *value) {
    return value && value->kind == PICKLE_INT && value->integer >= 0;
}

/// A tuple of sizes or torch.Size(tuple); returns how many, -1 if it is not that.
static int read_sizes(const PickleValue *value, int64_t sizes[STORED_MAX_RANK]) {
    if (value && value->kind == PICKLE_CALL && !strcmp(value->items[0]->text, "torch.Size"))
        value = argument(value->items[1], 0);
    if (!value || (value->kind != PICKLE_TUPLE && value->kind != PICKLE_LIST) ||
        value->count > STORED_MAX_RANK)
        return -1;
    for (uint32_t i = 0; i < value->count; i++) {
        if (!is_size(value->items[i])) return -1;
        sizes[i] = value->items[i]->integer;
    }
    return (int)value->count;
}

static const TorchStorage *find_storage(const TorchArchive *archive, const char *key) {
    int64_t low = 0, high = archive->storage_count;
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        int order = strcmp(archive->storages[middle].key, key);
        if (order == 0) return &archive->storages[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

/// The bytes of a persistent id, and the type it gives them.
static bool find_bytes(const TorchArchive *archive, const PickleValue *value, ElementType *type,
                       const unsigned char **data, size_t *bytes, Error *error) {
    TorchStorageId id;
    if (!value || value->kind != PICKLE_PERSISTENT)
        return error_set(error, "damaged: a tensor without storage");
    if (!torch_storage_id(value, &id, error)) return false;
    const TorchStorage *storage = find_storage(archive, id.key);
    if (!storage) return error_set(error, "its storage '%.100s' is missing", id.key);
    size_t size = element_size(id.type), needed;
    if (__builtin_mul_overflow((size_t)id.numel, size, &needed) || needed > storage->bytes)
        return error_set(error,
                         "its storage '%.100s' has %zu bytes; %lld elements of type %s were "
                         "announced",
                         id.key, storage->bytes, (long long)id.numel, element_name(id.type));
    *type = id.type;
    *data = storage->data + (size_t)id.view_offset * size;
    *bytes = (size_t)id.view_numel * size;
    return true;
}

/// Sets numel and bytes; returns the elements from the first to behind the last in storage, -1 if a
/// number overflows.
static int64_t measure(StoredTensor *tensor) {
    int64_t span = 1, way;
    tensor->numel = 1;
    for (int i = 0; i < tensor->rank; i++)
        if (__builtin_mul_overflow(tensor->numel, tensor->shape[i], &tensor->numel)) return -1;
    int64_t bytes;
    if (__builtin_mul_overflow(tensor->numel, (int64_t)element_size(tensor->type), &bytes))
        return -1;
    tensor->bytes = (size_t)bytes;
    if (tensor->numel == 0) return 0;
    for (int i = 0; i < tensor->rank; i++)
        if (__builtin_mul_overflow(tensor->shape[i] - 1, tensor->strides[i], &way) ||
            __builtin_add_overflow(span, way, &span))
            return -1;
    return span;
}

static bool is_row_major(const StoredTensor *tensor) {
    int64_t stride = 1;
    for (int i = tensor->rank - 1; i >= 0; i--) {
        if (tensor->shape[i] != 1 && tensor->strides[i] != stride) return false;
        stride *= tensor->shape[i];
    }
    return true;
}

/// Places a tensor of known type, shape and strides, `offset` elements from the start of its
/// storage.
static bool place(const TorchArchive *archive, const unsigned char *data, size_t bytes,
                  int64_t offset, StoredTensor *tensor, Error *error) {
    static const size_t SMALL = 1 << 20;
    size_t size = element_size(tensor->type);
    int64_t span = measure(tensor), available = (int64_t)(bytes / size);
    if (span < 0 || offset > available || span > available - offset)
        return error_set(error, "it reaches out of its storage of %zu bytes", bytes);
    // An expanded view is larger than what it repeats, but no model repeats more than a file's
    // size.
    if (tensor->bytes > archive->file.size && tensor->bytes > SMALL)
        return error_set(error, "it repeats its storage to %zu bytes, more than the file has",
                         tensor->bytes);
    tensor->first = data + (size_t)offset * size;
    tensor->aligned = (uintptr_t)tensor->first % size == 0;
    if (tensor->numel == 0 || is_row_major(tensor)) tensor->data = tensor->first;
    return true;
}

static bool is_function(const char *name, const char *expected) {
    return strncmp(name, "torch._", 7) == 0 && strcmp(strrchr(name, '.') + 1, expected) == 0;
}

static bool read_view(const TorchArchive *archive, const char *function,
                      const PickleValue *arguments, StoredTensor *tensor, Error *error) {
    const unsigned char *data = NULL;
    size_t bytes = 0;
    if (!find_bytes(archive, argument(arguments, 0), &tensor->type, &data, &bytes, error))
        return false;
    tensor->rank = read_sizes(argument(arguments, 2), tensor->shape);
    int strides = read_sizes(argument(arguments, 3), tensor->strides);
    const PickleValue *offset = argument(arguments, 1), *metadata = argument(arguments, 6);
    if (is_function(function, "_rebuild_tensor_v3")) { // untyped storage, the type comes apart
        const PickleValue *dtype = metadata;
        metadata = argument(arguments, 7);
        if (!dtype || !torch_dtype(dtype, &tensor->type))
            return error_set(error, "its dtype is not known");
    }
    if (!is_size(offset) || tensor->rank < 0 || strides != tensor->rank)
        return error_set(error,
                         "its offset, shape or strides are not valid: expected at most %d "
                         "dimensions, nothing negative",
                         STORED_MAX_RANK);
    if (metadata && metadata->kind == PICKLE_DICT && metadata->count)
        return error_set(error, "it is stored conjugated or negated, which is not supported");
    return place(archive, data, bytes, offset->integer, tensor, error);
}

/// `function` called with `arguments` makes the tensor.
static bool rebuild(const TorchArchive *archive, const char *function, const PickleValue *arguments,
                    StoredTensor *tensor, Error *error) {
    if (is_function(function,
                    "_rebuild_from_type_v2")) { // (function, class, arguments, attributes)
        const PickleValue *inner = argument(arguments, 0), *rest = argument(arguments, 2);
        if (!inner || inner->kind != PICKLE_GLOBAL || !rest || rest->kind != PICKLE_TUPLE)
            return error_set(error, "damaged: a tensor without its data");
        function = inner->text;
        arguments = rest;
    }
    if (is_function(function, "_rebuild_parameter") ||
        is_function(function, "_rebuild_parameter_with_state")) {
        const PickleValue *data = argument(arguments, 0);
        if (!data || !torch_value_is_tensor(data))
            return error_set(error, "damaged: a parameter without its data");
        return rebuild(archive, data->items[0]->text, data->items[1], tensor, error);
    }
    if (strncmp(function, "torch._utils._rebuild_tensor", 28) != 0)
        return error_set(error, "'%s' makes no tensor", function);
    return read_view(archive, function, arguments, tensor, error);
}

bool torch_value_is_tensor(const PickleValue *value) {
    return value->kind == PICKLE_CALL && (!strncmp(value->items[0]->text, "torch._utils.", 13) ||
                                          !strncmp(value->items[0]->text, "torch._tensor.", 14));
}

// ---- all of them, by name

enum { LONGEST_NAME = 1023 };

typedef struct Collector {
    TorchArchive *archive;
    char name[LONGEST_NAME + 1];
    size_t length;
    /// bytes that names and entries may still take
    size_t names_left;
    Error *error;
} Collector;

static bool add_tensor(Collector *collector, const PickleValue *value) {
    static const size_t ENTRY = 32;
    TorchArchive *archive = collector->archive;
    const char *name = collector->length ? collector->name : "tensor";
    StoredTensor tensor = {0};
    if (!rebuild(archive, value->items[0]->text, value->items[1], &tensor, collector->error))
        return error_context(collector->error, "tensor '%.200s'", name);
    if (collector->length + ENTRY > collector->names_left)
        return error_set(collector->error, "names its tensors again and again");
    collector->names_left -= collector->length + ENTRY;
    if (archive->count == archive->capacity) {
        archive->capacity = 2 * archive->capacity + 64;
        archive->tensors =
            checked_realloc(archive->tensors, (size_t)archive->capacity * sizeof *archive->tensors);
    }
    tensor.name = checked_strdup(name);
    archive->tensors[archive->count++] = tensor;
    return true;
}

/// Appends ".key" to the name.
static bool enter(Collector *collector, const char *key) {
    size_t length = strlen(key), dot = collector->length ? 1 : 0;
    if (collector->length + dot + length > LONGEST_NAME)
        return error_set(collector->error, "a tensor's name is longer than %d bytes", LONGEST_NAME);
    if (dot) collector->name[collector->length++] = '.';
    memcpy(collector->name + collector->length, key, length + 1);
    collector->length += length;
    return true;
}

static bool collect(Collector *collector, const PickleValue *value);

static bool collect_in(Collector *collector, const char *key, const PickleValue *value) {
    size_t length = collector->length;
    if (!enter(collector, key) || !collect(collector, value)) return false;
    collector->length = length;
    collector->name[length] = '\0';
    return true;
}

static bool collect_dict(Collector *collector, const PickleValue *dict) {
    for (uint32_t i = 0; i < dict->count; i++) {
        const PickleValue *key = dict->items[2 * i], *value = dict->items[2 * i + 1];
        char number[24];
        const char *name = pickle_text(key);
        if (key->kind == PICKLE_INT) {
            snprintf(number, sizeof number, "%" PRId64, key->integer);
            name = number;
        }
        // What is under other keys can have no name; if there are tensors, they must not get lost
        // unseen.
        if (!name && (torch_value_is_tensor(value) || value->kind == PICKLE_DICT))
            return error_set(collector->error, "below '%.200s' %s is a key; expected text",
                             collector->name, pickle_kind_name(key->kind));
        if (name && !collect_in(collector, name, value)) return false;
    }
    return true;
}

static bool collect_list(Collector *collector, const PickleValue *list) {
    for (uint32_t i = 0; i < list->count; i++) {
        char place[16];
        snprintf(place, sizeof place, "%u", i);
        if (!collect_in(collector, place, list->items[i])) return false;
    }
    return true;
}

static bool collect(Collector *collector, const PickleValue *value) {
    if (torch_value_is_tensor(value)) return add_tensor(collector, value);
    if (value->kind == PICKLE_DICT) return collect_dict(collector, value);
    if (value->kind == PICKLE_LIST || value->kind == PICKLE_TUPLE)
        return collect_list(collector, value);
    return true; // numbers, strings, dtypes
}

static bool holds_tensors(const PickleValue *value, bool directly) {
    uint32_t width = value->kind == PICKLE_DICT ? 2 : 1;
    if (value->kind != PICKLE_DICT && value->kind != PICKLE_LIST && value->kind != PICKLE_TUPLE)
        return false;
    for (uint32_t i = 0; i < value->count; i++) {
        const PickleValue *item = value->items[width * i + width - 1];
        if (torch_value_is_tensor(item) || (!directly && holds_tensors(item, false))) return true;
    }
    return false;
}

/// What the names begin in.
static const PickleValue *unwrap(TorchArchive *archive) {
    static const char *const wrappers[] = {"state_dict", "model_state_dict", "model", "module"};
    const PickleValue *root = pickle_root(archive->pickle);
    if (root->kind != PICKLE_DICT || holds_tensors(root, true)) return root;
    for (size_t i = 0; i < sizeof wrappers / sizeof *wrappers; i++) {
        const PickleValue *inner = pickle_get(root, wrappers[i]);
        if (!inner || inner->kind != PICKLE_DICT || !holds_tensors(inner, false)) continue;
        archive->wrapper = wrappers[i];
        return inner;
    }
    return root;
}

static int compare_names(const void *a, const void *b) {
    return strcmp((*(const StoredTensor *const *)a)->name, (*(const StoredTensor *const *)b)->name);
}

static bool sort_names(TorchArchive *archive, Error *error) {
    size_t count = (size_t)archive->count;
    archive->by_name = checked_calloc(count + 1, sizeof *archive->by_name);
    for (size_t i = 0; i < count; i++) archive->by_name[i] = &archive->tensors[i];
    qsort(archive->by_name, count, sizeof *archive->by_name, compare_names);
    for (size_t i = 1; i < count; i++)
        if (strcmp(archive->by_name[i - 1]->name, archive->by_name[i]->name) == 0)
            return error_set(error, "two tensors have the name '%.200s'",
                             archive->by_name[i]->name);
    return true;
}

bool torch_collect_tensors(TorchArchive *archive, Error *error) {
    size_t size = archive->file.size < PICKLE_MAX_BYTES ? archive->file.size : PICKLE_MAX_BYTES;
    Collector collector = {.archive = archive, .names_left = 4 * size + (1 << 16), .error = error};
    return collect(&collector, unwrap(archive)) && sort_names(archive, error);
}
