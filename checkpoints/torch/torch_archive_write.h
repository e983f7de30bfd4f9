/// Writing what torch.save() writes: a zip archive with a pickle of {name: tensor} and one record
/// of bytes per tensor, as PyTorch 1.6 and later read it (also with weights_only=True and
/// mmap=True).
#pragma once
#include "checkpoints/safetensors.h"

/// Writes the tensors as a dict in the order given; the file appears whole or not at all. Types are
/// F16, BF16, F32, F64, BOOL, U8, I8, I16, I32 and I64, names differ; all together stay below 4
/// GiB, else it fails.
bool torch_archive_write(const char *path, const SafetensorsTensor *tensors, int64_t count,
                         Error *error);
