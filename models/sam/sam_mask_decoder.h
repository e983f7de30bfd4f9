/// Segment Anything's mask decoder (Kirillov et al. 2023, arXiv 2304.02643, appendix A): tokens of
/// a prompt and the places of an image attend to each other both ways; each mask token then is a
/// classifier of the upscaled places. Frozen, without gradients.
#pragma once
#include "models/affine.h"
#include "models/sam/sam_config.h"

/// Attention between projections, which may be narrower than the tokens.
typedef struct SamAttention {
    Affine q_proj, k_proj, v_proj, out_proj;
} SamAttention;

typedef struct SamTwoWayLayer {
    SamAttention self_attn, token_to_image, image_to_token;
    Affine norm1, norm2, norm3, norm4, lin1, lin2;
} SamTwoWayLayer;

/// Linear layers with ReLU between them.
typedef struct SamMlp {
    int depth;
    Affine *layers;
} SamMlp;

typedef struct SamMaskDecoder {
    SamConfig config;
    Device *device;
    DType dtype;
    /// [1,E], [num_masks,E]
    Tensor *iou_token, *mask_tokens;
    /// [decoder_layers]
    SamTwoWayLayer *layers;
    SamAttention final_attention;
    Affine final_norm;
    Affine upscale1, upscale_norm,
        /// upscale: [4 out,in], the four pixels that one becomes
        upscale2;
    /// [num_masks]
    SamMlp *hypernetworks;
    SamMlp iou_head;
} SamMaskDecoder;

/// What a prompt gives, for every mask token, the unambiguous one first.
typedef struct SamPrediction {
    /// [4G*4G,num_masks] FLOAT32
    Tensor *logits;
    /// [1,num_masks], the predicted intersection over union of each
    Tensor *iou;
} SamPrediction;

SamMaskDecoder sam_mask_decoder_load(const SamConfig *config, Weights *weights, Device *device,
                                     DType dtype);
void sam_mask_decoder_release(SamMaskDecoder *decoder);

/// image [G*G,E] is an image's embedding with a prompt's map added, places [G*G,E] the positions of
/// its places, tokens [n,E] the prompt's or NULL. The tensors of the prediction belong to the
/// innermost scope. block_output() hears "mask_decoder.transformer.layers.0.queries" and ".keys"
/// and so on.
SamPrediction sam_mask_decoder(const SamMaskDecoder *decoder, Tensor *image, Tensor *places,
                               Tensor *tokens);
