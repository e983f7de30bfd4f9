// Windows are gathered after the product that makes queries, keys and values, which is done once
// for each place: the places that only pad a window are zero before it, so that after it they are
// its bias.
#include "models/sam/sam_image_encoder.h"

#include "models/block_output.h"

#include <stdio.h>
#include <stdlib.h>

/// Of the neck's norms, in both published forms.
static const float NECK_NORM_EPS = 1e-6f;

// ---- loading

/// [length,head_dim] to the order of attention_on_grid() and the length that `side` needs: tables
/// published for another side are interpolated as segment-anything does.
static Tensor *arrange_positions(Tensor *table, int side) {
    int64_t length = 2 * side - 1, stored = tensor_rows(table), head_dim = tensor_columns(table);
    int32_t *descending = checked_malloc((size_t)length * sizeof *descending);
    for (int64_t i = 0; i < length; i++) descending[i] = (int32_t)(length - 1 - i);
    scope_begin();
    Tensor *index = tensor_from_host(table->device, INT32, SHAPE(length), descending);
    Tensor *x = reshape(table, SHAPE(1, stored, 1, head_dim));
    if (stored != length) x = resize_bilinear(x, (int)length, 1);
    Tensor *arranged = tensor_retain(embedding(reshape(x, SHAPE(length, head_dim)), index));
    tensor_set_memory_kind(arranged, MEMORY_WEIGHTS);
    scope_end();
    free(descending);
    return arranged;
}

static Tensor *load_positions(const SamConfig *config, Weights *weights, const char *name,
                              int number, int side) {
    SamName full = sam_name(config, name, number);
    const int64_t *shape = weights_shape(weights, full.text, 2);
    if (!shape) return NULL;
    Tensor *table =
        weights_matrix(weights, full.text, shape[0], config->hidden_size / config->num_heads);
    if (!table) return NULL;
    Tensor *arranged = arrange_positions(table, side);
    tensor_release(table);
    return arranged;
}

static Affine load_linear(const SamConfig *config, Weights *weights, const char *name, int number,
                          int out, int in) {
    return affine_linear(weights, sam_name(config, name, number).text, out, in);
}

static Affine load_norm(const SamConfig *config, Weights *weights, const char *name, int number,
                        int channels) {
    return affine_norm(weights, sam_name(config, name, number).text, channels);
}

static SamImageLayer load_layer(const SamConfig *c, Weights *weights, int i) {
    int width = c->hidden_size, side = c->is_global[i] ? c->grid : c->window_size;
    return (SamImageLayer){
        .norm1 = load_norm(c, weights, "image_encoder.blocks.#.norm1", i, width),
        .qkv = load_linear(c, weights, "image_encoder.blocks.#.attn.qkv", i, 3 * width, width),
        .vertical = load_positions(c, weights, "image_encoder.blocks.#.attn.rel_pos_h", i, side),
        .horizontal = load_positions(c, weights, "image_encoder.blocks.#.attn.rel_pos_w", i, side),
        .proj = load_linear(c, weights, "image_encoder.blocks.#.attn.proj", i, width, width),
        .norm2 = load_norm(c, weights, "image_encoder.blocks.#.norm2", i, width),
        .lin1 = load_linear(c, weights, "image_encoder.blocks.#.mlp.lin1", i, c->mlp_dim, width),
        .lin2 = load_linear(c, weights, "image_encoder.blocks.#.mlp.lin2", i, width, c->mlp_dim),
    };
}

/// A 3x3 convolution without a bias.
static Affine load_conv3x3(const SamConfig *config, Weights *weights, const char *name,
                           int channels) {
    char full[160];
    snprintf(full, sizeof full, "%s.weight", sam_name(config, name, 0).text);
    return (Affine){.weight = weights_conv(weights, full, channels, channels, 3, 3)};
}

