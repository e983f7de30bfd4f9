/// What torch.save() wrote: `.bin`, `.pt`, `.pth`, in the zip form (PyTorch 1.6 and later) and in
/// the form before it.
///
/// Read is the data only (checkpoints/torch/pickle.h): nothing is executed, and a file that calls
/// for any class or function beside those of tensors and of numpy's numbers (which are left as
/// pickle.h gives them) is refused with its name. The file is mapped and its tensors stay where
/// they are; opening touches only the pickle.
///
/// Names. The saved object is a dict (or a list) that may hold others: a tensor's name is the keys
/// that lead to it, joined by dots, a list's places counted from 0. If there is no tensor directly
/// in the outermost dict, but in a dict under one of its keys "state_dict", "model_state_dict",
/// "model" or "module" (tried in this order), then only those tensors are the archive's, and their
/// names begin inside: what else training saved beside a model (an optimizer's state) is left
/// aside.
///
/// Tensors that share storage, have offsets or strides, and parameters are read as PyTorch reads
/// them. Sparse and quantized tensors and big-endian files are refused. [torch/serialization.py,
/// torch/_utils.py of PyTorch 2.x]
#pragma once
#include "checkpoints/stored_tensor.h"
#include "checkpoints/torch/pickle.h"

typedef struct TorchArchive TorchArchive;

/// Maps the file and reads its pickle. NULL on failure.
TorchArchive *torch_archive_open(const char *path, Error *error);
void torch_archive_close(TorchArchive *archive);
const char *torch_archive_path(const TorchArchive *archive);
/// Whether the file has the form before PyTorch 1.6.
bool torch_archive_is_legacy(const TorchArchive *archive);

/// Tensors in the order in which they were saved.
int64_t torch_archive_count(const TorchArchive *archive);
const StoredTensor *torch_archive_tensor(const TorchArchive *archive, int64_t index);
/// The tensor of that name, or NULL.
const StoredTensor *torch_archive_find(const TorchArchive *archive, const char *name);

/// The whole saved object.
const PickleValue *torch_archive_root(const TorchArchive *archive);
/// The key of the outermost dict inside which the names begin, or NULL.
const char *torch_archive_wrapper(const TorchArchive *archive);

/// Whether the value is a tensor or parameter.
bool torch_value_is_tensor(const PickleValue *value);

/// Reads the whole file and compares it with its CRC-32 sums. The legacy form has none and passes.
bool torch_archive_verify(const TorchArchive *archive, Error *error);
