/// The spatial transformer of latent diffusion's U-Net (Rombach et al. 2021, arXiv 2112.10752;
/// diffusers' Transformer2DModel): an image's pixels as tokens that attend to each other and to a
/// context.
#pragma once
#include "models/affine.h"

typedef struct TransformerAttention {
    /// without biases
    Affine to_q, to_k, to_v;
    Affine to_out;
} TransformerAttention;

typedef struct TransformerLayer {
    Affine norm1, norm2, norm3;
    /// pixels to pixels
    TransformerAttention attn1;
    /// pixels to the context
    TransformerAttention attn2;
    /// GEGLU between them
    Affine ff_in, ff_out;
} TransformerLayer;

typedef struct SpatialTransformer {
    int channels, heads, groups, num_layers;
    Affine norm, proj_in, proj_out;
    TransformerLayer *layers;
} SpatialTransformer;

/// Reads `name`.norm.weight and so on; the projections may be linear layers or 1x1 convolutions.
/// `heads` divides `channels`.
SpatialTransformer *spatial_transformer_load(Weights *weights, const char *name, int channels,
                                             int context_channels, int heads, int groups,
                                             int num_layers);
void spatial_transformer_free(SpatialTransformer *transformer);

/// x [B,H,W,channels]; context [B,N,context_channels] of x's type; returns x's shape.
/// Differentiable in both.
Tensor *spatial_transformer(const SpatialTransformer *transformer, Tensor *x, Tensor *context);
