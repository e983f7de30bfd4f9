/// A file of tensors in either format: safetensors, or what torch.save() wrote. Which one it is,
/// its first bytes say.
#pragma once
#include "checkpoints/safetensors.h"
#include "checkpoints/torch/torch_archive.h"

typedef struct WeightFile WeightFile;

/// Maps the file and lists its tensors. NULL on failure.
WeightFile *weight_file_open(const char *path, Error *error);
void weight_file_close(WeightFile *file);
const char *weight_file_path(const WeightFile *file);

int64_t weight_file_count(const WeightFile *file);
const StoredTensor *weight_file_tensor(const WeightFile *file, int64_t index);
/// The tensor of that name, or NULL.
const StoredTensor *weight_file_find(const WeightFile *file, const char *name);

/// The file as one of its format, or NULL if it has the other.
const SafetensorsFile *weight_file_safetensors(const WeightFile *file);
const TorchArchive *weight_file_torch_archive(const WeightFile *file);
