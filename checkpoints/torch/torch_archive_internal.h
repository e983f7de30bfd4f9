/// What the parts of the PyTorch reader agree on. Not for use outside of torch_*.c.
#pragma once
#include "checkpoints/mapped_file.h"
#include "checkpoints/torch/torch_archive.h"
#include "checkpoints/torch/zip_directory.h"

/// The bytes behind one key of a persistent id.
typedef struct TorchStorage {
    const char *key;
    const unsigned char *data;
    size_t bytes;
} TorchStorage;

struct TorchArchive {
    MappedFile file;
    Pickle *pickle;
    /// of the legacy form: the storages' keys
    Pickle *keys;
    /// empty in the legacy form
    ZipDirectory zip;
    /// by key
    TorchStorage *storages;
    int64_t storage_count;
    bool is_legacy;
    const char *wrapper;
    StoredTensor *tensors;
    int64_t count, capacity;
    const StoredTensor **by_name;
};

/// The names that a PyTorch pickle may call on, for pickle_read().
extern const char *const torch_globals[];

/// A persistent id: ("storage", class, key, location, numel[, (view key, offset, numel)]).
typedef struct TorchStorageId {
    const char *key;
    /// U8 for UntypedStorage
    ElementType type;
    int64_t numel;
    /// part of it that the tensor's storage is, in elements
    int64_t view_offset, view_numel;
} TorchStorageId;

/// The element type of a torch.dtype; false if the value is none that is known.
bool torch_dtype(const PickleValue *value, ElementType *type);
/// Reads the id of a PERSISTENT value.
bool torch_storage_id(const PickleValue *persistent, TorchStorageId *id, Error *error);
/// Lists the storages of a legacy file from `at`, behind the list of keys.
bool torch_legacy_storages(TorchArchive *archive, size_t at, Error *error);
/// Fills archive->tensors, ->by_name and ->wrapper from pickle and storages.
bool torch_collect_tensors(TorchArchive *archive, Error *error);
