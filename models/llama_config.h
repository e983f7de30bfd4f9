/// config.json of a LlamaForCausalLM, checked: sizes in range and consistent, and nothing asked for that models/llama.c does not do.
#pragma once
#include "checkpoints/model_config.h"
#include "models/llama.h"

/// Reads both transformers 4's keys and 5's (`rope_parameters`). False, naming the key, on a missing, malformed or unsupported one.
bool llama_config_read(const ModelConfig *source, LlamaConfig *config, Error *error);
