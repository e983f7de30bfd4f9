/// The encoder of latent diffusion's autoencoder (Rombach et al. 2021, arXiv 2112.10752) as
/// diffusers' AutoencoderKL, frozen. The decoder is never read.
#pragma once
#include "models/diffusion/residual_block.h"

enum { VAE_MAX_LEVELS = 8 };

typedef struct VaeLevel {
    /// [layers_per_block]
    ResidualBlock *resnets;
    /// no weight: the last level
    Affine downsample;
} VaeLevel;

typedef struct VaeAttention {
    Affine group_norm, to_q, to_k, to_v, to_out;
} VaeAttention;

typedef struct VaeEncoder {
    Device *device;
    DType dtype;
    int in_channels, latent_channels;
    int num_levels, layers_per_block, norm_num_groups;
    int block_out_channels[VAE_MAX_LEVELS];
    /// latents for the U-Net are scaling_factor * sample
    float scaling_factor;
    bool mid_block_add_attention;
    Affine conv_in;
    VaeLevel levels[VAE_MAX_LEVELS];
    ResidualBlock mid_resnets[2];
    VaeAttention mid_attention;
    Affine conv_norm_out, conv_out;
    /// 1x1; no weight: use_quant_conv is false
    Affine quant_conv;
} VaeEncoder;

/// Reads the directory of an AutoencoderKL (Stable Diffusion's vae). NULL on failure.
VaeEncoder *vae_encoder_load(const char *directory, Device *device, DType dtype, Error *error);
void vae_encoder_free(VaeEncoder *vae);

/// Latent size of an image size: halved, rounded down, at every level but the last.
int vae_latent_size(const VaeEncoder *vae, int image_size);

/// image [B,H,W,in_channels] in [-1,1]; returns the moments [B,h,w,2*latent_channels] of the
/// latents' distribution (mean, then log variance) for gaussian_sample().
Tensor *vae_encode(const VaeEncoder *vae, Tensor *image);