SamImageEncoder sam_image_encoder_load(const SamConfig *c, Weights *weights, Device *device,
                                       DType dtype) {
    SamImageEncoder encoder = {.config = *c, .device = device, .dtype = dtype};
    int width = c->hidden_size, out = c->embed_dim, patch = c->patch_size;
    encoder.layers = checked_calloc((size_t)c->num_layers, sizeof *encoder.layers);
    SamName embed = sam_name(c, "image_encoder.patch_embed.proj", 0);
    SamName positions = sam_name(c, "image_encoder.pos_embed", 0);
    encoder.pos_embed =
        weights_array(weights, positions.text, FLOAT32, SHAPE(1, c->grid, c->grid, width));
    encoder.patch_embed = affine_conv(weights, embed.text, width, SAM_CHANNELS, patch);
    for (int i = 0; i < c->num_layers; i++) encoder.layers[i] = load_layer(c, weights, i);
    encoder.neck_conv1 =
        affine_matrix(weights, sam_name(c, "image_encoder.neck.0", 0).text, out, width);
    encoder.neck_norm1 = load_norm(c, weights, "image_encoder.neck.1", 0, out);
    encoder.neck_conv2 = load_conv3x3(c, weights, "image_encoder.neck.2", out);
    encoder.neck_norm2 = load_norm(c, weights, "image_encoder.neck.3", 0, out);
    return encoder;
}

void sam_image_encoder_release(SamImageEncoder *encoder) {
    for (int i = 0; encoder->layers && i < encoder->config.num_layers; i++) {
        SamImageLayer *layer = &encoder->layers[i];
        Affine *affines[] = {&layer->norm1, &layer->qkv,  &layer->proj,
                             &layer->norm2, &layer->lin1, &layer->lin2};
        for (size_t j = 0; j < sizeof affines / sizeof *affines; j++) affine_release(affines[j]);
        tensor_release(layer->vertical);
        tensor_release(layer->horizontal);
    }
    free(encoder->layers);
    Affine *affines[] = {&encoder->patch_embed, &encoder->neck_conv1, &encoder->neck_norm1,
                         &encoder->neck_conv2, &encoder->neck_norm2};
    for (size_t j = 0; j < sizeof affines / sizeof *affines; j++) affine_release(affines[j]);
    tensor_release(encoder->pos_embed);
    *encoder = (SamImageEncoder){0};
}

// ---- forward: tokens are [B*G*G,C]

/// How the grid is cut for attention: into windows of side S from the top left, those at the right
/// and at the bottom padded.
typedef struct Partition {
    int side;
    Attention shape;
    /// INT32 [windows*S*S] as merge_rows() takes it: of q, k and v in [B*G*G*3,C], padding in [3,C]
    Tensor *rows[3];
    /// INT32 [B*G*G]: a place's row in the windows
    Tensor *back;
} Partition;

/// Place p of window w (of one image: `across` x `across` windows): its index in the image's grid,
/// or -1 where it pads.
static int64_t window_place(int64_t grid, int64_t side, int64_t across, int64_t w, int64_t p) {
    int64_t y = w / across * side + p / side, x = w % across * side + p % side;
    return y < grid && x < grid ? y * grid + x : -1;
}

static Partition partition_new(const SamImageEncoder *encoder, int64_t batch, int64_t side) {
    const SamConfig *config = &encoder->config;
    int64_t grid = config->grid, places = grid * grid, across = (grid + side - 1) / side;
    int64_t windows = across * across, count = batch * windows * side * side;
    int32_t *rows = checked_malloc((size_t)(3 * count) * sizeof *rows);
    int32_t *back = checked_malloc((size_t)(batch * places) * sizeof *back);
    for (int64_t i = 0; i < count; i++) {
        int64_t window = i / (side * side), image = window / windows;
        int64_t place = window_place(grid, side, across, window % windows, i % (side * side));
        for (int64_t part = 0; part < 3; part++)
            rows[part * count + i] =
                (int32_t)(place < 0 ? -1 - part : 3 * (image * places + place) + part);
        if (place >= 0) back[image * places + place] = (int32_t)i;
    }
    Device *device = encoder->device;
    int heads = config->num_heads, length = (int)(side * side);
    Partition partition = {
        .side = (int)side,
        .shape = attention_uniform(device, (int)(batch * windows), length, length, heads, heads,
                                   config->hidden_size / heads, false),
        .back = tensor_from_host(device, INT32, SHAPE(batch * places), back),
    };
    for (int64_t part = 0; part < 3; part++)
        partition.rows[part] = tensor_from_host(device, INT32, SHAPE(count), rows + part * count);
    free(rows);
    free(back);
    return partition;
}

