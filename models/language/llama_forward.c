// The formula of a decoder layer. The frozen weights keep no activations (autograd/tape.h), so a
// layer on the tape holds what norms, attention and the gated product need, and a recomputed one
// only its input.
#include "models/block_output.h"
#include "models/language/llama_cache.h"
#include "models/language/lora.h"

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
    const LoRA *lora = lora_update(context->options, context->index, module, &update);
    if (context->options->few_rows) return linear_few_rows(x, layer->weight, layer->bias, lora);
    return linear_lora(x, layer->weight, layer->bias, lora);
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

/// A layer as the tape keeps it to run it again: copies of what the forward pass read from its
/// caller, and tensors that the tape holds.
typedef struct RecomputedLayer {
    LayerContext context;
    LlamaOptions options;
    Attention shape;
} RecomputedLayer;

static Tensor *run_recomputed_layer(const void *saved, Tensor *x) {
    const RecomputedLayer *layer = saved;
    LayerContext context = layer->context;
    context.options = &layer->options;
    context.shape = &layer->shape;
    return decoder_layer(&context, x);
}

static Tensor *recomputed_layer(const LayerContext *context, Tensor *x) {
    RecomputedLayer layer = {*context, *context->options, *context->shape};
    Tensor *held[3] = {context->rotations, (Tensor *)context->shape->segments,
                       context->options->dropout_rows};
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

Tensor *llama_logits(const Llama *llama, Tensor *hidden, Tensor *rows) {
    return linear(rows ? gather_rows(hidden, rows) : hidden, llama->lm_head, NULL);
}

Tensor *llama_next_logits(const Llama *llama, Tensor *hidden, Tensor *rows) {
    return linear_few_rows(gather_rows(hidden, rows), llama->lm_head, NULL, NULL);
}
