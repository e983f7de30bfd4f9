#include "models/sam/sam_mask_decoder.h"

#include "models/block_output.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HYPERNETWORK_DEPTH = 3 };

/// Fixed in both published forms: of the upscaling's norm, and of the norm after the last
/// attention.
static const float UPSCALE_NORM_EPS = 1e-6f, FINAL_NORM_EPS = 1e-5f;

// ---- loading

static SamAttention load_attention(const SamConfig *config, Weights *weights, const char *name,
                                   int number, int inner) {
    int width = config->embed_dim;
    weights_prefix(weights, "%s.", sam_name(config, name, number).text);
    SamAttention attention = {
        .q_proj = affine_linear(weights, "q_proj", inner, width),
        .k_proj = affine_linear(weights, "k_proj", inner, width),
        .v_proj = affine_linear(weights, "v_proj", inner, width),
        .out_proj = affine_linear(weights, "out_proj", width, inner),
    };
    weights_prefix(weights, "%s", "");
    return attention;
}

static Affine load_norm(const SamConfig *config, Weights *weights, const char *name, int number,
                        int channels) {
    return affine_norm(weights, sam_name(config, name, number).text, channels);
}

static SamTwoWayLayer load_layer(const SamConfig *c, Weights *weights, int i) {
    int width = c->embed_dim, inner = width / c->attention_downsample_rate;
    SamName lin1 = sam_name(c, "mask_decoder.transformer.layers.#.mlp.lin1", i);
    SamName lin2 = sam_name(c, "mask_decoder.transformer.layers.#.mlp.lin2", i);
    return (SamTwoWayLayer){
        .self_attn =
            load_attention(c, weights, "mask_decoder.transformer.layers.#.self_attn", i, width),
        .norm1 = load_norm(c, weights, "mask_decoder.transformer.layers.#.norm1", i, width),
        .token_to_image = load_attention(
            c, weights, "mask_decoder.transformer.layers.#.cross_attn_token_to_image", i, inner),
        .norm2 = load_norm(c, weights, "mask_decoder.transformer.layers.#.norm2", i, width),
        .lin1 = affine_linear(weights, lin1.text, c->decoder_mlp_dim, width),
        .lin2 = affine_linear(weights, lin2.text, width, c->decoder_mlp_dim),
        .norm3 = load_norm(c, weights, "mask_decoder.transformer.layers.#.norm3", i, width),
        .image_to_token = load_attention(
            c, weights, "mask_decoder.transformer.layers.#.cross_attn_image_to_token", i, inner),
        .norm4 = load_norm(c, weights, "mask_decoder.transformer.layers.#.norm4", i, width),
    };
}

static SamMlp load_mlp(const SamConfig *config, Weights *weights, const char *name, int number,
                       int hidden, int out, int depth) {
    SamMlp mlp = {depth, checked_calloc((size_t)depth, sizeof *mlp.layers)};
    for (int i = 0; i < depth; i++)
        mlp.layers[i] =
            affine_linear(weights, sam_mlp_name(config, name, number, i, depth).text,
                          i == depth - 1 ? out : hidden, i == 0 ? config->embed_dim : hidden);
    return mlp;
}

/// [rows,columns] elements of `size` bytes, transposed.
static void transpose(const char *from, int64_t rows, int64_t columns, size_t size, char *to) {
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < columns; c++)
            memcpy(to + (size_t)(c * rows + r) * size, from + (size_t)(r * columns + c) * size,
                   size);
}

/// A persistent tensor's transpose in its place.
static Tensor *transposed(Tensor *x, int64_t rows, int64_t columns) {
    if (!x) return NULL;
    size_t size = dtype_size(x->dtype), bytes = (size_t)tensor_numel(x) * size;
    char *from = checked_malloc(2 * bytes), *to = from + bytes;
    Tensor *y = tensor_new_persistent(x->device, x->dtype, SHAPE(columns, rows), x->name);
    x->device->to_host(x->device, from, x->data, bytes);
    transpose(from, rows, columns, size, to);
    y->device->from_host(y->device, y->data, to, bytes);
    tensor_release(x);
    free(from);
    return y;
}

