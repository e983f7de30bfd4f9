/// The configuration of a UNet2DConditionModel.
#pragma once
#include "models/weights.h"

enum {
    UNET_MAX_LEVELS = 8,
    /// per down block
    UNET_MAX_LAYERS = 16,
    UNET_MAX_SKIPS = 1 + UNET_MAX_LEVELS * (UNET_MAX_LAYERS + 1)
};

typedef struct UNetConfig {
    int in_channels, cross_attention_dim, time_embedding_dim;
    int norm_num_groups, downsample_padding;
    float norm_eps;
    bool flip_sin_to_cos;
    double freq_shift;
    int num_levels;
    int block_out_channels[UNET_MAX_LEVELS];
    /// of a down block; an up block has one more
    int layers_per_block[UNET_MAX_LEVELS];
    /// in each spatial transformer
    int transformer_layers[UNET_MAX_LEVELS];
    int attention_heads[UNET_MAX_LEVELS];
    /// CrossAttnDownBlock2D
    bool down_attention[UNET_MAX_LEVELS];
    /// CrossAttnUpBlock2D, by up block
    bool up_attention[UNET_MAX_LEVELS];
} UNetConfig;

/// Reads config.json. What diffusers could do and this U-Net cannot is a failure remembered in
/// weights.
UNetConfig unet_configure(Weights *weights);
