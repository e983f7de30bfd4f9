// Storages: the typed runs of bytes that tensors are views of.
#include "checkpoints/torch/torch_archive_internal.h"

#include <stdlib.h>
#include <string.h>

#define STORAGE_CLASSES(CLASS)      \
    CLASS("Double", ELEMENT_F64)    \
    CLASS("Float", ELEMENT_F32)     \
    CLASS("Half", ELEMENT_F16)      \
    CLASS("BFloat16", ELEMENT_BF16) \
    CLASS("Long", ELEMENT_I64)      \
    CLASS("Int", ELEMENT_I32)       \
    CLASS("Short", ELEMENT_I16)     \
    CLASS("Char", ELEMENT_I8)       \
    CLASS("Byte", ELEMENT_U8)       \
    CLASS("Bool", ELEMENT_BOOL)     \
    CLASS("Untyped", ELEMENT_U8)
#define DTYPES(DTYPE)                       \
    DTYPE("float64", ELEMENT_F64)           \
    DTYPE("float32", ELEMENT_F32)           \
    DTYPE("float16", ELEMENT_F16)           \
    DTYPE("bfloat16", ELEMENT_BF16)         \
    DTYPE("float8_e4m3fn", ELEMENT_F8_E4M3) \
    DTYPE("float8_e5m2", ELEMENT_F8_E5M2)   \
    DTYPE("int64", ELEMENT_I64)             \
    DTYPE("int32", ELEMENT_I32)             \
    DTYPE("int16", ELEMENT_I16)             \
    DTYPE("int8", ELEMENT_I8)               \
    DTYPE("uint64", ELEMENT_U64)            \
    DTYPE("uint32", ELEMENT_U32)            \
    DTYPE("uint16", ELEMENT_U16)            \
    DTYPE("uint8", ELEMENT_U8)              \
    DTYPE("bool", ELEMENT_BOOL)

const char *const torch_globals[] = {
    PICKLE_NUMPY_GLOBALS,
    "torch._utils._rebuild_tensor",
    "torch._utils._rebuild_tensor_v2",
    "torch._utils._rebuild_tensor_v3",
    "torch._utils._rebuild_parameter",
    "torch._utils._rebuild_parameter_with_state",
    "torch._tensor._rebuild_from_type_v2",
    "torch.nn.parameter.Parameter",
    "torch.Tensor",
    "torch.Size",
    "torch.device",
    "torch.storage.UntypedStorage",
    "torch.storage._UntypedStorage",
#define CLASS_NAMES(name, type) "torch." name "Storage", "torch.cuda." name "Storage",
    STORAGE_CLASSES(CLASS_NAMES)
#define DTYPE_NAME(name, type) "torch." name,
        DTYPES(DTYPE_NAME) NULL,
};

typedef struct NamedType {
    const char *name;
    ElementType type;
} NamedType;

#define NAMED(name, type) {name, type},
#define NAMED_STORAGE(name, type) {name "Storage", type},
static const NamedType storage_classes[] = {
    STORAGE_CLASSES(NAMED_STORAGE){"_UntypedStorage", ELEMENT_U8}};
static const NamedType dtypes[] = {DTYPES(NAMED)};

static bool find_type(const NamedType *types, size_t count, const PickleValue *value,
                      ElementType *type) {
    if (value->kind != PICKLE_GLOBAL) return false;
    const char *name = strrchr(value->text, '.') + 1;
    for (size_t i = 0; i < count; i++) {
        if (strcmp(types[i].name, name) != 0) continue;
        *type = types[i].type;
        return true;
    }
    return false;
}

bool torch_dtype(const PickleValue *value, ElementType *type) {
    return find_type(dtypes, sizeof dtypes / sizeof *dtypes, value, type);
}

static bool is_size(const PickleValue *value) {
    return value->kind == PICKLE_INT && value->integer >= 0;
}

bool torch_storage_id(const PickleValue *persistent, TorchStorageId *id, Error *error) {
    const PickleValue *tuple = persistent->items[0];
    bool valid = tuple->kind == PICKLE_TUPLE && (tuple->count == 5 || tuple->count == 6);
    const char *what = valid ? pickle_text(tuple->items[0]) : NULL;
    valid = what && strcmp(what, "storage") == 0 && is_size(tuple->items[4]);
    if (valid) {
        id->key = pickle_text(tuple->items[2]);
        id->numel = id->view_numel = tuple->items[4]->integer;
        id->view_offset = 0;
        valid = id->key != NULL;
    }
    if (valid && tuple->count == 6 && tuple->items[5]->kind != PICKLE_NONE) {
        const PickleValue *view = tuple->items[5];
        valid = view->kind == PICKLE_TUPLE && view->count == 3 && is_size(view->items[1]) &&
                is_size(view->items[2]) && view->items[1]->integer <= id->numel &&
                view->items[2]->integer <= id->numel - view->items[1]->integer;
        if (valid) {
            id->view_offset = view->items[1]->integer;
            id->view_numel = view->items[2]->integer;
        }
    }
    if (!valid)
        return error_set(error, "damaged: something that is outside of the pickle, but no "
                                "storage");
    if (!find_type(storage_classes, sizeof storage_classes / sizeof *storage_classes,
                   tuple->items[1], &id->type))
        return error_set(error, "storage '%.100s' has no class that is known", id->key);
    return true;
}