/// A 2x2 convolution of stride 2, transposed: a pixel becomes four that overlap no others, so it is
/// a product whose rows are (dy, dx, out). The weight is stored as [in,out,2,2].
static Affine load_upscale(const SamConfig *config, Weights *weights, const char *name, int out,
                           int in) {
    weights_prefix(weights, "%s.", sam_name(config, name, 0).text);
    Affine upscale = {.weight =
                          transposed(weights_conv(weights, "weight", in, out, 2, 2), in, 4 * out)};
    Tensor *bias = weights_vector(weights, "bias", out);
    weights_prefix(weights, "%s", "");
    if (!bias) return upscale;
    float *values = checked_malloc(4 * (size_t)out * sizeof *values);
    tensor_to_host_float(bias, values);
    for (int i = 1; i < 4; i++) memcpy(values + i * out, values, (size_t)out * sizeof *values);
    upscale.bias = tensor_new_persistent(bias->device, FLOAT32, SHAPE(4 * out), bias->name);
    tensor_fill_from_float(upscale.bias, values);
    free(values);
    tensor_release(bias);
    return upscale;
}

static Tensor *load_tokens(const SamConfig *config, Weights *weights, const char *name,
                           int64_t count) {
    char full[160];
    snprintf(full, sizeof full, "%s.weight", sam_name(config, name, 0).text);
    return weights_matrix(weights, full, count, config->embed_dim);
}

SamMaskDecoder sam_mask_decoder_load(const SamConfig *c, Weights *weights, Device *device,
                                     DType dtype) {
    SamMaskDecoder decoder = {.config = *c, .device = device, .dtype = dtype};
    int width = c->embed_dim;
    decoder.iou_token = load_tokens(c, weights, "mask_decoder.iou_token", 1);
    decoder.mask_tokens = load_tokens(c, weights, "mask_decoder.mask_tokens", c->num_masks);
    decoder.layers = checked_calloc((size_t)c->decoder_layers, sizeof *decoder.layers);
    for (int i = 0; i < c->decoder_layers; i++) decoder.layers[i] = load_layer(c, weights, i);
    decoder.final_attention =
        load_attention(c, weights, "mask_decoder.transformer.final_attn_token_to_image", 0,
                       width / c->attention_downsample_rate);
    decoder.final_norm =
        load_norm(c, weights, "mask_decoder.transformer.norm_final_attn", 0, width);
    decoder.upscale1 =
        load_upscale(c, weights, "mask_decoder.output_upscaling.0", width / 4, width);
    decoder.upscale_norm = load_norm(c, weights, "mask_decoder.output_upscaling.1", 0, width / 4);
    decoder.upscale2 =
        load_upscale(c, weights, "mask_decoder.output_upscaling.3", width / 8, width / 4);
    decoder.hypernetworks = checked_calloc((size_t)c->num_masks, sizeof *decoder.hypernetworks);
    for (int i = 0; i < c->num_masks; i++)
        decoder.hypernetworks[i] = load_mlp(c, weights, "mask_decoder.output_hypernetworks_mlps.#",
                                            i, width, width / 8, HYPERNETWORK_DEPTH);
    decoder.iou_head = load_mlp(c, weights, "mask_decoder.iou_prediction_head", 0,
                                c->iou_head_hidden_dim, c->num_masks, c->iou_head_depth);
    return decoder;
}

static void release_attention(SamAttention *attention) {
    affine_release(&attention->q_proj);
    affine_release(&attention->k_proj);
    affine_release(&attention->v_proj);
    affine_release(&attention->out_proj);
}

static void release_layer(SamTwoWayLayer *layer) {
    release_attention(&layer->self_attn);
    release_attention(&layer->token_to_image);
    release_attention(&layer->image_to_token);
    Affine *affines[] = {&layer->norm1, &layer->norm2, &layer->norm3,
                         &layer->norm4, &layer->lin1,  &layer->lin2};
    for (size_t i = 0; i < sizeof affines / sizeof *affines; i++) affine_release(affines[i]);
}

