// Reading the weights of a decoder, and what a pass over packed sequences is made of. The pass
// itself: models/language/llama_forward.c.
#include "models/language/llama.h"

#include "models/weights.h"

#include <stdlib.h>

static const char *const module_names[LLAMA_MODULE_COUNT] = {
    "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj",
    "mlp.gate_proj",    "mlp.up_proj",      "mlp.down_proj",
};

const char *llama_module_name(LlamaModule module) { return module_names[module]; }

int llama_module_out(const LlamaConfig *config, LlamaModule module) {
    switch (module) {
    case Q_PROJ:
        return config->num_attention_heads * config->head_dim;
    case K_PROJ:
    case V_PROJ:
        return config->num_key_value_heads * config->head_dim;
    case GATE_PROJ:
    case UP_PROJ:
        return config->intermediate_size;
    default:
        return config->hidden_size;
    }
}

int llama_module_in(const LlamaConfig *config, LlamaModule module) {
    switch (module) {
    case O_PROJ:
        return config->num_attention_heads * config->head_dim;
    case DOWN_PROJ:
        return config->intermediate_size;
    default:
        return config->hidden_size;
    }
}

// ---- weights

static void load_layer(Weights *weights, const LlamaConfig *config, LlamaLayer *layer) {
    layer->input_layernorm = weights_vector(weights, "input_layernorm.weight", config->hidden_size);
    layer->post_attention_layernorm =
        weights_vector(weights, "post_attention_layernorm.weight", config->hidden_size);
    for (int m = 0; m < LLAMA_MODULE_COUNT; m++) {
        bool bias = m < O_PROJ ? config->qkv_bias : m == O_PROJ ? config->o_bias : config->mlp_bias;
        int out = llama_module_out(config, m), in = llama_module_in(config, m);
        layer->linears[m] = bias ? affine_linear(weights, module_names[m], out, in)
                                 : affine_matrix(weights, module_names[m], out, in);
    }
}

/// Embeddings and lm_head, which the configuration may tie. As in transformers 5 the files count
/// for more: two matrices that differ are not tied, and where only one is there, it is both.
static void load_embeddings(Llama *llama, Weights *weights) {
    static const char EMBEDDINGS[] = "model.embed_tokens.weight", HEAD[] = "lm_head.weight";
    const int rows = llama->config.vocab_size, columns = llama->config.hidden_size;
    bool tied = llama->config.tie_word_embeddings;
    const bool has_head = weights_have(weights, HEAD),
               has_both = has_head && weights_have(weights, EMBEDDINGS);
    if (tied && has_both && !weights_are_equal(weights, EMBEDDINGS, HEAD)) {
        weights_warn(weights,
                     "tie_word_embeddings is true, but lm_head.weight is another matrix than the "
                     "embeddings; it is used. Set tie_word_embeddings to false");
        tied = false;
    }
    llama->embed_tokens =
        weights_matrix(weights, tied && has_head && !has_both ? HEAD : EMBEDDINGS, rows, columns);
    llama->lm_head =
        tied ? tensor_retain(llama->embed_tokens) : weights_matrix(weights, HEAD, rows, columns);
}

static void load_weights(Llama *llama, Weights *weights, DType matrices) {
    const LlamaConfig *config = &llama->config;
    load_embeddings(llama, weights);
    llama->norm = weights_vector(weights, "model.norm.weight", config->hidden_size);
    weights_matrix_type(weights, matrices);
    for (int i = 0; i < config->num_hidden_layers; i++) {
        weights_prefix(weights, "model.layers.%d.", i);
        load_layer(weights, config, &llama->layers[i]);
    }
    weights_leave(weights, "*.rotary_emb.inv_freq"); // computed
    if (config->tie_word_embeddings) weights_leave(weights, "lm_head.weight");
    weights_leave(weights, "model.mm_projector.*"); // LLaVA's
    weights_leave(weights, "model.vision_tower.*");
    weights_leave(weights, "model.image_newline");
}

