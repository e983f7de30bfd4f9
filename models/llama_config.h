/// config.json of a decoder (LlamaForCausalLM, MistralForCausalLM, Qwen2ForCausalLM), checked: sizes in range and consistent, and
/// nothing asked for that models/llama.c does not do.
#pragma once
#include "models/llama.h"
#include "models/weights.h"

/// Reads both transformers 4's keys and 5's. On a missing, malformed or unsupported key the weights have failed. Free with
/// llama_config_release().
LlamaConfig llama_config_read(Weights *weights);
void llama_config_release(LlamaConfig *config);
