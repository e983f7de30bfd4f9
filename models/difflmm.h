/// DiffLMM [Cao et al. 2024, arXiv 2410.08209]: an image passes CLIP and one denoising step of a diffusion model; small trained parts join
/// both to a language model. And the LLaVA-1.5 baseline, which sees CLIP alone.
///
///   CLIP feature -> implicit captioner -> the U-Net's context
///   image -> VAE latents -> noise of one timestep -> U-Net up to an up block -> feature (mean over an ensemble of noises)
///   (U-Net feature, CLIP feature) -> projector -> visual tokens -> in the place of the image token -> language model
///
/// Frozen networks are read from published directories of any size; trained parts are registered in a ParameterSet. B images, N visual
/// tokens each, d the language model's width.
#pragma once
#include "models/adapters.h"
#include "models/clip/clip_vision.h"
#include "models/diffusion/noise_schedule.h"
#include "models/diffusion/unet.h"
#include "models/diffusion/vae.h"
#include "models/language/llama_generate.h"
#include "models/language/lora.h"
#include "models/packing.h"

typedef struct DiffLMMOptions {
    AdapterKind architecture;
    const char *
        sd; ///< directory with vae, unet, scheduler (and text_encoder, tokenizer without captioner); unused by LLaVA
    const char *vision_tower; ///< directory of a CLIP vision model
    const char *llm;          ///< directory of a Llama
    bool implicit_captioner, positional_encodings, clip_concat;
    double positional_encoding_std;
    int unet_feature_block, timestep, ensemble_size;
    int image_size;          ///< S
    int model_max_length;    ///< tokens of a sequence, visual ones counted; longer ones are cut
    DType dtype;             ///< of frozen weights and activations
    int recompute;           ///< 0: none; n: every n-th layer of the language model
    uint64_t seed;           ///< of initialisation, noise and dropout
    const LoraOptions *lora; ///< NULL: the language model stays as it is
} DiffLMMOptions;

typedef struct DiffLMM {
    DiffLMMOptions options; ///< its strings are not kept
    Device *device;
    ClipVision *clip;
    VaeEncoder *vae; ///< this and the next three: NULL with LLaVA
    NoiseSchedule *schedule;
    UNet *unet;
    Tensor *empty_prompt; ///< [T,context width], NULL with an implicit captioner
    Adapters adapters;
    Llama *llama;
    LlamaLora *lora;       ///< NULL: none
    int num_visual_tokens; ///< N = grid * grid
    int grid;              ///< side of the square of visual tokens: CLIP's patches
    int latent_size;
} DiffLMM;

/// Reads the networks and registers the trained parts, initialised: adapters in GROUP_ADAPTERS, then LoRA in GROUP_LORA.
/// NULL on failure (then nothing was registered): `*option` is then the name of the member of the
/// options that does not fit the networks, NULL if none of them is to blame (`option` may be NULL).
/// `parameters` must outlive the model.
DiffLMM *difflmm_load(const DiffLMMOptions *options, Device *device, ParameterSet *parameters,
                      const char **option, Error *error);
void difflmm_free(DiffLMM *model);

/// What the frozen encoders make of images. It depends on nothing trained and on no random number, so it can be kept.
typedef struct FrozenFeatures {
    Tensor *clip; ///< [B,N,width], the model's type
    Tensor *
        moments; ///< FLOAT32 [B,h,w,2*channels], the latents' mean and log variance; NULL with LLaVA
} FrozenFeatures;

/// images [B,S,S,3] FLOAT32 in [-1,1].
FrozenFeatures difflmm_frozen_features(const DiffLMM *model, Tensor *images);

/// The random part of a pass: drawn, or given.
typedef struct DiffusionNoise {
    /// [B], a number that no other pass of any sample has in this run; with the model's seed it
    /// decides the draw.
    const uint64_t *passes;
    Tensor *
        vae; ///< FLOAT32 [ensemble_size*B,h,w,channels], all images for the first draw first; NULL: drawn
    Tensor *diffusion; ///< likewise
} DiffusionNoise;

/// What comes between; tensors of the caller's scope, set where they exist. Of an ensemble the last member's.
typedef struct Intermediates {
    Tensor *latents;       ///< [B,h,w,channels], scaled
    Tensor *noisy_latents; ///< the same at the timestep
    Tensor *context;       ///< [B,tokens,context width]
    Tensor *unet_feature;  ///< [B,g,g,channels], averaged, on CLIP's grid
    Tensor *visual_tokens; ///< [B,N,d]
    Tensor *logits;        ///< [T,V] of all packed rows
} Intermediates;

/// Visual tokens [B,N,d], differentiable in the adapters. A feature of another up block than the one with CLIP's grid is resized to it
/// (bilinear). `intermediates` may be NULL.
Tensor *difflmm_visual_tokens(const DiffLMM *model, const FrozenFeatures *features,
                              const DiffusionNoise *noise, Intermediates *intermediates);

/// A batch of samples, with images, without, or both.
typedef struct DiffLMMBatch {
    const TokenSample *samples;
    int num_samples;
    const FrozenFeatures *features; ///< of the images that samples refer to; NULL: there are none
    const DiffusionNoise *noise;    ///< NULL with LLaVA or without images
    bool train;                     ///< LoRA's dropout happens
    uint64_t pass; ///< the optimizer step: keys dropout together with the samples' numbers
} DiffLMMBatch;

typedef struct DiffLMMLoss {
    Tensor *
        sum; ///< FLOAT32 [1], sum of the supervised tokens' cross-entropies; NULL if there are none
    int64_t num_supervised; ///< what the caller divides by, summed over the global batch
    int64_t num_tokens;     ///< packed rows
} DiffLMMLoss;

/// The next-token loss. Where nothing trained took part (text alone in stage 1) requires_grad(sum) is false and there is no backward.
/// `intermediates` may be NULL; with it all logits are computed.
DiffLMMLoss difflmm_loss(const DiffLMM *model, const DiffLMMBatch *batch,
                         Intermediates *intermediates);

/// Continues prompts; visual [B,N,d] or NULL; indices [num_prompts] name the prompts for sampling. Fills `generations`, with attention
/// to the visual tokens if options ask for it. No gradients.
void difflmm_generate(const DiffLMM *model, const TokenSample *prompts, int num_prompts,
                      const uint64_t *indices, Tensor *visual, const GenerationOptions *options,
                      Generation *generations);

/// Attention to the visual tokens while reading a given text: row i belongs to token tokens[i] (an index of sample->ids, behind the
/// image). The sample must have its image; tokens beyond model_max_length give zeros. The caller frees the maps. No gradients.
AttentionMaps difflmm_attention(const DiffLMM *model, const TokenSample *sample, Tensor *visual,
                                const int *tokens, int count, AttentionRow row,
                                const AttentionSelection *selection);
