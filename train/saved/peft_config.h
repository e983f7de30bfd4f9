/// adapter_config.json, in which PEFT says what a LoRA adapter is.
#pragma once
#include "models/language/lora.h"

/// Reads it for a Llama of so many layers; dropout included, the seed is left alone. Refused by
/// key: what models/language/lora.h does not do (DoRA, biases, ranks or scalings that differ
/// between layers, modules trained whole, ...), and target_modules that are not the same in every
/// layer or name something that is no linear layer of one.
bool peft_config_read(const char *path, int num_layers, LoraOptions *options, Error *error);

/// Writes one that PEFT reads, whole or not at all. base_model: name or folder of the language
/// model.
bool peft_config_write(const char *path, const LoraOptions *options, const char *base_model,
                       Error *error);