static void release_mlp(SamMlp *mlp) {
    for (int i = 0; mlp->layers && i < mlp->depth; i++) affine_release(&mlp->layers[i]);
    free(mlp->layers);
}

void sam_mask_decoder_release(SamMaskDecoder *decoder) {
    for (int i = 0; decoder->layers && i < decoder->config.decoder_layers; i++)
        release_layer(&decoder->layers[i]);
    for (int i = 0; decoder->hypernetworks && i < decoder->config.num_masks; i++)
        release_mlp(&decoder->hypernetworks[i]);
    free(decoder->layers);
    free(decoder->hypernetworks);
    release_mlp(&decoder->iou_head);
    release_attention(&decoder->final_attention);
    affine_release(&decoder->final_norm);
    affine_release(&decoder->upscale1);
    affine_release(&decoder->upscale_norm);
    affine_release(&decoder->upscale2);
    tensor_release(decoder->iou_token);
    tensor_release(decoder->mask_tokens);
    *decoder = (SamMaskDecoder){0};
}

// ---- the two-way transformer: queries are tokens [n,E], keys places [G*G,E]

static Tensor *attend(const SamMaskDecoder *decoder, const SamAttention *attention, Tensor *q,
                      Tensor *k, Tensor *v) {
    int heads = decoder->config.decoder_heads;
    scope_begin();
    q = apply_linear(&attention->q_proj, q);
    k = apply_linear(&attention->k_proj, k);
    v = apply_linear(&attention->v_proj, v);
    Attention shape = attention_uniform(q->device, 1, (int)tensor_rows(q), (int)tensor_rows(k),
                                        heads, heads, (int)(tensor_columns(q) / heads), false);
    Tensor *y = scaled_dot_product_attention(q, k, v, shape);
    return scope_end_returning(apply_linear(&attention->out_proj, y));
}

/// In the first layer the tokens are their own positions, and what they attend to replaces them.
static Tensor *attend_to_tokens(const SamMaskDecoder *decoder, const SamTwoWayLayer *layer,
                                Tensor *queries, Tensor *query_places, bool first) {
    float eps = decoder->config.decoder_norm_eps;
    if (first)
        return apply_layer_norm(&layer->norm1,
                                attend(decoder, &layer->self_attn, queries, queries, queries), eps);
    Tensor *q = add(queries, query_places), *sum;
    return apply_add_layer_norm(&layer->norm1, queries,
                                attend(decoder, &layer->self_attn, q, q, queries), eps, &sum);
}

/// Replaces *queries and *keys, which pass to the scope that the caller has open.
static void run_layer(const SamMaskDecoder *decoder, int i, Tensor *query_places,
                      Tensor *key_places, Tensor **queries, Tensor **keys) {
    const SamTwoWayLayer *layer = &decoder->layers[i];
    float eps = decoder->config.decoder_norm_eps;
    Tensor *x = attend_to_tokens(decoder, layer, *queries, query_places, i == 0), *sum;
    Tensor *k = add(*keys, key_places);
    Tensor *h = attend(decoder, &layer->token_to_image, add(x, query_places), k, *keys);
    x = apply_add_layer_norm(&layer->norm2, x, h, eps, &sum);
    h = apply_linear(&layer->lin2, relu(apply_linear(&layer->lin1, x)));
    x = apply_add_layer_norm(&layer->norm3, x, h, eps, &sum);
    h = attend(decoder, &layer->image_to_token, k, add(x, query_places), x);
    *keys = apply_add_layer_norm(&layer->norm4, *keys, h, eps, &sum);
    *queries = x;
    block_output(*queries, "mask_decoder.transformer.layers.%d.queries", i);
    block_output(*keys, "mask_decoder.transformer.layers.%d.keys", i);
}

