/// The residual block of latent diffusion's autoencoder and U-Net (Rombach et al. 2021, arXiv
/// 2112.10752; diffusers' ResnetBlock2D):
///
///   h = conv1(silu(norm1(x)));  h += W_t t  (U-Net only);  y = shortcut(x) + conv2(silu(norm2(h)))
#pragma once
#include "models/affine.h"

typedef struct ResidualBlock {
    int groups;
    float eps;
    Affine norm1, conv1, norm2, conv2;
    /// no weight: the block does not look at the time
    Affine time_emb_proj;
    /// 1x1; no weight: x itself
    Affine conv_shortcut;
} ResidualBlock;

/// Reads "norm1.weight", ... under the current prefix. time_channels 0: no time projection.
ResidualBlock residual_block_load(Weights *weights, int in, int out, int time_channels, int groups,
                                  float eps);
void residual_block_release(ResidualBlock *block);

/// x [B,H,W,in]; time [1,time_channels], SiLU applied, or NULL; returns [B,H,W,out]. Differentiable
/// in x.
Tensor *residual_block(const ResidualBlock *block, Tensor *x, Tensor *time);
