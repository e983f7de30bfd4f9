#include "models/language/llama_config.h"

#include "models/multimodal_config.h"
#include "ops/types.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_WIDTH = 1 << 20, MAX_LAYERS = 4096, MAX_VOCABULARY = 1 << 24, MAX_LENGTH = 1 << 30 };

/// Whose conventions a configuration follows where it is silent.
typedef enum Family { LLAMA, MISTRAL, QWEN2 } Family;

/// LLaVA's checkpoints hold a decoder under the same names.
static const struct {
    const char *model_type, *architecture;
    Family family;
} known[] = {
    {"llama", "LlamaForCausalLM", LLAMA},
    {"mistral", "MistralForCausalLM", MISTRAL},
    {"qwen2", "Qwen2ForCausalLM", QWEN2},
    {"llava", "LlavaLlamaForCausalLM", LLAMA},
    {"llava_llama", "LlavaLlamaForCausalLM", LLAMA},
    {"llava_mistral", "LlavaMistralForCausalLM", MISTRAL},
    {"llava_qwen", "LlavaQwenForCausalLM", QWEN2},
};
enum { KNOWN = sizeof known / sizeof *known };

static Family read_family(Weights *weights) {
    enum { MAX_ARCHITECTURES = 8 };
    static const char *const parts[] = {"text_config", "llm_config", "language_config",
                                        "language_model_config", NULL};
    refuse_whole_model(weights, "the language model", parts);
    const char *names[MAX_ARCHITECTURES] = {0};
    bool has_type = weights_has_key(weights, "model_type");
    const char *key = has_type ? "model_type" : "architectures";
    if (has_type)
        names[0] = weights_string_or(weights, key, "");
    else if (weights_has_key(weights, key))
        weights_string_list(weights, key, MAX_ARCHITECTURES, names);
    else
        return LLAMA;
    for (int i = 0; i < KNOWN && names[0]; i++)
        if (!strcmp(names[0], has_type ? known[i].model_type : known[i].architecture))
            return known[i].family;
    weights_refuse(weights, key,
                   has_type ? "llama, mistral or qwen2"
                            : "LlamaForCausalLM, MistralForCausalLM or Qwen2ForCausalLM");
    return LLAMA;
}

/// What would change the result and is not done here.
static void refuse_unsupported(Weights *weights) {
    if (strcmp(weights_string_or(weights, "hidden_act", "silu"), "silu") != 0)
        weights_refuse(weights, "hidden_act", "silu");
    if (weights_has_key(weights, "quantization_config"))
        weights_refuse(weights, "quantization_config",
                       "none: weights in float32, float16 or "
                       "bfloat16");
    if (weights_bool_or(weights, "use_mrope", false)) weights_refuse(weights, "use_mrope", "false");
}

static void read_heads(Weights *weights, LlamaConfig *config) {
    int heads = weights_int(weights, "num_attention_heads", 1, MAX_WIDTH);
    int key_value_heads = weights_int_or(weights, "num_key_value_heads", heads, 1, MAX_WIDTH);
    int dim =
        weights_int_or(weights, "head_dim", config->hidden_size / heads, 1, ATTENTION_MAX_HEAD_DIM);
    config->num_attention_heads = heads;
    config->num_key_value_heads = key_value_heads;
    config->head_dim = dim;
    if (heads % key_value_heads)
        weights_refuse(weights, "num_key_value_heads", "a divisor of num_attention_heads");
    if (dim < 2 || dim % 2 || dim > ATTENTION_MAX_HEAD_DIM)
        weights_fail(weights, "head_dim is %d; expected an even number up to %d", dim,
                     ATTENTION_MAX_HEAD_DIM);
    if ((int64_t)heads * dim > MAX_WIDTH)
        weights_fail(weights, "num_attention_heads * head_dim is more than %d", MAX_WIDTH);
}

/// Qwen2's projections to queries, keys and values always have a bias, the one from values never;
/// Mistral's have none.
static void read_biases(Weights *weights, Family family, LlamaConfig *config) {
    config->qkv_bias = family == QWEN2;
    if (family != LLAMA) return;
    config->qkv_bias = config->o_bias = weights_bool_or(weights, "attention_bias", false);
    config->mlp_bias = weights_bool_or(weights, "mlp_bias", false);
}

