/// Segment Anything's sizes and names (Kirillov et al. 2023, arXiv 2304.02643), from either of its
/// published forms: segment-anything's own files (sam_vit_b, sam_vit_l, sam_vit_h), whose tensors'
/// shapes say everything, and the folder of transformers' SamModel.
#pragma once
#include "models/weights.h"

enum { SAM_MAX_LAYERS = 128, SAM_CHANNELS = 3, SAM_CORNERS = 2 };

typedef struct SamConfig {
    /// segment-anything's, otherwise transformers'
    bool original_names;
    /// side of the square that the encoder sees
    int image_size;
    int patch_size;
    /// G = image_size / patch_size
    int grid;
    // image encoder
    int hidden_size, num_layers, num_heads, mlp_dim, window_size;
    /// attends over the whole image, not within windows
    bool is_global[SAM_MAX_LAYERS];
    float layer_norm_eps;
    // prompts and masks
    /// E, channels of an image's embedding and of every token
    int embed_dim;
    /// of a mask prompt, inside
    int mask_channels;
    int decoder_layers, decoder_heads, decoder_mlp_dim, attention_downsample_rate;
    /// mask tokens: one for an unambiguous prompt, and those of the multimask output
    int num_masks;
    int iou_head_depth, iou_head_hidden_dim;
    float decoder_norm_eps, mask_norm_eps;
} SamConfig;

/// Reads the sizes; a failure is remembered in `weights`.
SamConfig sam_config_read(Weights *weights);

typedef struct SamName {
    char text[128];
} SamName;

/// The name of a module in the files at hand. `original`: segment-anything's, in which # stands for
/// the number.
SamName sam_name(const SamConfig *config, const char *original, int number);
/// The name of layer `i` of a perceptron of `depth` layers called `mlp`, segment-anything's MLP and
/// transformers' SamFeedForward.
SamName sam_mlp_name(const SamConfig *config, const char *mlp, int number, int i, int depth);
