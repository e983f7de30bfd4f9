/// A published model directory: `config.json` and weights, in one file or in shards, as safetensors
/// or as PyTorch saves them.
///
/// Weights are looked for as (in this order)
///   model.safetensors, diffusion_pytorch_model.safetensors, adapter_model.safetensors,
///   open_clip_model.safetensors; the first two in shards, with their `.safetensors.index.json`;
///   the fp16 variants of these (`model.fp16.safetensors`, `model.safetensors.index.fp16.json`);
///   pytorch_model.bin, diffusion_pytorch_model.bin, adapter_model.bin,
///   open_clip_pytorch_model.bin; the first two in shards, with their `.bin.index.json`; their fp16
///   variants; mm_projector.bin, non_lora_trainables.bin (LLaVA's parts of a model).
/// The first found counts, and only it; beside an adapter_model also the non_lora_trainables.bin
/// that LLaVA puts there. Of shards, every tensor of every file that the index names is there; none
/// may be in two of them. The configuration is config.json, adapter_config.json of a PEFT adapter,
/// or OpenCLIP's open_clip_config.json.
///
/// A path to a single weight file will do where its tensors alone say what the model is
/// (sam_vit_h.pth): its configuration has no key.
///
/// Everything is read-only, mapped, and lives until model_directory_close(). Not for use by several
/// threads at once.
#pragma once
#include "checkpoints/model_config.h"
#include "checkpoints/weight_file.h"

typedef struct ModelDirectory ModelDirectory;

/// Opens the configuration and every weight file. NULL on failure.
ModelDirectory *model_directory_open(const char *path, Error *error);
/// One owner less; the last closes.
void model_directory_close(ModelDirectory *directory);
/// One more owner, who keeps what is mapped. Returns directory.
ModelDirectory *model_directory_retain(ModelDirectory *directory);
const char *model_directory_path(const ModelDirectory *directory);
/// Owned by the directory.
const ModelConfig *model_directory_config(const ModelDirectory *directory);

/// The tensor of that name with that shape (a dimension of -1 fits any size). A missing one is an
/// error that lists the names nearest to it; another shape is an error that shows both.
bool model_directory_tensor(ModelDirectory *directory, const char *name, int rank,
                            const int64_t *shape, const StoredTensor **entry, Error *error);
/// The tensor of that name with any shape, or NULL. Counts as asked for.
const StoredTensor *model_directory_find(ModelDirectory *directory, const char *name);

/// All tensors, by name.
int64_t model_directory_count(const ModelDirectory *directory);
const StoredTensor *model_directory_entry(const ModelDirectory *directory, int64_t index);
/// The next tensor at or after *cursor (begin with 0) that nobody has asked for, or NULL at the
/// end: what a model did not use, for a warning.
const StoredTensor *model_directory_next_unused(const ModelDirectory *directory, int64_t *cursor);

/// The open weight files.
int model_directory_file_count(const ModelDirectory *directory);
const WeightFile *model_directory_file(const ModelDirectory *directory, int index);