/// `layer_types` of transformers 5 says it layer by layer.
static void read_layer_types(Weights *weights, LlamaConfig *config, int window) {
    const char **types = checked_calloc(MAX_LAYERS, sizeof *types);
    int count = weights_string_list(weights, "layer_types", MAX_LAYERS, types);
    if (!weights_failed(weights) && count != config->num_hidden_layers)
        weights_fail(weights, "layer_types lists %d layers; num_hidden_layers is %d", count,
                     config->num_hidden_layers);
    for (int i = 0; i < count && !weights_failed(weights); i++) {
        bool sliding = !strcmp(types[i], "sliding_attention");
        if (!sliding && strcmp(types[i], "full_attention") != 0)
            weights_refuse(weights, "layer_types", "full_attention and sliding_attention");
        if (sliding && !window)
            weights_fail(weights, "layer_types has sliding_attention, but there is no "
                                  "sliding_window");
        config->windows[i] = sliding ? window : 0;
    }
    free(types);
}

/// A null sliding_window is none: so Mistral's later releases have it.
static void read_windows(Weights *weights, Family family, LlamaConfig *config) {
    config->windows = checked_calloc((size_t)config->num_hidden_layers, sizeof *config->windows);
    if (family == LLAMA) return; // transformers' LlamaForCausalLM does not look at sliding_window
    int layers = config->num_hidden_layers, first = 0, window = 0;
    if (family == MISTRAL || weights_bool_or(weights, "use_sliding_window", false))
        window = weights_int_or(weights, "sliding_window", 0, 1, MAX_LENGTH);
    if (family == QWEN2) {
        if (weights_has_key(weights, "layer_types")) {
            read_layer_types(weights, config, window);
            return;
        }
        first = weights_int_or(weights, "max_window_layers", 28, 0, MAX_LAYERS);
    }
    for (int i = first; i < layers; i++) config->windows[i] = window;
}

/// What ends a text by generation_config.json, which chat models publish beside their
/// configuration, and which counts for more: Llama 3's names the end of a turn as well as that of a
/// text.
static void read_generation_eos(Weights *weights, LlamaConfig *config) {
    char *path = format_string("%s/generation_config.json",
                               model_directory_path(weights_directory(weights)));
    int64_t ids[LLAMA_MAX_EOS];
    int count = 0;
    Error error;
    ModelConfig *generation = NULL;
    if (access(path, F_OK) == 0 && !weights_failed(weights)) {
        generation = model_config_open(path, &error);
        if (!generation || (model_config_has(generation, "eos_token_id") &&
                            !model_config_int_list(generation, "eos_token_id", LLAMA_MAX_EOS, ids,
                                                   &count, &error)))
            weights_fail(weights, "%s", error.message);
    }
    for (int i = 0; i < count && !weights_failed(weights); i++) {
        if (ids[i] < 0 || ids[i] > MAX_VOCABULARY)
            weights_fail(weights, "%s: eos_token_id lists %lld; expected 0 to %d", path,
                         (long long)ids[i], MAX_VOCABULARY);
        config->eos_token_id[i] = (int)ids[i];
        config->num_eos = count;
    }
    model_config_close(generation);
    free(path);
}

static void read_eos(Weights *weights, Family family, LlamaConfig *config) {
    config->eos_token_id[0] = 2;
    config->num_eos = family != QWEN2;
    if (weights_has_key(weights, "eos_token_id"))
        config->num_eos = weights_int_list(weights, "eos_token_id", LLAMA_MAX_EOS,
                                           config->eos_token_id, 0, MAX_VOCABULARY);
    read_generation_eos(weights, config);
}

LlamaConfig llama_config_read(Weights *weights) {
    LlamaConfig config = {0};
    Family family = read_family(weights);
    refuse_unsupported(weights);
    config.hidden_size = weights_int(weights, "hidden_size", 1, MAX_WIDTH);
    config.intermediate_size = weights_int(weights, "intermediate_size", 1, MAX_WIDTH);
    config.num_hidden_layers = weights_int(weights, "num_hidden_layers", 1, MAX_LAYERS);
    config.vocab_size = weights_int(weights, "vocab_size", 1, MAX_VOCABULARY);
    config.tie_word_embeddings = weights_bool_or(weights, "tie_word_embeddings", false);
    config.rms_norm_eps = (float)weights_float_or(weights, "rms_norm_eps", 1e-6);
    if (!(config.rms_norm_eps >= 0.0f && config.rms_norm_eps < 1.0f))
        weights_refuse(weights, "rms_norm_eps", "0 to 1");
    read_biases(weights, family, &config);
    read_heads(weights, &config);
    config.rope = llama_rope_read(weights, config.head_dim);
    read_windows(weights, family, &config);
    read_eos(weights, family, &config);
    return config;
}

void llama_config_release(LlamaConfig *config) {
    free(config->windows);
    config->windows = NULL;
}
