/// The parts of `difflmm export`: each writes into a folder that is given its name when all of it
/// is there.
#pragma once
#include "autograd/parameters.h"
#include "checkpoints/published_adapters.h"
#include "models/language/lora.h"
#include "train/config/config.h"

/// The trained part of a model, and what the configuration says about the rest.
typedef struct ExportSource {
    const Config *config;
    ParameterSet parameters;
    LoraOptions lora;
    bool has_lora;
    /// data.image_normalization is that of its training, and not only a default
    bool knows_normalization;
} ExportSource;

/// Writes mm_projector.* (stage 1), or non_lora_trainables.* with adapter_config.json and
/// adapter_model.safetensors; and config.json, the language model's with LLaVA's keys and, if it is
/// known, "image_normalization"; "projector_width" where that is not the published one.
bool export_adapters(const ExportSource *source, const char *folder, PublishedFormat format,
                     Error *error);

/// Writes the language model with its LoRA merged, W + scale * B A in float32, rounded once to the
/// type of W, as safetensors in shards of at most `shard_bytes`, its config.json (and
/// the two keys of this program's own) and tokenizer beside them; and mm_projector.*. One matrix at
/// a time is in memory.
bool export_merged(const ExportSource *source, const char *folder, PublishedFormat format,
                   int64_t shard_bytes, Error *error);

/// Where the projector's width is not the published one, says on `out` what a reader needs for it.
void export_tell_width(const ExportSource *source, FILE *out);

/// Writes the config.json of either.
bool export_config(const ExportSource *source, bool is_merged, const char *folder, Error *error);
