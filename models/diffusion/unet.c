#include "models/diffusion/unet.h"

#include "models/block_output.h"
#include "models/diffusion/unet_config.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static int level_of_up_block(const UNetConfig *config, int block) {
    return config->num_levels - 1 - block;
}

// ---- loading

static UNetLayer load_layer(const UNetConfig *config, Weights *weights, const char *block, int i,
                            int level, int in, bool attention) {
    int out = config->block_out_channels[level];
    UNetLayer layer = {0};
    weights_prefix(weights, "%s.resnets.%d.", block, i);
    layer.resnet = residual_block_load(weights, in, out, config->time_embedding_dim,
                                       config->norm_num_groups, config->norm_eps);
    if (!attention) return layer;
    char *name = format_string("%s.attentions.%d", block, i);
    layer.attention = spatial_transformer_load(
        weights, name, out, config->cross_attention_dim, config->attention_heads[level],
        config->norm_num_groups, config->transformer_layers[level]);
    free(name);
    return layer;
}

static UNetBlock new_block(int num_layers) {
    UNetBlock block = {.num_layers = num_layers};
    block.layers = checked_calloc((size_t)num_layers, sizeof *block.layers);
    return block;
}

static Affine load_resample(Weights *weights, const char *block, const char *kind, int channels) {
    weights_prefix(weights, "%s.%s.0.", block, kind);
    return affine_conv(weights, "conv", channels, channels, 3);
}

static UNetBlock load_down(const UNetConfig *config, Weights *weights, int level) {
    UNetBlock block = new_block(config->layers_per_block[level]);
    char *name = format_string("down_blocks.%d", level);
    int in = config->block_out_channels[level ? level - 1 : 0];
    int out = config->block_out_channels[level];
    for (int i = 0; i < block.num_layers; i++)
        block.layers[i] = load_layer(config, weights, name, i, level, i == 0 ? in : out,
                                     config->down_attention[level]);
    if (level + 1 < config->num_levels)
        block.resample = load_resample(weights, name, "downsamplers", out);
    free(name);
    return block;
}

/// Layer i of an up block sees what is below, and a skip connection that a layer of the down path
/// left, the last layer's from one level up.
static UNetBlock load_up(const UNetConfig *config, Weights *weights, int b) {
    int level = level_of_up_block(config, b);
    int above = level ? level - 1 : 0, below = b ? level + 1 : level;
    int out = config->block_out_channels[level];
    UNetBlock block = new_block(config->layers_per_block[level] + 1);
    char *name = format_string("up_blocks.%d", b);
    for (int i = 0; i < block.num_layers; i++) {
        int in = i == 0 ? config->block_out_channels[below] : out;
        int skip = i + 1 == block.num_layers ? config->block_out_channels[above] : out;
        block.layers[i] =
            load_layer(config, weights, name, i, level, in + skip, config->up_attention[b]);
    }
    if (b + 1 < config->num_levels)
        block.resample = load_resample(weights, name, "upsamplers", out);
    free(name);
    return block;
}

static UNetBlock load_mid(const UNetConfig *config, Weights *weights) {
    int level = config->num_levels - 1, width = config->block_out_channels[level];
    UNetBlock block = new_block(2);
    block.layers[0] = load_layer(config, weights, "mid_block", 0, level, width, true);
    block.layers[1] = load_layer(config, weights, "mid_block", 1, level, width, false);
    return block;
}

static void load(UNet *unet, Weights *weights) {
    UNetConfig *config = &unet->config;
    *config = unet_configure(weights);
    if (!weights_failed(weights) &&
        (unet->feature_block < 0 || unet->feature_block >= config->num_levels))
        weights_fail_asked(weights, "up block %d is asked for, but there are up blocks 0 to %d",
                           unet->feature_block, config->num_levels - 1);
    if (weights_failed(weights)) return;
    int first = config->block_out_channels[0], time = config->time_embedding_dim;
    unet->conv_in = affine_conv(weights, "conv_in", first, config->in_channels, 3);
    unet->time_linear_1 = affine_linear(weights, "time_embedding.linear_1", time, first);
    unet->time_linear_2 = affine_linear(weights, "time_embedding.linear_2", time, time);
    for (int i = 0; i < config->num_levels; i++) unet->down[i] = load_down(config, weights, i);
    unet->mid = load_mid(config, weights);
    for (int i = 0; i <= unet->feature_block; i++) unet->up[i] = load_up(config, weights, i);
}