/// What a query and a table of relative positions add to scores, FLOAT32 [rows*heads, 2 S - 1].
static Tensor *position_scores(Tensor *q, Tensor *table) {
    int64_t head_dim = tensor_columns(table);
    Tensor *heads = reshape(q, SHAPE(tensor_numel(q) / head_dim, head_dim));
    return convert(linear(heads, table, NULL), FLOAT32);
}

static Tensor *attend(const SamImageEncoder *encoder, const SamImageLayer *layer, Tensor *x,
                      const Partition *partition) {
    int64_t width = encoder->config.hidden_size;
    scope_begin();
    Tensor *qkv = reshape(apply_linear(&layer->qkv, x), SHAPE(tensor_rows(x) * 3, width));
    Tensor *padding = convert(reshape(layer->qkv.bias, SHAPE(3, width)), encoder->dtype);
    Tensor *parts[3];
    for (int i = 0; i < 3; i++) parts[i] = merge_rows(qkv, padding, partition->rows[i]);
    Tensor *vertical = position_scores(parts[0], layer->vertical);
    Tensor *horizontal = position_scores(parts[0], layer->horizontal);
    Attention shape =
        attention_on_grid(partition->shape, partition->side, partition->side, vertical, horizontal);
    Tensor *y = scaled_dot_product_attention(parts[0], parts[1], parts[2], shape);
    return scope_end_returning(apply_linear(&layer->proj, gather_rows(y, partition->back)));
}

static Tensor *run_layer(const SamImageEncoder *encoder, const SamImageLayer *layer, Tensor *x,
                         const Partition *partition) {
    float eps = encoder->config.layer_norm_eps;
    scope_begin();
    Tensor *h = attend(encoder, layer, apply_layer_norm(&layer->norm1, x, eps), partition);
    h = apply_add_layer_norm(&layer->norm2, x, h, eps, &x);
    h = gelu(apply_linear(&layer->lin1, h));
    return scope_end_returning(add(x, apply_linear(&layer->lin2, h)));
}

static Tensor *run_neck(const SamImageEncoder *encoder, Tensor *x) {
    scope_begin();
    x = apply_layer_norm(&encoder->neck_norm1, apply_linear(&encoder->neck_conv1, x),
                         NECK_NORM_EPS);
    x = apply_conv3x3(&encoder->neck_conv2, x);
    return scope_end_returning(apply_layer_norm(&encoder->neck_norm2, x, NECK_NORM_EPS));
}

Tensor *sam_image_encoder(const SamImageEncoder *encoder, Tensor *pixels) {
    const SamConfig *config = &encoder->config;
    int64_t size = config->image_size, grid = config->grid, batch = pixels->shape[0];
    CHECK(pixels->rank == 4 && pixels->shape[1] == size && pixels->shape[2] == size &&
              pixels->shape[3] == SAM_CHANNELS,
          "sam_image_encoder: %s, expected [B, %lld, %lld, 3]", tensor_describe(pixels),
          (long long)size, (long long)size);
    scope_begin();
    Partition whole = partition_new(encoder, batch, grid), windows = whole;
    if (config->window_size) windows = partition_new(encoder, batch, config->window_size);
    Tensor *x = conv2d(convert(pixels, encoder->dtype), encoder->patch_embed.weight,
                       encoder->patch_embed.bias, (Conv2d){.stride = config->patch_size});
    x = add(x, encoder->pos_embed);
    x = reshape(x, SHAPE(batch * grid * grid, config->hidden_size));
    for (int i = 0; i < config->num_layers; i++) {
        x = run_layer(encoder, &encoder->layers[i], x, config->is_global[i] ? &whole : &windows);
        block_output(x, "image_encoder.blocks.%d", i);
    }
    x = run_neck(encoder, reshape(x, SHAPE(batch, grid, grid, config->hidden_size)));
    return scope_end_returning(x);
}
