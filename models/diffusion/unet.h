/// The U-Net of a latent diffusion model (Rombach et al. 2021, arXiv 2112.10752) as diffusers'
/// UNet2DConditionModel, frozen, read and run up to one of its up blocks: a feature extractor whose
/// conditioning may be trained.
#pragma once
#include "models/diffusion/residual_block.h"
#include "models/diffusion/spatial_transformer.h"
#include "models/diffusion/unet_config.h"

typedef struct UNetLayer {
    ResidualBlock resnet;
    /// NULL: none
    SpatialTransformer *attention;
} UNetLayer;

typedef struct UNetBlock {
    int num_layers;
    UNetLayer *layers;
    /// the 3x3 convolution that halves, or follows doubling; no weight: none
    Affine resample;
} UNetBlock;

typedef struct UNet {
    Device *device;
    DType dtype;
    UNetConfig config;
    /// the last up block that is run
    int feature_block;
    Affine conv_in, time_linear_1, time_linear_2;
    /// What the residual blocks see of the timestep: [1,time_embedding_dim], of `dtype`, with their
    /// SiLU applied; NULL: no timestep is set
    Tensor *time;
    UNetBlock down[UNET_MAX_LEVELS], mid, up[UNET_MAX_LEVELS];
} UNet;

/// Reads the directory of a UNet2DConditionModel (Stable Diffusion's unet) as far as up block
/// `feature_block` (0 is the deepest). NULL on failure: what the configuration asks for and is not
/// supported is named. A block that the network does not have is the caller's fault
/// (Error.is_configuration).
UNet *unet_load(const char *directory, int feature_block, Device *device, DType dtype,
                Error *error);
void unet_free(UNet *unet);

/// The timestep of every pass from now on, one for whole batches: embeds it, once.
void unet_set_timestep(UNet *unet, int timestep);

/// Channels of the feature.
int unet_feature_channels(const UNet *unet);
/// Height (or width) of the feature for latents of that height (or width); 0 if they are too small
/// for the levels.
int unet_feature_size(const UNet *unet, int latent_size);

/// latents [B,h,w,in_channels], noised to the timestep that was set; context
/// [B,N,cross_attention_dim]; returns the up block's output, after its upsampler if it has one:
/// [B,H,W,unet_feature_channels()]. Differentiable in context (and latents); what comes before the
/// first layer that sees a context that is trained leaves nothing on the tape.
Tensor *unet_features(const UNet *unet, Tensor *latents, Tensor *context);