UNet *unet_load(const char *directory, int feature_block, Device *device, DType dtype,
                Error *error) {
    Weights *weights = weights_open(directory, device, dtype, error);
    if (!weights) return NULL;
    UNet *unet = checked_calloc(1, sizeof *unet);
    unet->device = device;
    unet->dtype = dtype;
    unet->feature_block = feature_block;
    load(unet, weights);
    weights_leave(weights, "up_blocks.*"); // those behind the feature block
    weights_leave(weights, "conv_norm_out.*");
    weights_leave(weights, "conv_out.*");
    if (weights_finish(weights, error)) return unet;
    unet_free(unet);
    return NULL;
}

static void release_block(UNetBlock *block) {
    for (int i = 0; i < block->num_layers; i++) {
        residual_block_release(&block->layers[i].resnet);
        spatial_transformer_free(block->layers[i].attention);
    }
    free(block->layers);
    affine_release(&block->resample);
}

void unet_free(UNet *unet) {
    if (!unet) return;
    affine_release(&unet->conv_in);
    affine_release(&unet->time_linear_1);
    affine_release(&unet->time_linear_2);
    tensor_release(unet->time);
    for (int i = 0; i < UNET_MAX_LEVELS; i++) {
        release_block(&unet->down[i]);
        release_block(&unet->up[i]);
    }
    release_block(&unet->mid);
    free(unet);
}

// ---- sizes

int unet_feature_channels(const UNet *unet) {
    return unet->config.block_out_channels[level_of_up_block(&unet->config, unet->feature_block)];
}

static int size_at_level(const UNetConfig *config, int level, int latent_size) {
    for (int i = 0; i < level; i++)
        latent_size = config->downsample_padding ? (latent_size + 1) / 2 : latent_size / 2;
    return latent_size;
}

int unet_feature_size(const UNet *unet, int latent_size) {
    const UNetConfig *config = &unet->config;
    int level = level_of_up_block(config, unet->feature_block);
    if (size_at_level(config, config->num_levels - 1, latent_size) < 1) return 0;
    // The upsampler takes the size of the skip connection that the next block begins with.
    return size_at_level(config, level ? level - 1 : 0, latent_size);
}

// ---- the timestep

/// The sinusoidal embedding of the timestep (Vaswani et al. 2017, arXiv 1706.03762) [1,channels] of
/// the first level.
static Tensor *sinusoid(const UNet *unet, int timestep) {
    const UNetConfig *config = &unet->config;
    int channels = config->block_out_channels[0], half = channels / 2;
    float *values = checked_calloc((size_t)channels, sizeof *values);
    for (int i = 0; i < half; i++) {
        double angle = timestep * exp(-log(10000.0) * i / (half - config->freq_shift));
        values[i] = (float)(config->flip_sin_to_cos ? cos(angle) : sin(angle));
        values[half + i] = (float)(config->flip_sin_to_cos ? sin(angle) : cos(angle));
    }
    Tensor *x = tensor_from_host(unet->device, FLOAT32, SHAPE(1, channels), values);
    free(values);
    return convert(x, unet->dtype);
}

void unet_set_timestep(UNet *unet, int timestep) {
    scope_begin();
    Tensor *t = silu(apply_linear(&unet->time_linear_1, sinusoid(unet, timestep)));
    tensor_release(unet->time);
    unet->time = tensor_retain(silu(apply_linear(&unet->time_linear_2, t)));
    unet->time->name = checked_strdup("time_embedding");
    tensor_set_memory_kind(unet->time, MEMORY_WEIGHTS);
    scope_end();
}

