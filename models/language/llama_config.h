/// config.json of a decoder (LlamaForCausalLM, MistralForCausalLM, Qwen2ForCausalLM), checked:
/// sizes in range and consistent, and nothing asked for that models/language/llama.h does not do.
#pragma once
#include "models/language/llama_rope.h"
#include "models/weights.h"

enum { LLAMA_MAX_EOS = 8 };

typedef struct LlamaConfig {
    int hidden_size, intermediate_size, num_hidden_layers;
    int num_attention_heads, num_key_value_heads, head_dim;
    int vocab_size;
    float rms_norm_eps;
    LlamaRope rope;
    bool tie_word_embeddings, qkv_bias, o_bias, mlp_bias;
    /// [num_hidden_layers]: a token of that layer sees so many, itself among them; 0: all before it
    int *windows;
    int eos_token_id[LLAMA_MAX_EOS],
        /// what ends a text: as generation_config.json says, else config.json
        num_eos;
} LlamaConfig;

/// Reads both transformers 4's keys and 5's. On a missing, malformed or unsupported key the weights
/// have failed. Free with llama_config_release().
LlamaConfig llama_config_read(Weights *weights);
void llama_config_release(LlamaConfig *config);
