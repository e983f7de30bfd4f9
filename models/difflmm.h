/// DiffLMM [Cao et al. 2024, arXiv 2410.08209]: an image passes CLIP and one denoising step of a
/// diffusion model; small trained parts join both to a language model. And the LLaVA-1.5 baseline,
/// which sees CLIP alone.
///
///   CLIP feature -> implicit captioner -> the U-Net's context
///   image -> VAE latents -> noise of one timestep -> U-Net up to an up block -> feature (mean over
///   an ensemble of noises) (U-Net feature, CLIP feature) -> projector -> visual tokens -> in the
///   place of the image token -> language model
///
/// Frozen networks are read from published directories of any size; trained parts are registered in
/// a ParameterSet. B images, N visual tokens each, d the language model's width.
#pragma once
#include "models/adapters.h"
#include "models/clip/clip_vision.h"
#include "models/diffusion/noise_schedule.h"
#include "models/diffusion/unet.h"
#include "models/diffusion/vae.h"
#include "models/language/llama_generate.h"
#include "models/language/lora.h"
#include "models/packing.h"

/// The type of the matrices in the language model's layers.
typedef enum FrozenType {
    /// DiffLMMOptions.dtype
    FROZEN_AS_DTYPE,
    /// FLOAT8
    FROZEN_FP8
} FrozenType;

typedef struct DiffLMMOptions {
    AdapterKind architecture;
    /// directory with vae, unet, scheduler (and text_encoder, tokenizer without captioner); unused
    /// by LLaVA
    const char *sd;
    /// directory of a CLIP vision model
    const char *vision_tower;
    /// directory of a Llama
    const char *llm;
    bool implicit_captioner, positional_encodings, clip_concat;
    double positional_encoding_std;
    /// between the projector's two layers; 0: the language model's, as published
    int projector_width;
    int unet_feature_block, timestep, ensemble_size;
    /// S
    int image_size;
    /// tokens of a sequence, visual ones counted; longer ones are cut
    int model_max_length;
    /// of frozen weights and activations
    DType dtype;
    FrozenType frozen_dtype;
    /// 0: none; n: every n-th layer of the language model
    int recompute;
    /// of initialisation, noise and dropout
    uint64_t seed;
    /// NULL: the language model stays as it is
    const LoraOptions *lora;
} DiffLMMOptions;

typedef struct DiffLMM {
    /// its strings are not kept
    DiffLMMOptions options;
    Device *device;
    ClipVision *clip;
    /// this and the next three: NULL with LLaVA
    VaeEncoder *vae;
    NoiseSchedule *schedule;
    UNet *unet;
    /// [T,context width], NULL with an implicit captioner
    Tensor *empty_prompt;
    Adapters adapters;
    Llama *llama;
    /// NULL: none
    LlamaLora *lora;
    /// N = grid * grid
    int num_visual_tokens;
    /// side of the square of visual tokens: CLIP's patches
    int grid;
    int latent_size;
} DiffLMM;

/// Reads the networks and registers the trained parts, initialised: adapters in GROUP_ADAPTERS,
/// then LoRA in GROUP_LORA. NULL on failure (then nothing was registered): `*option` is then the
/// name of the member of the options that does not fit the networks, NULL if none of them is to
/// blame (`option` may be NULL). `parameters` must outlive the model.
DiffLMM *difflmm_load(const DiffLMMOptions *options, Device *device, ParameterSet *parameters,
                      const char **option, Error *error);
void difflmm_free(DiffLMM *model);

/// The frozen encoders alone, CLIP and the VAE: what difflmm_frozen_features() and
/// train/features/feature_block.h need of a model. Nothing else may be done with it.
DiffLMM *difflmm_load_encoders(const DiffLMMOptions *options, Device *device, const char **option,
                               Error *error);

/// What the frozen encoders make of images. It depends on nothing trained and on no random number,
/// so it can be kept.
typedef struct FrozenFeatures {
    /// [B,N,width], the model's type
    Tensor *clip;
    /// FLOAT32 [B,h,w,2*channels], the latents' mean and log variance; NULL with LLaVA
    Tensor *moments;
} FrozenFeatures;

/// images [B,S,S,3] FLOAT32 in [-1,1]; numbers beyond that are taken as they are.
FrozenFeatures difflmm_frozen_features(const DiffLMM *model, Tensor *images);

/// The random part of a pass: drawn, or given.
typedef struct DiffusionNoise {
    /// [B], a number that no other pass of any sample has in this run; with the model's seed it
    /// decides the draw.
    const uint64_t *passes;
    /// FLOAT32 [ensemble_size*B,h,w,channels], all images for the first draw first; NULL: drawn
    Tensor *vae;
    /// likewise
    Tensor *diffusion;
} DiffusionNoise;

/// What comes between; tensors of the caller's scope, set where they exist. Of an ensemble the last
/// member's.
typedef struct Intermediates {
    /// [B,h,w,channels], scaled
    Tensor *latents;
    /// the same at the timestep
    Tensor *noisy_latents;
    /// [B,tokens,context width]
    Tensor *context;
    /// [B,g,g,channels], averaged, on CLIP's grid
    Tensor *unet_feature;
    /// [B,N,d]
    Tensor *visual_tokens;
    /// [T,V] of all packed rows
    Tensor *logits;
} Intermediates;

/// Visual tokens [B,N,d], differentiable in the adapters. A feature of another up block than the
/// one with CLIP's grid is resized to it (bilinear). `intermediates` may be NULL.
Tensor *difflmm_visual_tokens(const DiffLMM *model, const FrozenFeatures *features,
                              const DiffusionNoise *noise, Intermediates *intermediates);

/// A batch of samples, with images, without, or both.
typedef struct DiffLMMBatch {
    const TokenSample *samples;
    int num_samples;
    /// of the images that samples refer to; NULL: there are none
    const FrozenFeatures *features;
    /// NULL with LLaVA or without images
    const DiffusionNoise *noise;
    /// LoRA's dropout happens
    bool train;
    /// the optimizer step: keys dropout together with the samples' numbers
    uint64_t pass;
} DiffLMMBatch;

typedef struct DiffLMMLoss {
    /// FLOAT32 [1], sum of the supervised tokens' cross-entropies; NULL if there are none
    Tensor *sum;
    /// what the caller divides by, summed over the global batch
    int64_t num_supervised;
    /// packed rows
    int64_t num_tokens;
} DiffLMMLoss;

/// The next-token loss. Where nothing trained took part (text alone in stage 1) requires_grad(sum)
/// is false and there is no backward. `intermediates` may be NULL; with it all logits are computed.
DiffLMMLoss difflmm_loss(const DiffLMM *model, const DiffLMMBatch *batch,
                         Intermediates *intermediates);

/// Adds a prompt to a writing of the model's language model: llama_writing_add(). visual [B,N,d] or
/// NULL; index names the prompt for sampling. The attention is that to the visual tokens.
void difflmm_writing_add(const DiffLMM *model, LlamaWriting *writing, const TokenSample *prompt,
                         uint64_t index, Tensor *visual, Generation *generation);

/// Attention to the visual tokens while reading a given text: row i belongs to token tokens[i] (an
/// index of sample->ids, behind the image). The sample must have its image; tokens beyond
/// model_max_length give zeros. The caller frees the maps. No gradients.
AttentionMaps difflmm_attention(const DiffLMM *model, const TokenSample *sample, Tensor *visual,
                                const int *tokens, int count, AttentionRow row,
                                const AttentionSelection *selection);
