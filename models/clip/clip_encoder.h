/// The transformer that CLIP's two towers share (Radford et al. 2021, arXiv 2103.00020): pre-norm
/// layers of self-attention and MLP.
#pragma once
#include "models/affine.h"

typedef struct ClipLayer {
    Affine layer_norm1, q_proj, k_proj, v_proj, out_proj;
    Affine layer_norm2, fc1, fc2;
} ClipLayer;

typedef struct ClipEncoder {
    int hidden_size, intermediate_size, num_attention_heads, num_hidden_layers;
    float layer_norm_eps;
    Activation hidden_act;
    /// of num_hidden_layers, those that are loaded and run
    int num_layers;
    ClipLayer *layers;
} ClipEncoder;

/// What transformers assumes where a configuration is silent.
typedef struct ClipDefaults {
    int hidden_size, intermediate_size, num_attention_heads, num_hidden_layers;
} ClipDefaults;

/// Reads the configuration in the current section; num_layers becomes num_hidden_layers.
ClipEncoder clip_encoder_configure(Weights *weights, const ClipDefaults *defaults);
/// How a tower's tensors are called.
typedef enum ClipNames {
    /// "encoder.layers.0.self_attn.q_proj.weight"
    CLIP_NAMES_TRANSFORMERS,
    /// "transformer.resblocks.0.attn.in_proj_weight", of OpenAI's release as well: q, k and v are
    /// one matrix
    CLIP_NAMES_OPEN_CLIP,
} ClipNames;

/// Reads the first num_layers layers, their names behind `tower`.
void clip_encoder_load(ClipEncoder *encoder, Weights *weights, const char *tower, ClipNames names);
void clip_encoder_release(ClipEncoder *encoder);

/// x [batch*T,C], `batch` sequences of one length; causal: a token sees those before it and itself.
/// Returns [batch*T,C].
Tensor *clip_encoder(const ClipEncoder *encoder, Tensor *x, int batch, bool causal);
