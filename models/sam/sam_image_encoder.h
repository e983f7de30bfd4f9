/// Segment Anything's image encoder (Kirillov et al. 2023, arXiv 2304.02643): a ViT whose layers
/// attend within windows, but for a few that attend over the whole image, with decomposed relative
/// positions (Li et al. 2022, arXiv 2203.16527). Frozen, without gradients.
#pragma once
#include "models/affine.h"
#include "models/sam/sam_config.h"

typedef struct SamImageLayer {
    Affine norm1, qkv, proj, norm2, lin1, lin2;
    Tensor *vertical,
        /// [2 S - 1, head_dim], of a key's place less the query's, ascending; S: window or grid
        *horizontal;
} SamImageLayer;

typedef struct SamImageEncoder {
    SamConfig config;
    Device *device;
    DType dtype;
    Affine patch_embed;
    /// [G,G,C]
    Tensor *pos_embed;
    /// [num_layers]
    SamImageLayer *layers;
    Affine neck_conv1, neck_norm1, neck_conv2, neck_norm2;
} SamImageEncoder;

SamImageEncoder sam_image_encoder_load(const SamConfig *config, Weights *weights, Device *device,
                                       DType dtype);
void sam_image_encoder_release(SamImageEncoder *encoder);

/// pixels [B,image_size,image_size,3], normalised; returns [B,G,G,E] of the encoder's type.
/// block_output() hears "image_encoder.blocks.0" and so on, each [B*G*G,C].
Tensor *sam_image_encoder(const SamImageEncoder *encoder, Tensor *pixels);