static Llama *load(const char *path, Device *device, DType dtype, DType matrices, Error *error) {
    Weights *weights = weights_open(path, device, dtype, error);
    if (!weights) return NULL;
    Llama *llama = checked_calloc(1, sizeof *llama);
    llama->device = device;
    llama->dtype = dtype;
    llama->config = llama_config_read(weights);
    if (!weights_failed(weights)) {
        llama->layers =
            checked_calloc((size_t)llama->config.num_hidden_layers, sizeof *llama->layers);
        load_weights(llama, weights, matrices);
        llama->rotation_table = rotation_table_new(&llama->config.rope, llama->config.head_dim);
    }
    if (weights_finish(weights, error)) return llama;
    llama_free(llama);
    return NULL;
}

Llama *llama_load(const char *path, Device *device, DType dtype, Error *error) {
    return load(path, device, dtype, dtype, error);
}

Llama *llama_load_float8(const char *path, Device *device, DType dtype, Error *error) {
    return load(path, device, dtype, FLOAT8, error);
}

void llama_free(Llama *llama) {
    if (!llama) return;
    for (int i = 0; llama->layers && i < llama->config.num_hidden_layers; i++) {
        LlamaLayer *layer = &llama->layers[i];
        tensor_release(layer->input_layernorm);
        tensor_release(layer->post_attention_layernorm);
        for (int m = 0; m < LLAMA_MODULE_COUNT; m++) affine_release(&layer->linears[m]);
    }
    tensor_release(llama->embed_tokens);
    tensor_release(llama->norm);
    tensor_release(llama->lm_head);
    free(llama->layers);
    rotation_table_free(llama->rotation_table);
    llama_config_release(&llama->config);
    free(llama);
}

// ---- what a pass is made of

Tensor *llama_rotations(const Llama *llama, int num_sequences, const int *first, const int *lengths,
                        int64_t rows) {
    int64_t width = llama->config.head_dim, row = 0;
    float *rotations = checked_calloc((size_t)(rows * width) + 1, sizeof *rotations);
    for (int s = 0; s < num_sequences; s++) {
        int begin = first ? first[s] : 0;
        CHECK(row + lengths[s] <= rows, "llama_rotations: the sequences have more than %lld rows",
              (long long)rows);
        rotation_table_rows(llama->rotation_table, begin, lengths[s], begin + lengths[s],
                            rotations + row * width);
        row += lengths[s];
    }
    Tensor *x = tensor_from_host(llama->device, FLOAT32, SHAPE(rows, width), rotations);
    free(rotations);
    return x;
}

Tensor *llama_embed(const Llama *llama, const int32_t *ids, int64_t count) {
    for (int64_t i = 0; i < count; i++)
        CHECK(ids[i] >= 0 && ids[i] < llama->config.vocab_size, "token %d of a vocabulary of %d",
              ids[i], llama->config.vocab_size);
    return embedding(llama->embed_tokens,
                     tensor_from_host(llama->device, INT32, SHAPE(count), ids));
}

Attention llama_attention(const Llama *llama, int num_sequences, const int *lengths) {
    const LlamaConfig *config = &llama->config;
    return attention_packed(llama->device, num_sequences, lengths, config->num_attention_heads,
                            config->num_key_value_heads, config->head_dim, true);
}

Attention llama_tail_attention(const Llama *llama, int num_sequences, const int *lengths,
                               const int *query_lengths) {
    const LlamaConfig *config = &llama->config;
    int32_t(*segments)[4] = checked_malloc((size_t)num_sequences * sizeof *segments + 1);
    int first_query = 0, first_key = 0;
    for (int s = 0; s < num_sequences; s++) {
        segments[s][0] = first_query;
        segments[s][1] = query_lengths[s];
        segments[s][2] = first_key;
        segments[s][3] = lengths[s];
        first_query += query_lengths[s];
        first_key += lengths[s];
    }
    Attention shape = attention_segments(llama->device, num_sequences,
                                         (const int32_t(*)[4])segments, config->num_attention_heads,
                                         config->num_key_value_heads, config->head_dim, true);
    free(segments);
    return shape;
}
