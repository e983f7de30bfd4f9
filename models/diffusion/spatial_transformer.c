#include "models/diffusion/spatial_transformer.h"

#include <stdlib.h>

/// Fixed in diffusers, not keys of the configuration.
static const float GROUP_NORM_EPS = 1e-6f, LAYER_NORM_EPS = 1e-5f;
enum { FEED_FORWARD_FACTOR = 4 };

// ---- loading

static TransformerAttention load_attention(Weights *weights, const char *name, int layer,
                                           const char *which, int channels, int key_channels) {
    weights_prefix(weights, "%s.transformer_blocks.%d.%s.", name, layer, which);
    return (TransformerAttention){
        .to_q = affine_matrix(weights, "to_q", channels, channels),
        .to_k = affine_matrix(weights, "to_k", channels, key_channels),
        .to_v = affine_matrix(weights, "to_v", channels, key_channels),
        .to_out = affine_linear(weights, "to_out.0", channels, channels),
    };
}

static TransformerLayer load_layer(Weights *weights, const char *name, int i, int channels,
                                   int context_channels) {
    int inner = FEED_FORWARD_FACTOR * channels;
    TransformerLayer layer = {
        .attn1 = load_attention(weights, name, i, "attn1", channels, channels),
        .attn2 = load_attention(weights, name, i, "attn2", channels, context_channels),
    };
    weights_prefix(weights, "%s.transformer_blocks.%d.", name, i);
    layer.norm1 = affine_norm(weights, "norm1", channels);
    layer.norm2 = affine_norm(weights, "norm2", channels);
    layer.norm3 = affine_norm(weights, "norm3", channels);
    layer.ff_in = affine_linear(weights, "ff.net.0.proj", 2 * inner, channels);
    layer.ff_out = affine_linear(weights, "ff.net.2", channels, inner);
    return layer;
}

SpatialTransformer *spatial_transformer_load(Weights *weights, const char *name, int channels,
                                             int context_channels, int heads, int groups,
                                             int num_layers) {
    SpatialTransformer *transformer = checked_calloc(1, sizeof *transformer);
    transformer->channels = channels;
    transformer->heads = heads;
    transformer->groups = groups;
    transformer->num_layers = num_layers;
    weights_prefix(weights, "%s.", name);
    transformer->norm = affine_group_norm(weights, "norm", channels, groups);
    transformer->proj_in = affine_linear(weights, "proj_in", channels, channels);
    transformer->proj_out = affine_linear(weights, "proj_out", channels, channels);
    transformer->layers = checked_calloc((size_t)num_layers, sizeof *transformer->layers);
    for (int i = 0; i < num_layers; i++)
        transformer->layers[i] = load_layer(weights, name, i, channels, context_channels);
    return transformer;
}

static void release_attention(TransformerAttention *attention) {
    affine_release(&attention->to_q);
    affine_release(&attention->to_k);
    affine_release(&attention->to_v);
    affine_release(&attention->to_out);
}

void spatial_transformer_free(SpatialTransformer *transformer) {
    if (!transformer) return;
    for (int i = 0; i < transformer->num_layers; i++) {
        TransformerLayer *layer = &transformer->layers[i];
        affine_release(&layer->norm1);
        affine_release(&layer->norm2);
        affine_release(&layer->norm3);
        release_attention(&layer->attn1);
        release_attention(&layer->attn2);
        affine_release(&layer->ff_in);
        affine_release(&layer->ff_out);
    }
    free(transformer->layers);
    affine_release(&transformer->norm);
    affine_release(&transformer->proj_in);
    affine_release(&transformer->proj_out);
    free(transformer);
}

// ---- forward: tokens are [B*H*W,C]

static Tensor *attend(const TransformerAttention *attention, Tensor *x, Tensor *seen,
                      Attention shape) {
    Tensor *q = apply_linear(&attention->to_q, x);
    Tensor *k = apply_linear(&attention->to_k, seen);
    Tensor *v = apply_linear(&attention->to_v, seen);
    return apply_linear(&attention->to_out, scaled_dot_product_attention(q, k, v, shape));
}

static Tensor *run_layer(const TransformerLayer *layer, Tensor *x, Tensor *context,
                         Attention to_pixels, Attention to_context) {
    scope_begin();
    Tensor *h = apply_layer_norm(&layer->norm1, x, LAYER_NORM_EPS);
    h = attend(&layer->attn1, h, h, to_pixels);
    h = apply_add_layer_norm(&layer->norm2, x, h, LAYER_NORM_EPS, &x);
    h = attend(&layer->attn2, h, context, to_context);
    h = apply_add_layer_norm(&layer->norm3, x, h, LAYER_NORM_EPS, &x);
    h = geglu(apply_linear(&layer->ff_in, h));
    return scope_end_returning(add(x, apply_linear(&layer->ff_out, h)));
}

Tensor *spatial_transformer(const SpatialTransformer *transformer, Tensor *x, Tensor *context) {
    int batch = (int)x->shape[0], pixels = (int)(x->shape[1] * x->shape[2]);
    int length = (int)context->shape[1];
    int heads = transformer->heads, head_dim = transformer->channels / heads;
    CHECK(context->rank == 3 && context->shape[0] == batch, "spatial_transformer: %s with %s",
          tensor_describe(x), tensor_describe(context));
    scope_begin();
    Attention to_pixels =
        attention_uniform(x->device, batch, pixels, pixels, heads, heads, head_dim, false);
    Attention to_context =
        attention_uniform(x->device, batch, pixels, length, heads, heads, head_dim, false);
    context = reshape(context, SHAPE((int64_t)batch * length, tensor_columns(context)));
    Tensor *h = apply_group_norm(&transformer->norm, x, transformer->groups, GROUP_NORM_EPS, false);
    h = reshape(h, SHAPE((int64_t)batch * pixels, transformer->channels));
    h = apply_linear(&transformer->proj_in, h);
    for (int i = 0; i < transformer->num_layers; i++)
        h = run_layer(&transformer->layers[i], h, context, to_pixels, to_context);
    h = apply_linear(&transformer->proj_out, h);
    return scope_end_returning(add(x, reshape(h, x->rank, x->shape)));
}
