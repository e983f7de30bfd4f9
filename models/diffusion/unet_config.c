// diffusers' U-Net has some fifty keys, one for each model family that ever needed a variant. Those
// of Stable Diffusion 1 and 2 are supported; every other one must have the value that leaves it
// off, so that no model runs as something that it is not.
#include "models/diffusion/unet_config.h"

#include "ops/types.h"

#include <stdio.h>
#include <string.h>

enum { MAX_WIDTH = 1 << 14, MAX_TRANSFORMER_LAYERS = 64 };

static void require_absent(Weights *weights) {
    static const char *const keys[] = {
        "class_embed_type",     "num_class_embeds",
        "addition_embed_type",  "encoder_hid_dim",
        "encoder_hid_dim_type", "time_embedding_act_fn",
        "timestep_post_act",    "time_cond_proj_dim",
        "cross_attention_norm", "reverse_transformer_layers_per_block",
    };
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (weights_has_key(weights, keys[i])) weights_refuse(weights, keys[i], "null");
}

static void require_false(Weights *weights) {
    static const char *const keys[] = {
        "center_input_sample",  "dual_cross_attention",    "only_cross_attention",
        "resnet_skip_time_act", "class_embeddings_concat", "mid_block_only_cross_attention",
    };
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (weights_bool_or(weights, keys[i], false)) weights_refuse(weights, keys[i], "false");
}

static void require_text(Weights *weights) {
    static const char *const pairs[][2] = {
        {"act_fn", "silu"},
        {"mid_block_type", "UNetMidBlock2DCrossAttn"},
        {"resnet_time_scale_shift", "default"},
        {"time_embedding_type", "positional"},
        {"attention_type", "default"},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
        if (strcmp(weights_string_or(weights, pairs[i][0], pairs[i][1]), pairs[i][1]) != 0)
            weights_refuse(weights, pairs[i][0], pairs[i][1]);
}

static void require_numbers(Weights *weights) {
    static const char *const ones[] = {"mid_block_scale_factor", "resnet_out_scale_factor"};
    for (size_t i = 0; i < sizeof ones / sizeof *ones; i++)
        if (weights_float_or(weights, ones[i], 1) != 1) weights_refuse(weights, ones[i], "1");
    weights_int_or(weights, "conv_in_kernel", 3, 3, 3);
}

/// One integer for all levels, or one for each; absent: `fallback`.
static void per_level(Weights *weights, const char *key, int fallback, int maximum, int levels,
                      int values[UNET_MAX_LEVELS]) {
    int given[UNET_MAX_LEVELS] = {fallback}, count = 1;
    if (weights_has_key(weights, key))
        count = weights_int_list(weights, key, UNET_MAX_LEVELS, given, 1, maximum);
    if (count != 1 && count != levels)
        weights_refuse(weights, key, "one integer, or one for each of block_out_channels");
    bool valid = !weights_failed(weights);
    for (int i = 0; i < levels; i++) values[i] = valid ? given[count == levels ? i : 0] : 1;
}

/// Whether each block has attention: its type is "CrossAttn<Kind>Block2D" rather than
/// "<Kind>Block2D".
static void block_types(Weights *weights, const char *key, const char *plain, const char *crossed,
                        int levels, bool attention[UNET_MAX_LEVELS]) {
    const char *types[UNET_MAX_LEVELS];
    int count = weights_string_list(weights, key, UNET_MAX_LEVELS, types);
    if (count != levels) weights_refuse(weights, key, "one for each of block_out_channels");
    for (int i = 0; i < count; i++) {
        attention[i] = !strcmp(types[i], crossed);
        if (attention[i] || !strcmp(types[i], plain)) continue;
        char expected[96];
        snprintf(expected, sizeof expected, "%s or %s for each", plain, crossed);
        weights_refuse(weights, key, expected);
    }
}

/// diffusers' `attention_head_dim` has always been the number of heads; its `num_attention_heads`
/// means what it says, but is hardly ever there.
static void attention_heads(Weights *weights, UNetConfig *config) {
    const char *key = weights_has_key(weights, "num_attention_heads") ? "num_attention_heads"
                                                                      : "attention_head_dim";
    int levels = config->num_levels;
    per_level(weights, key, 8, MAX_WIDTH, levels, config->attention_heads);
    for (int i = 0; i < levels; i++) {
        bool used =
            config->down_attention[i] || config->up_attention[levels - 1 - i] || i == levels - 1;
        int width = config->block_out_channels[i], heads = config->attention_heads[i];
        if (used && (width % heads != 0 || width / heads > ATTENTION_MAX_HEAD_DIM))
            weights_refuse(weights, key,
                           "divisors of block_out_channels, heads no wider than 1024");
    }
}

static void cross_attention_dim(Weights *weights, UNetConfig *config) {
    int dims[UNET_MAX_LEVELS];
    per_level(weights, "cross_attention_dim", 1280, 1 << 16, config->num_levels, dims);
    for (int i = 1; i < config->num_levels; i++)
        if (dims[i] != dims[0])
            weights_refuse(weights, "cross_attention_dim", "the same for all blocks");
    config->cross_attention_dim = dims[0];
}

UNetConfig unet_configure(Weights *weights) {
    UNetConfig config = {0};
    require_absent(weights);
    require_false(weights);
    require_text(weights);
    require_numbers(weights);
    config.num_levels = weights_int_list(weights, "block_out_channels", UNET_MAX_LEVELS,
                                         config.block_out_channels, 1, MAX_WIDTH);
    if (weights_failed(weights)) return config;
    int levels = config.num_levels;
    block_types(weights, "down_block_types", "DownBlock2D", "CrossAttnDownBlock2D", levels,
                config.down_attention);
    block_types(weights, "up_block_types", "UpBlock2D", "CrossAttnUpBlock2D", levels,
                config.up_attention);
    per_level(weights, "layers_per_block", 2, UNET_MAX_LAYERS, levels, config.layers_per_block);
    per_level(weights, "transformer_layers_per_block", 1, MAX_TRANSFORMER_LAYERS, levels,
              config.transformer_layers);
    attention_heads(weights, &config);
    cross_attention_dim(weights, &config);
    config.in_channels = weights_int_or(weights, "in_channels", 4, 1, MAX_WIDTH);
    config.time_embedding_dim =
        weights_int_or(weights, "time_embedding_dim", 4 * config.block_out_channels[0], 1, 1 << 16);
    config.norm_num_groups = weights_int_or(weights, "norm_num_groups", 32, 1, MAX_WIDTH);
    config.norm_eps = (float)weights_float_or(weights, "norm_eps", 1e-5);
    config.downsample_padding = weights_int_or(weights, "downsample_padding", 1, 0, 1);
    config.flip_sin_to_cos = weights_bool_or(weights, "flip_sin_to_cos", true);
    config.freq_shift = weights_float_or(weights, "freq_shift", 0);
    if (config.freq_shift >= config.block_out_channels[0] / 2)
        weights_refuse(weights, "freq_shift", "less than half of block_out_channels[0]");
    return config;
}
