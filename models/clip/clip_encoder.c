#include "models/clip/clip_encoder.h"

#include "models/block_output.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_WIDTH = 1 << 16, MAX_LAYERS = 1024 };

static Activation read_activation(Weights *weights) {
    const char *name = weights_string_or(weights, "hidden_act", "quick_gelu");
    if (!strcmp(name, "gelu")) return GELU;
    if (!strcmp(name, "gelu_pytorch_tanh") || !strcmp(name, "gelu_new")) return GELU_TANH;
    if (strcmp(name, "quick_gelu") != 0)
        weights_refuse(weights, "hidden_act", "quick_gelu, gelu, gelu_pytorch_tanh or gelu_new");
    return QUICK_GELU;
}

ClipEncoder clip_encoder_configure(Weights *weights, const ClipDefaults *defaults) {
    ClipEncoder encoder = {
        .hidden_size = weights_int_or(weights, "hidden_size", defaults->hidden_size, 1, MAX_WIDTH),
        .intermediate_size =
            weights_int_or(weights, "intermediate_size", defaults->intermediate_size, 1, MAX_WIDTH),
        .num_attention_heads = weights_int_or(weights, "num_attention_heads",
                                              defaults->num_attention_heads, 1, MAX_WIDTH),
        .num_hidden_layers = weights_int_or(weights, "num_hidden_layers",
                                            defaults->num_hidden_layers, 1, MAX_LAYERS),
        .layer_norm_eps = (float)weights_float_or(weights, "layer_norm_eps", 1e-5),
        .hidden_act = read_activation(weights),
    };
    if (encoder.hidden_size % encoder.num_attention_heads != 0 ||
        encoder.hidden_size / encoder.num_attention_heads > ATTENTION_MAX_HEAD_DIM)
        weights_refuse(weights, "num_attention_heads",
                       "a divisor of hidden_size, heads no wider than 1024");
    encoder.num_layers = encoder.num_hidden_layers;
    return encoder;
}

static ClipLayer load_layer(const ClipEncoder *encoder, Weights *weights) {
    int width = encoder->hidden_size, inner = encoder->intermediate_size;
    return (ClipLayer){
        .layer_norm1 = affine_norm(weights, "layer_norm1", width),
        .q_proj = affine_linear(weights, "self_attn.q_proj", width, width),
        .k_proj = affine_linear(weights, "self_attn.k_proj", width, width),
        .v_proj = affine_linear(weights, "self_attn.v_proj", width, width),
        .out_proj = affine_linear(weights, "self_attn.out_proj", width, width),
        .layer_norm2 = affine_norm(weights, "layer_norm2", width),
        .fc1 = affine_linear(weights, "mlp.fc1", inner, width),
        .fc2 = affine_linear(weights, "mlp.fc2", width, inner),
    };
}

/// Number `part` of q, k and v, which torch.nn.MultiheadAttention keeps below each other in one
/// matrix.
static Affine load_in_proj(const ClipEncoder *encoder, Weights *weights, int part) {
    int width = encoder->hidden_size;
    return (Affine){
        .weight = weights_matrix_part(weights, "attn.in_proj_weight", part, 3, width, width),
        .bias = weights_vector_part(weights, "attn.in_proj_bias", part, 3, width),
    };
}

static ClipLayer load_open_clip_layer(const ClipEncoder *encoder, Weights *weights) {
    int width = encoder->hidden_size, inner = encoder->intermediate_size;
    return (ClipLayer){
        .layer_norm1 = affine_norm(weights, "ln_1", width),
        .q_proj = load_in_proj(encoder, weights, 0),
        .k_proj = load_in_proj(encoder, weights, 1),
        .v_proj = load_in_proj(encoder, weights, 2),
        .out_proj = affine_linear(weights, "attn.out_proj", width, width),
        .layer_norm2 = affine_norm(weights, "ln_2", width),
        .fc1 = affine_linear(weights, "mlp.c_fc", inner, width),
        .fc2 = affine_linear(weights, "mlp.c_proj", width, inner),
    };
}

void clip_encoder_load(ClipEncoder *encoder, Weights *weights, const char *tower, ClipNames names) {
    bool open_clip = names == CLIP_NAMES_OPEN_CLIP;
    encoder->layers = checked_calloc((size_t)encoder->num_layers + 1, sizeof *encoder->layers);
    for (int i = 0; i < encoder->num_layers; i++) {
        weights_prefix(weights, "%s%s.%d.", tower,
                       open_clip ? "transformer.resblocks" : "encoder.layers", i);
        encoder->layers[i] =
            open_clip ? load_open_clip_layer(encoder, weights) : load_layer(encoder, weights);
    }
}

void clip_encoder_release(ClipEncoder *encoder) {
    for (int i = 0; encoder->layers && i < encoder->num_layers; i++) {
        ClipLayer *layer = &encoder->layers[i];
        affine_release(&layer->layer_norm1);
        affine_release(&layer->q_proj);
        affine_release(&layer->k_proj);
        affine_release(&layer->v_proj);
        affine_release(&layer->out_proj);
        affine_release(&layer->layer_norm2);
        affine_release(&layer->fc1);
        affine_release(&layer->fc2);
    }
    free(encoder->layers);
    encoder->layers = NULL;
}

static Tensor *run_layer(const ClipEncoder *encoder, const ClipLayer *layer, Tensor *x,
                         Attention shape) {
    scope_begin();
    Tensor *h = apply_layer_norm(&layer->layer_norm1, x, encoder->layer_norm_eps);
    Tensor *q = apply_linear(&layer->q_proj, h);
    Tensor *k = apply_linear(&layer->k_proj, h);
    Tensor *v = apply_linear(&layer->v_proj, h);
    h = scaled_dot_product_attention(q, k, v, shape);
    h = apply_linear(&layer->out_proj, h);
    h = apply_add_layer_norm(&layer->layer_norm2, x, h, encoder->layer_norm_eps, &x);
    if (encoder->hidden_act == GELU_TANH)
        h = linear_gelu_tanh(h, layer->fc1.weight, layer->fc1.bias);
    else
        h = activation(encoder->hidden_act, apply_linear(&layer->fc1, h));
    return scope_end_returning(add(x, apply_linear(&layer->fc2, h)));
}

Tensor *clip_encoder(const ClipEncoder *encoder, Tensor *x, int batch, bool causal) {
    scope_begin();
    int length = (int)(tensor_rows(x) / batch), heads = encoder->num_attention_heads;
    Attention shape = attention_uniform(x->device, batch, length, length, heads, heads,
                                        encoder->hidden_size / heads, causal);
    for (int i = 0; i < encoder->num_layers; i++)
        x = block_output(run_layer(encoder, &encoder->layers[i], x, shape), "encoder.layers.%d", i);
    return scope_end_returning(x);
}