// ---- forward

typedef struct BlockName {
    char text[32];
} BlockName;

static BlockName block_name(const char *blocks, int i) {
    BlockName name;
    snprintf(name.text, sizeof name.text, "%s.%d", blocks, i);
    return name;
}

/// Layer i of a block ("down_blocks.0").
static Tensor *run_layer(const UNetBlock *block, int i, const char *name, Tensor *x, Tensor *time,
                         Tensor *context) {
    const UNetLayer *layer = &block->layers[i];
    scope_begin();
    x = block_output(residual_block(&layer->resnet, x, time), "%s.resnets.%d", name, i);
    if (layer->attention)
        x = block_output(spatial_transformer(layer->attention, x, context), "%s.attentions.%d",
                         name, i);
    return scope_end_returning(x);
}

static Tensor *downsample(const UNet *unet, const Affine *conv, Tensor *x) {
    int before = unet->config.downsample_padding;
    return conv2d(x, conv->weight, conv->bias, (Conv2d){2, before, before, 1, 1});
}

/// Doubled, or rather brought to the size of the skip connection that comes next: odd sizes were
/// rounded on the way down.
static Tensor *upsample(const Affine *conv, Tensor *x, const Tensor *skip) {
    scope_begin();
    x = upsample_nearest(x, (int)skip->shape[1], (int)skip->shape[2]);
    return scope_end_returning(apply_conv3x3(conv, x));
}

/// What the down path leaves for the up path; the last one is taken first.
typedef struct Skips {
    int count;
    Tensor *tensors[UNET_MAX_SKIPS];
} Skips;

static Tensor *push(Skips *skips, Tensor *x) { return skips->tensors[skips->count++] = x; }

static Tensor *run_down(const UNet *unet, Tensor *x, Tensor *time, Tensor *context, Skips *skips) {
    for (int i = 0; i < unet->config.num_levels; i++) {
        const UNetBlock *block = &unet->down[i];
        BlockName name = block_name("down_blocks", i);
        for (int j = 0; j < block->num_layers; j++)
            x = push(skips, run_layer(block, j, name.text, x, time, context));
        if (block->resample.weight) x = push(skips, downsample(unet, &block->resample, x));
        block_output(x, "%s", name.text);
    }
    return x;
}

static Tensor *run_up(const UNet *unet, int b, Tensor *x, Tensor *time, Tensor *context,
                      Skips *skips) {
    const UNetBlock *block = &unet->up[b];
    BlockName name = block_name("up_blocks", b);
    scope_begin();
    for (int i = 0; i < block->num_layers; i++) {
        scope_begin();
        x = concatenate(x, skips->tensors[--skips->count]);
        x = scope_end_returning(run_layer(block, i, name.text, x, time, context));
    }
    if (block->resample.weight) x = upsample(&block->resample, x, skips->tensors[skips->count - 1]);
    return scope_end_returning(block_output(x, "%s", name.text));
}

Tensor *unet_features(const UNet *unet, Tensor *latents, Tensor *context) {
    const UNetConfig *config = &unet->config;
    CHECK(unet->time, "unet_features: no timestep is set");
    CHECK(latents->rank == 4 && latents->shape[3] == config->in_channels && context->rank == 3 &&
              context->shape[0] == latents->shape[0] &&
              context->shape[2] == config->cross_attention_dim,
          "unet_features: latents %s, context %s", tensor_describe(latents),
          tensor_describe(context));
    scope_begin();
    Skips skips = {0};
    Tensor *time = unet->time;
    context = convert(context, unet->dtype);
    Tensor *x = push(&skips, apply_conv3x3(&unet->conv_in, convert(latents, unet->dtype)));
    x = run_down(unet, x, time, context, &skips);
    for (int i = 0; i < unet->mid.num_layers; i++)
        x = run_layer(&unet->mid, i, "mid_block", x, time, context);
    for (int i = 0; i <= unet->feature_block; i++) x = run_up(unet, i, x, time, context, &skips);
    return scope_end_returning(x);
}