static void run_transformer(const SamMaskDecoder *decoder, Tensor *tokens, Tensor *key_places,
                            Tensor **queries, Tensor **keys) {
    *queries = tokens;
    for (int i = 0; i < decoder->config.decoder_layers; i++)
        run_layer(decoder, i, tokens, key_places, queries, keys);
    Tensor *k = add(*keys, key_places), *sum;
    Tensor *h = attend(decoder, &decoder->final_attention, add(*queries, tokens), k, *keys);
    *queries = apply_add_layer_norm(&decoder->final_norm, *queries, h, FINAL_NORM_EPS, &sum);
}

// ---- masks

/// [H*W,4 C], a pixel's four, to [2H*2W,C].
static Tensor *spread_pixels(Tensor *x, int64_t height, int64_t width) {
    int64_t count = 4 * height * width, channels = tensor_columns(x) / 4;
    int32_t *from = checked_malloc((size_t)count * sizeof *from);
    for (int64_t y = 0; y < 2 * height; y++)
        for (int64_t at = 0; at < 2 * width; at++)
            from[y * 2 * width + at] = (int32_t)(4 * (y / 2 * width + at / 2) + y % 2 * 2 + at % 2);
    Tensor *index = tensor_from_host(x->device, INT32, SHAPE(count), from);
    free(from);
    return gather_rows(reshape(x, SHAPE(count, channels)), index);
}

/// [G*G,E] to [4G*4G,E/8].
static Tensor *upscale(const SamMaskDecoder *decoder, Tensor *x) {
    int64_t grid = decoder->config.grid;
    scope_begin();
    x = spread_pixels(apply_linear(&decoder->upscale1, x), grid, grid);
    x = gelu(apply_layer_norm(&decoder->upscale_norm, x, UPSCALE_NORM_EPS));
    x = spread_pixels(apply_linear(&decoder->upscale2, x), 2 * grid, 2 * grid);
    return scope_end_returning(gelu(x));
}

static Tensor *run_mlp(const SamMlp *mlp, Tensor *x) {
    for (int i = 0; i < mlp->depth; i++) {
        x = apply_linear(&mlp->layers[i], x);
        if (i + 1 < mlp->depth) x = relu(x);
    }
    return x;
}

/// Rows first .. first+count of x.
static Tensor *rows_of(Tensor *x, int first, int count) {
    int32_t index[64];
    CHECK(count <= 64, "rows_of: %d rows", count);
    for (int i = 0; i < count; i++) index[i] = first + i;
    return gather_rows(x, tensor_from_host(x->device, INT32, SHAPE(count), index));
}

/// The rows of a, then those of b.
static Tensor *stack(Tensor *a, Tensor *b) {
    int64_t rows = tensor_rows(a), count = rows + tensor_rows(b);
    int32_t *index = checked_malloc((size_t)count * sizeof *index);
    for (int64_t i = 0; i < count; i++) index[i] = (int32_t)(i < rows ? i : -1 - (i - rows));
    Tensor *from = tensor_from_host(a->device, INT32, SHAPE(count), index);
    free(index);
    return merge_rows(a, b, from);
}

SamPrediction sam_mask_decoder(const SamMaskDecoder *decoder, Tensor *image, Tensor *places,
                               Tensor *tokens) {
    int num_masks = decoder->config.num_masks;
    Tensor *all = stack(decoder->iou_token, decoder->mask_tokens);
    if (tokens) all = stack(all, tokens);
    Tensor *queries, *keys = image;
    run_transformer(decoder, all, places, &queries, &keys);
    Tensor *upscaled = upscale(decoder, keys);
    Tensor *classifiers = NULL;
    for (int i = 0; i < num_masks; i++) {
        Tensor *row = run_mlp(&decoder->hypernetworks[i], rows_of(queries, 1 + i, 1));
        classifiers = classifiers ? stack(classifiers, row) : row;
    }
    // In FLOAT32: what is near zero decides a mask's border.
    return (SamPrediction){
        .logits = linear(convert(upscaled, FLOAT32), convert(classifiers, FLOAT32), NULL),
        .iou = run_mlp(&decoder->iou_head, rows_of(queries, 0, 1)),
    };
}
