#include "models/llama_config.h"

#include <string.h>

enum { MAX_WIDTH = 1 << 20, MAX_LAYERS = 4096, MAX_VOCABULARY = 1 << 24 };

/// A string key that may be absent or must be `expected`.
static void only(Weights *weights, const char *key, const char *expected) {
    if (strcmp(weights_string_or(weights, key, expected), expected) != 0)
        weights_refuse(weights, key, expected);
}

/// LLaVA's checkpoints hold a Llama under the same names.
static void check_model_type(Weights *weights) {
    const char *type = weights_string_or(weights, "model_type", "llama");
    if (strcmp(type, "llama") != 0 && strcmp(type, "llava") != 0 &&
        strcmp(type, "llava_llama") != 0)
        weights_refuse(weights, "model_type", "llama");
}

static void read_heads(Weights *weights, LlamaConfig *config) {
    int heads = weights_int(weights, "num_attention_heads", 1, MAX_WIDTH);
    int key_value_heads = weights_int_or(weights, "num_key_value_heads", heads, 1, MAX_WIDTH);
    int dim = weights_int_or(weights, "head_dim", config->hidden_size / heads, 1, MAX_WIDTH);
    config->num_attention_heads = heads;
    config->num_key_value_heads = key_value_heads;
    config->head_dim = dim;
    if (heads % key_value_heads)
        weights_refuse(weights, "num_key_value_heads", "a divisor of num_attention_heads");
    if (dim < 2 || dim % 2)
        weights_fail(weights, "head_dim is %d; the rotary embedding needs an even one", dim);
    if ((int64_t)heads * dim > MAX_WIDTH)
        weights_fail(weights, "num_attention_heads * head_dim is more than %d", MAX_WIDTH);
}

static void read_rope(Weights *weights, LlamaConfig *config) {
    only(weights, "rope_scaling.rope_type", "default");
    only(weights, "rope_scaling.type", "default");
    only(weights, "rope_parameters.rope_type", "default");
    if (weights_float_or(weights, "rope_parameters.partial_rotary_factor", 1.0) != 1.0)
        weights_refuse(weights, "rope_parameters.partial_rotary_factor", "1");
    double theta = weights_float_or(weights, "rope_theta", 10000.0);
    theta = weights_float_or(weights, "rope_parameters.rope_theta", theta);
    if (!(theta > 0.0)) weights_fail(weights, "rope_theta is %g; expected more than 0", theta);
    config->rope_theta = (float)theta;
}

static void read_eos(Weights *weights, LlamaConfig *config) {
    config->eos_token_id[0] = 2;
    config->num_eos = 1;
    if (weights_has_key(weights, "eos_token_id"))
        config->num_eos = weights_int_list(weights, "eos_token_id", LLAMA_MAX_EOS,
                                           config->eos_token_id, 0, MAX_VOCABULARY);
}

LlamaConfig llama_config_read(Weights *weights) {
    LlamaConfig config = {0};
    check_model_type(weights);
    only(weights, "hidden_act", "silu");
    config.hidden_size = weights_int(weights, "hidden_size", 1, MAX_WIDTH);
    config.intermediate_size = weights_int(weights, "intermediate_size", 1, MAX_WIDTH);
    config.num_hidden_layers = weights_int(weights, "num_hidden_layers", 1, MAX_LAYERS);
    config.vocab_size = weights_int(weights, "vocab_size", 1, MAX_VOCABULARY);
    config.tie_word_embeddings = weights_bool_or(weights, "tie_word_embeddings", false);
    config.attention_bias = weights_bool_or(weights, "attention_bias", false);
    config.mlp_bias = weights_bool_or(weights, "mlp_bias", false);
    config.rms_norm_eps = (float)weights_float_or(weights, "rms_norm_eps", 1e-6);
    if (!(config.rms_norm_eps >= 0.0f && config.rms_norm_eps < 1.0f))
        weights_refuse(weights, "rms_norm_eps", "0 to 1");
    read_heads(weights, &config);
    read_rope(weights, &config);
    read_eos(weights, &config);
    return config;
}