// ---- the legacy form

typedef struct IdList {
    TorchStorageId *ids;
    size_t count, capacity;
} IdList;

static bool collect_ids(const PickleValue *value, IdList *list, Error *error) {
    if (value->kind == PICKLE_PERSISTENT) {
        if (list->count == list->capacity) {
            list->capacity = 2 * list->capacity + 16;
            list->ids = checked_realloc(list->ids, list->capacity * sizeof *list->ids);
        }
        return torch_storage_id(value, &list->ids[list->count++], error);
    }
    bool is_container =
        (value->kind >= PICKLE_LIST && value->kind <= PICKLE_DICT) || value->kind == PICKLE_CALL;
    uint32_t count = !is_container                ? 0
                     : value->kind == PICKLE_DICT ? 2 * value->count
                                                  : value->count;
    for (uint32_t i = 0; i < count; i++)
        if (!collect_ids(value->items[i], list, error)) return false;
    return true;
}

static int compare_ids(const void *a, const void *b) {
    return strcmp(((const TorchStorageId *)a)->key, ((const TorchStorageId *)b)->key);
}

/// One id per key, by key.
static bool unite_ids(IdList *list, Error *error) {
    size_t kept = 0;
    if (list->count) qsort(list->ids, list->count, sizeof *list->ids, compare_ids);
    for (size_t i = 0; i < list->count; i++) {
        const TorchStorageId *id = &list->ids[i], *last = kept ? &list->ids[kept - 1] : NULL;
        if (!last || strcmp(last->key, id->key) != 0)
            list->ids[kept++] = *id;
        else if (last->numel != id->numel || element_size(last->type) != element_size(id->type))
            return error_set(error, "storage '%.100s' is described in two ways", id->key);
    }
    list->count = kept;
    return true;
}

/// The storage with that id at *at: its number of elements, then these.
static bool read_storage(TorchArchive *archive, const TorchStorageId *id, size_t *at,
                         Error *error) {
    enum { COUNT_BYTES = 8 };
    size_t left = archive->file.size - *at, bytes;
    const unsigned char *data = archive->file.bytes + *at;
    if (left < COUNT_BYTES)
        return error_set(error, "cut off before storage '%.100s'. Fetch the file again", id->key);
    uint64_t numel = 0;
    for (int i = 0; i < COUNT_BYTES; i++) numel |= (uint64_t)data[i] << (8 * i);
    if (numel != (uint64_t)id->numel)
        return error_set(error, "storage '%.100s' has %llu elements, its tensors say %lld", id->key,
                         (unsigned long long)numel, (long long)id->numel);
    if (__builtin_mul_overflow((size_t)numel, element_size(id->type), &bytes) ||
        bytes > left - COUNT_BYTES)
        return error_set(error, "cut off within storage '%.100s'. Fetch the file again", id->key);
    archive->storages[archive->storage_count++] =
        (TorchStorage){id->key, data + COUNT_BYTES, bytes};
    *at += COUNT_BYTES + bytes;
    return true;
}

static bool read_storages(TorchArchive *archive, const IdList *list, size_t at, Error *error) {
    const PickleValue *keys = pickle_root(archive->keys);
    if (keys->kind != PICKLE_LIST) return error_set(error, "damaged: no list of storages");
    if (keys->count != list->count)
        return error_set(error, "%u storages are listed, tensors use %zu", keys->count,
                         list->count);
    archive->storages = checked_calloc(list->count + 1, sizeof *archive->storages);
    for (uint32_t i = 0; i < keys->count; i++) {
        TorchStorageId key = {.key = pickle_text(keys->items[i])};
        const TorchStorageId *id =
            key.key ? bsearch(&key, list->ids, list->count, sizeof *list->ids, compare_ids) : NULL;
        if (!id) return error_set(error, "a storage is listed that no tensor uses");
        if (!read_storage(archive, id, &at, error)) return false;
    }
    if (at != archive->file.size)
        return error_set(error, "%zu bytes follow the last storage", archive->file.size - at);
    return true;
}

bool torch_legacy_storages(TorchArchive *archive, size_t at, Error *error) {
    IdList list = {0};
    bool valid = collect_ids(pickle_root(archive->pickle), &list, error) &&
                 unite_ids(&list, error) && read_storages(archive, &list, at, error);
    free(list.ids);
    return valid;
}
