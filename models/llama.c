// The formula of a decoder layer, and reading its weights. The frozen weights keep no activations (autograd/tape.h), so a layer on the
// tape holds what norms, attention and the gated product need, and a recomputed one only its input.
#include "models/llama.h"

#include "models/block_output.h"
#include "models/llama_cache.h"
#include "models/llama_config.h"
#include "models/lora.h"

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

static void load_weights(Llama *llama, Weights *weights) {
    const LlamaConfig *config = &llama->config;
    llama->embed_tokens = weights_matrix(weights, "model.embed_tokens.weight", config->vocab_size,
                                         config->hidden_size);
    llama->norm = weights_vector(weights, "model.norm.weight", config->hidden_size);
    llama->lm_head =
        config->tie_word_embeddings
            ? tensor_retain(llama->embed_tokens)
            : weights_matrix(weights, "lm_head.weight", config->vocab_size, config->hidden_size);
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

Llama *llama_load(const char *path, Device *device, DType dtype, Error *error) {
    Weights *weights = weights_open(path, device, dtype, error);
    if (!weights) return NULL;
    Llama *llama = checked_calloc(1, sizeof *llama);
    llama->device = device;
    llama->dtype = dtype;
    llama->config = llama_config_read(weights);
    if (!weights_failed(weights)) {
        llama->layers =
            checked_calloc((size_t)llama->config.num_hidden_layers, sizeof *llama->layers);
        load_weights(llama, weights);
        llama->rotation_table = rotation_table_new(&llama->config.rope, llama->config.head_dim);
    }
    if (weights_finish(weights, error)) return llama;
    llama_free(llama);
    return NULL;
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

// ---- forward

/// What a decoder layer reads beside its input.
typedef struct LayerContext {
    const Llama *llama;
    const LlamaOptions *options;
    Tensor *rotations;
    const Attention *shape;
    int index;
} LayerContext;

static Tensor *project(const LayerContext *context, LlamaModule module, Tensor *x) {
    const Affine *layer = &context->llama->layers[context->index].linears[module];
    LoRA update;
    return linear_lora(x, layer->weight, layer->bias,
                       lora_update(context->options, context->index, module, &update));
}

/// Which rows go on from the keys of a layer: all, or in the last layer the tail.
static Tensor *asking_rows(const LlamaTail *tail, Tensor *x) {
    return tail ? gather_rows(x, tail->rows) : x;
}

static Tensor *self_attention(const LayerContext *context, const LayerContext *asking, Tensor *x,
                              const LlamaTail *tail) {
    const LlamaConfig *config = &context->llama->config;
    const LlamaOptions *options = context->options;
    Attention shape = attention_in_window(*asking->shape, config->windows[context->index]);
    Tensor *q = rope(project(asking, Q_PROJ, asking_rows(tail, x)), asking->rotations);
    Tensor *k = rope(project(context, K_PROJ, x), context->rotations);
    Tensor *v = project(context, V_PROJ, x);
    if (options->cache) llama_cache_append(options->cache, context->index, &k, &v);
    if (options->capture)
        attention_capture_layer(options->capture, context->index, config->num_hidden_layers, q, k,
                                shape);
    return project(asking, O_PROJ, scaled_dot_product_attention(q, k, v, shape));
}

static Tensor *mlp(const LayerContext *context, Tensor *x) {
    Tensor *gated = swiglu(project(context, GATE_PROJ, x), project(context, UP_PROJ, x));
    return project(context, DOWN_PROJ, gated);
}

/// `asking` is the context of the rows that `tail` takes; with no tail it is `context`.
static Tensor *layer_of_rows(const LayerContext *context, const LayerContext *asking, Tensor *x,
                             const LlamaTail *tail) {
    const LlamaLayer *layer = &context->llama->layers[context->index];
    float eps = context->llama->config.rms_norm_eps;
    scope_begin();
    Tensor *h = self_attention(context, asking, rms_norm(x, layer->input_layernorm, eps), tail);
    x = asking_rows(tail, x);
    h = add_rms_norm(x, h, layer->post_attention_layernorm, eps, &x);
    return scope_end_returning(add(x, mlp(asking, h)));
}

static Tensor *decoder_layer(const LayerContext *context, Tensor *x) {
    return layer_of_rows(context, context, x, NULL);
}

static Tensor *last_layer_of_tail(const LayerContext *context, Tensor *x) {
    const LlamaTail *tail = context->options->tail;
    LlamaOptions options = *context->options;
    options.dropout_rows = tail->dropout_rows;
    LayerContext asking = {context->llama, &options, gather_rows(context->rotations, tail->rows),
                           &tail->shape, context->index};
    return layer_of_rows(context, &asking, x, tail);
}

/// A layer as the tape keeps it to run it again: values, and tensors that the tape holds.
typedef struct RecomputedLayer {
    const Llama *llama;
    const LlamaLora *lora;
    Tensor *rotations, *dropout_rows;
    const Tensor *segments;
    uint64_t seed, pass;
    int64_t pairs, rows;
    float scale;
    int num_segments, max_length;
    uint16_t index;
    bool train;
} RecomputedLayer;

static Tensor *run_recomputed_layer(const void *saved, Tensor *x) {
    const RecomputedLayer *layer = saved;
    const LlamaConfig *config = &layer->llama->config;
    LlamaOptions options = {.lora = layer->lora,
                            .train = layer->train,
                            .seed = layer->seed,
                            .pass = layer->pass,
                            .dropout_rows = layer->dropout_rows};
    Attention shape = {.heads = config->num_attention_heads,
                       .kv_heads = config->num_key_value_heads,
                       .head_dim = config->head_dim,
                       .scale = layer->scale,
                       .causal = true,
                       .num_segments = layer->num_segments,
                       .max_q_length = layer->max_length,
                       .max_k_length = layer->max_length,
                       .pairs = layer->pairs,
                       .q_rows = layer->rows,
                       .k_rows = layer->rows,
                       .segments = layer->segments};
    LayerContext context = {layer->llama, &options, layer->rotations, &shape, layer->index};
    return decoder_layer(&context, x);
}

static Tensor *recomputed_layer(const LayerContext *context, Tensor *x) {
    const LlamaOptions *options = context->options;
    const Attention *shape = context->shape;
    RecomputedLayer layer = {.llama = context->llama,
                             .lora = options->lora,
                             .rotations = context->rotations,
                             .dropout_rows = options->dropout_rows,
                             .segments = shape->segments,
                             .seed = options->seed,
                             .pass = options->pass,
                             .index = (uint16_t)context->index,
                             .scale = shape->scale,
                             .pairs = shape->pairs,
                             .rows = shape->q_rows,
                             .num_segments = shape->num_segments,
                             .max_length = shape->max_q_length,
                             .train = options->train};
    Tensor *held[3] = {context->rotations, (Tensor *)shape->segments, options->dropout_rows};
    return recompute(run_recomputed_layer, &layer, sizeof layer, x, held);
}

static bool is_tail(const LayerContext *context) {
    return context->options->tail && context->index == context->llama->config.num_hidden_layers - 1;
}

/// A layer is run again only where there will be a backward pass, and nothing else is asked of it.
static bool is_recomputed(const LayerContext *context, const Tensor *x) {
    const LlamaOptions *options = context->options;
    return !is_tail(context) && options->recompute > 0 &&
           context->index % options->recompute == 0 && !options->cache && !options->capture &&
           tape_recording() && (requires_grad(x) || options->lora);
}

Tensor *llama_forward(const Llama *llama, Tensor *embeddings, Tensor *rotations, Attention shape,
                      const LlamaOptions *options) {
    LayerContext context = {llama, options, rotations, &shape, 0};
    Tensor *x = embeddings;
    for (; context.index < llama->config.num_hidden_layers; context.index++) {
        x = is_recomputed(&context, x) ? recomputed_layer(&context, x)
            : is_tail(&context)        ? last_layer_of_tail(&context, x)
                                       : decoder_layer(&context, x);
        block_output(x, "model.layers.%d", context.index);
    }
    return rms_norm(x, llama->norm, llama->config.rms_norm_eps);
}

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

Tensor *llama_logits(const Llama *llama, Tensor *hidden, Tensor *rows) {
    return linear(rows ? gather_rows(hidden, rows) : hidden, llama->lm_head, NULL);
}
