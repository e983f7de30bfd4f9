#include "models/llama_config.h"

#include <string.h>

enum { MAX_WIDTH = 1 << 20, MAX_LAYERS = 4096, MAX_VOCABULARY = 1 << 24 };

static bool in_range(const ModelConfig *source, const char *key, int64_t value, int64_t limit,
                     Error *error) {
    if (value >= 1 && value <= limit) return true;
    return error_set(error, "%s: %s is %lld; expected 1 to %lld", model_config_path(source), key,
                     (long long)value, (long long)limit);
}

static bool read_size(const ModelConfig *source, const char *key, int64_t limit, int *size,
                      Error *error) {
    int64_t value;
    if (!model_config_int(source, key, &value, error)) return false;
    *size = (int)value;
    return in_range(source, key, value, limit, error);
}

static bool read_size_or(const ModelConfig *source, const char *key, int64_t fallback,
                         int64_t limit, int *size, Error *error) {
    int64_t value;
    if (!model_config_int_or(source, key, fallback, &value, error)) return false;
    *size = (int)value;
    return in_range(source, key, value, limit, error);
}

/// A string key that may be absent or `expected`.
static bool only(const ModelConfig *source, const char *key, const char *expected, Error *error) {
    const char *value;
    if (!model_config_string_or(source, key, expected, &value, error)) return false;
    if (!strcmp(value, expected)) return true;
    return model_config_unsupported(source, key, expected, error);
}

static bool read_heads(const ModelConfig *source, LlamaConfig *config, Error *error) {
    if (!read_size(source, "num_attention_heads", MAX_WIDTH, &config->num_attention_heads, error) ||
        !read_size_or(source, "num_key_value_heads", config->num_attention_heads, MAX_WIDTH,
                      &config->num_key_value_heads, error) ||
        !read_size_or(source, "head_dim", config->hidden_size / config->num_attention_heads,
                      MAX_WIDTH, &config->head_dim, error))
        return false;
    if (config->head_dim % 2)
        return error_set(error, "%s: head_dim is %d; the rotary embedding needs an even one",
                         model_config_path(source), config->head_dim);
    if ((int64_t)config->num_attention_heads * config->head_dim > MAX_WIDTH)
        return error_set(error, "%s: num_attention_heads * head_dim is more than %d",
                         model_config_path(source), MAX_WIDTH);
    if (config->num_attention_heads % config->num_key_value_heads)
        return error_set(error, "%s: num_key_value_heads is %d, which does not divide %d heads",
                         model_config_path(source), config->num_key_value_heads,
                         config->num_attention_heads);
    return true;
}

static bool read_rope(const ModelConfig *source, LlamaConfig *config, Error *error) {
    double theta, partial;
    if (!only(source, "rope_scaling.rope_type", "default", error) ||
        !only(source, "rope_scaling.type", "default", error) ||
        !only(source, "rope_parameters.rope_type", "default", error) ||
        !model_config_float_or(source, "rope_theta", 10000.0, &theta, error) ||
        !model_config_float_or(source, "rope_parameters.rope_theta", theta, &theta, error) ||
        !model_config_float_or(source, "rope_parameters.partial_rotary_factor", 1.0, &partial,
                               error))
        return false;
    if (partial != 1.0)
        return model_config_unsupported(source, "rope_parameters.partial_rotary_factor", "1",
                                        error);
    if (!(theta > 0.0))
        return error_set(error, "%s: rope_theta is %g; expected a positive number",
                         model_config_path(source), theta);
    config->rope_theta = (float)theta;
    return true;
}

static bool read_eos(const ModelConfig *source, LlamaConfig *config, Error *error) {
    int64_t ids[LLAMA_MAX_EOS] = {2};
    config->num_eos = 1;
    if (model_config_has(source, "eos_token_id") &&
        !model_config_int_list(source, "eos_token_id", LLAMA_MAX_EOS, ids, &config->num_eos, error))
        return false;
    for (int i = 0; i < config->num_eos; i++) {
        if (ids[i] < 0 || ids[i] >= MAX_VOCABULARY)
            return error_set(error, "%s: eos_token_id is %lld; expected the id of a token",
                             model_config_path(source), (long long)ids[i]);
        config->eos_token_id[i] = (int)ids[i];
    }
    return true;
}

static bool read_flags(const ModelConfig *source, LlamaConfig *config, Error *error) {
    double eps;
    if (!model_config_bool_or(source, "tie_word_embeddings", false, &config->tie_word_embeddings,
                              error) ||
        !model_config_bool_or(source, "attention_bias", false, &config->attention_bias, error) ||
        !model_config_bool_or(source, "mlp_bias", false, &config->mlp_bias, error) ||
        !model_config_float_or(source, "rms_norm_eps", 1e-6, &eps, error))
        return false;
    if (!(eps >= 0.0 && eps < 1.0))
        return error_set(error, "%s: rms_norm_eps is %g; expected 0 to 1",
                         model_config_path(source), eps);
    config->rms_norm_eps = (float)eps;
    return true;
}

/// LLaVA's checkpoints hold a Llama under the same names.
static bool known_model_type(const ModelConfig *source, Error *error) {
    const char *type;
    if (!model_config_string_or(source, "model_type", "llama", &type, error)) return false;
    if (!strcmp(type, "llama") || !strcmp(type, "llava") || !strcmp(type, "llava_llama"))
        return true;
    return model_config_unsupported(source, "model_type", "llama", error);
}

bool llama_config_read(const ModelConfig *source, LlamaConfig *config, Error *error) {
    *config = (LlamaConfig){0};
    return known_model_type(source, error) && only(source, "hidden_act", "silu", error) &&
           read_size(source, "hidden_size", MAX_WIDTH, &config->hidden_size, error) &&
           read_size(source, "intermediate_size", MAX_WIDTH, &config->intermediate_size, error) &&
           read_size(source, "num_hidden_layers", MAX_LAYERS, &config->num_hidden_layers, error) &&
           read_size(source, "vocab_size", MAX_VOCABULARY, &config->vocab_size, error) &&
           read_heads(source, config, error) && read_rope(source, config, error) &&
           read_eos(source, config, error) && read_flags(source, config, error);
}
