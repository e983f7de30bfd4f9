/// Trained weights as a user names them (model.adapters, eval.checkpoint, the source of an export):
/// a training checkpoint, a folder of checkpoints, of which the newest intact one is meant, or
/// published adapters (checkpoints/published_adapters.h).
#pragma once
#include "models/language/lora.h"
#include "train/config/config.h"

/// The path itself, or that of the newest intact checkpoint in a folder of checkpoints. NULL on
/// failure; the caller frees it.
char *trained_weights_resolve(const char *path, Error *error);

/// Reads them into the registered parameters. lora: the model's, NULL if it has none; what is
/// stored must then be LoRA of the same rank, scaling and modules. With `require_lora` it must be
/// there, else LoRA parameters that are not stored keep their values. LoRA is passed over where the
/// model has none.
bool trained_weights_load(const char *path, ParameterSet *parameters, const LlamaLora *lora,
                          bool require_lora, Error *error);

/// For a model that is what eval.checkpoint says: where that names published adapters, keys that
/// the configuration does not set become what is stored: model.projector_width by the shapes, and
/// with LoRA those of the lora section by adapter_config.json. Nothing to do otherwise.
bool trained_weights_settle(Config *config, Error *error);

/// The same of model.projector_width and model.adapters, with which training starts. Adapters that
/// cannot be opened change nothing: a run that goes on does not need them.
void trained_weights_settle_start(Config *config);

/// The trained part of a model without the model: registers all stored weights on the processor and
/// reads them. Where published adapters hold LoRA, `options` becomes what adapter_config.json says
/// of it and *has_options true; llm: folder of the language model.
bool trained_weights_read(const char *path, const char *llm, ParameterSet *parameters,
                          LoraOptions *options, bool *has_options, Error *error);
