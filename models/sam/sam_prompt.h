/// Segment Anything's prompts as what its mask decoder takes: a token for each point and corner of
/// a box, and a map for a mask.
#pragma once
#include "models/affine.h"
#include "models/sam/sam_config.h"

/// What to segment, in pixels of the picture as it was read (pixel (0,0) covers [-0.5, 0.5]).
/// Everything is optional and the caller's.
typedef struct SamPrompt {
    int num_points;
    /// [num_points] x, y
    const float (*points)[2];
    /// [num_points] 1: in the object, 0: outside of it, -1: not a point
    const int *labels;
    /// left, top, right, bottom
    const float *box;
    /// [4G,4G] logits, such as an earlier prediction gave
    const float *mask_input;
} SamPrompt;

typedef struct SamPromptEncoder {
    SamConfig config;
    Device *device;
    DType dtype;
    /// [2,E/2] on the host: of x and of y
    float *frequencies;
    /// [3 + SAM_CORNERS,E] on the host: not a point, outside, inside, first corner, second corner
    float *kind_tokens;
    /// [E] FLOAT32
    Tensor *no_mask;
    /// [G*G,E], positions of the embedding's places
    Tensor *grid_places;
    Affine mask_conv1, mask_norm1, mask_conv2, mask_norm2, mask_conv3;
} SamPromptEncoder;

SamPromptEncoder sam_prompt_encoder_load(const SamConfig *config, Weights *weights, Device *device,
                                         DType dtype);
void sam_prompt_encoder_release(SamPromptEncoder *encoder);

/// Tokens [n,E] of the points and the box, whose coordinates are times (scale_x, scale_y) in the
/// encoder's square; NULL if there are neither.
Tensor *sam_prompt_tokens(const SamPromptEncoder *encoder, const SamPrompt *prompt, double scale_x,
                          double scale_y);
/// What a mask adds to an image's embedding: [G*G,E] for the logits [4G,4G], or [E] for NULL.
Tensor *sam_prompt_map(const SamPromptEncoder *encoder, const float *mask_input);
