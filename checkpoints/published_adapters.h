/// Trained weights under the names and in the files of the published checkpoints:
///
///   mm_projector.bin              after stage 1: model.mm_projector.* (also LLaVA-1.5's own)
///   non_lora_trainables.bin       after stage 2: base_model.model.model.mm_projector.*
///   adapter_config.json and adapter_model.safetensors or .bin: LoRA, as PEFT saves it
///
/// or the same as .safetensors. The prefixes `base_model.model.` and `model.` of mm_projector.* are
/// optional. Nothing in the files is trusted, and nothing is executed.
#pragma once
#include "autograd/parameters.h"
#include "checkpoints/stored_tensor.h"

typedef struct PublishedAdapters PublishedAdapters;

/// Whether `path` names such weights: a file that ends in .bin, .pt, .pth or .safetensors, or a
/// folder that holds one of the files above.
bool published_adapters_at(const char *path);

/// Opens the file, or the folder's files. NULL on failure, also where two names are the same
/// without their prefixes.
PublishedAdapters *published_adapters_open(const char *path, Error *error);
void published_adapters_close(PublishedAdapters *adapters);

/// "<folder>/adapter_config.json" where LoRA is there, else NULL.
const char *published_adapters_config(const PublishedAdapters *adapters);

/// Tensors by the names that parameters have ("mm_projector.clip_pe",
/// "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"), sorted.
int published_adapters_count(const PublishedAdapters *adapters);
const StoredTensor *published_adapters_tensor(const PublishedAdapters *adapters, int index,
                                              const char **name);

/// The width between the projector's two layers, under LLaVA's names or DiffLMM's; 0 where it is
/// the published one, that of the visual tokens, or there is no such projector.
int64_t published_adapters_projector_width(const PublishedAdapters *adapters, bool is_llava);

/// Reads the values of all parameters; of those in GROUP_LORA only if `with_lora`, else the file's
/// LoRA tensors are passed over. One error lists every tensor that is missing, unknown, or of
/// another shape or type than expected, or says that only the projector's width is another. The
/// tensors of an implicit captioner, which the published class has in any case, are passed over
/// where `parameters` have none.
bool published_adapters_load(const PublishedAdapters *adapters, ParameterSet *parameters,
                             bool with_lora, Error *error);

/// Where the tensors are written: "<folder>/<stem>.bin" and so on. Formats of the adapters' file;
/// LoRA is always safetensors.
typedef enum PublishedFormat { PUBLISHED_BIN, PUBLISHED_SAFETENSORS } PublishedFormat;

/// Writes the adapters into a folder under their published names, exactly as they are:
/// non_lora_trainables.* and adapter_model.safetensors where there are parameters in GROUP_LORA,
/// else, or without `with_lora`, mm_projector.*.
bool published_adapters_write(const char *folder, const ParameterSet *parameters, bool with_lora,
                              PublishedFormat format, Error *error);
