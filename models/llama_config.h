/// config.json of a LlamaForCausalLM, checked: sizes in range and consistent, and nothing asked for that models/llama.c does not do.
#pragma once
#include "models/llama.h"
#include "models/weights.h"

/// Reads both transformers 4's keys and 5's (`rope_parameters`). On a missing, malformed or unsupported key the weights have failed.
LlamaConfig llama_config_read(Weights *weights);
