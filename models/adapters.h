/// The trained parts between image and language model: implicit captioner, projector and their
/// positional encodings; or the two-layer projector of LLaVA-1.5 [Liu et al. 2023, arXiv
/// 2310.03744].
///
/// Parameters are registered in GROUP_ADAPTERS under the names of the published checkpoints. A part
/// that is switched off has no parameters.
#pragma once
#include "autograd/parameters.h"
#include "models/affine.h"

typedef enum AdapterKind { ADAPTERS_DIFFLMM, ADAPTERS_LLAVA } AdapterKind;

typedef struct AdapterOptions {
    AdapterKind kind;
    /// off: the U-Net sees the empty prompt
    bool implicit_captioner;
    /// of the captioner's tokens (if there is one) and of the visual tokens
    bool positional_encodings;
    /// off: the projector sees the U-Net's feature alone
    bool clip_concat;
    /// N, cells of CLIP's grid
    int num_tokens;
    /// of CLIP's feature
    int clip_width;
    /// of the U-Net's cross-attention
    int context_width;
    /// channels of the U-Net's feature
    int unet_width;
    /// d, divisible by 4
    int llm_width;
    /// W of the projector's Linear(in, W), GELU, Linear(W, d); 0: d, as published
    int projector_width;
    double positional_encoding_std;
    uint64_t seed;
} AdapterOptions;

/// Tensors are the set's; NULL where a part is off.
typedef struct Adapters {
    AdapterOptions options;
    /// mm_projector.clip_projector.{0,2}
    Affine captioner[2];
    /// mm_projector.clip_pe [N,context_width]
    Tensor *captioner_encoding;
    /// mm_projector.sd_norm_layer
    Affine unet_norm;
    /// mm_projector.sd_proj_layer.0, a 1x1 convolution [d/4,unet_width,1,1]
    Affine unet_linear;
    /// mm_projector.linear.{0,2}; of LLaVA mm_projector.{0,2}
    Affine linears[2];
    /// mm_projector.vt_pe [N,d]
    Tensor *visual_encoding;
} Adapters;

/// Registers and initialises the parameters as PyTorch does: uniform within 1/sqrt(fan_in) for
/// linear layers, 1 and 0 for the norm, N(0, std^2) for the encodings.
Adapters adapters_new(const AdapterOptions *options, ParameterSet *parameters, Device *device);

/// The U-Net's context in place of a prompt: Linear, GELU, Linear, plus encoding. clip
/// [B,N,clip_width]; returns [B,N,context_width]. Only with an implicit captioner.
Tensor *adapters_context(const Adapters *adapters, Tensor *clip);

/// The visual tokens [B,N,d]. clip [B,N,clip_width]; unet [B,h,w,unet_width], where h*w = N, row by
/// row (NULL with LLaVA).
Tensor *adapters_project(const Adapters *adapters, Tensor *clip, Tensor *unet);
