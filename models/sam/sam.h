/// Segment Anything (Kirillov et al. 2023, arXiv 2304.02643), ViT-B, L and H, frozen: an image is
/// encoded once, and then each prompt gives masks of it.
///
///   Image resized;  // data/images/preprocess.h
///   image_resize_longest_side(&image, sam->config.image_size, &resized, &error);
///   SamImage *encoded = sam_encode(sam, resized.pixels, sam_frame(sam, image.width,
///   image.height)); float point[1][2] = {{x, y}}; int label[1] = {1}; SamMasks masks =
///   sam_predict(sam, encoded, &(SamPrompt){.num_points = 1, .points = point, .labels = label},
///   true);
#pragma once
#include "models/sam/sam_image_encoder.h"
#include "models/sam/sam_mask_decoder.h"
#include "models/sam/sam_prompt.h"

typedef struct Sam {
    SamConfig config;
    Device *device;
    DType dtype;
    SamImageEncoder image_encoder;
    SamPromptEncoder prompt_encoder;
    SamMaskDecoder mask_decoder;
} Sam;

/// Reads a model in either of its published forms: `path` is segment-anything's file
/// (sam_vit_h_4b8939.pth) or the folder of transformers' SamModel. Matrices get `dtype`. NULL on
/// failure.
Sam *sam_load(const char *path, Device *device, DType dtype, Error *error);
void sam_free(Sam *sam);

/// Where a picture lies in the square that the encoder sees: at the top left, its longer side as
/// long as the square's.
typedef struct SamFrame {
    int original_width, original_height;
    /// in the square
    int width, height;
} SamFrame;

/// The frame of a picture of that size.
SamFrame sam_frame(const Sam *sam, int original_width, int original_height);

/// An image's embedding, which serves any number of prompts.
typedef struct SamImage {
    SamFrame frame;
    /// [1,G,G,E], owned
    Tensor *embedding;
} SamImage;

/// pixels: the picture in RGB, 8 bits, resized to the frame's [height,width,3]. The caller frees
/// the image.
SamImage *sam_encode(const Sam *sam, const uint8_t *pixels, SamFrame frame);
void sam_image_free(SamImage *image);

/// What a prompt gives. Host arrays, owned; free with sam_masks_free().
typedef struct SamMasks {
    /// N: 1, or with multimask output as many as the model has (published: 3), from part to whole
    int count;
    int width, height;
    /// of the logits: 4 G, a quarter of the encoder's square
    int side;
    /// [N,height,width] of the picture as it was read, 1: in the object
    uint8_t *masks;
    /// [N], the predicted intersection over union with the object
    float *iou;
    /// [N,side,side] over the square, of the object; a prompt's mask_input
    float *logits;
} SamMasks;

/// One object's masks. multimask_output: several, for a prompt that may mean several things, such
/// as one point; otherwise one, for a prompt that is clear.
SamMasks sam_predict(const Sam *sam, const SamImage *image, const SamPrompt *prompt,
                     bool multimask_output);
void sam_masks_free(SamMasks *masks);

/// Logits [side,side] over the square of `square` pixels to [original_height,original_width] of the
/// picture: twice bilinear, to the square, of which the frame is cut out, and from there
/// (segment-anything's postprocess_masks).
void sam_upscale_logits(const float *logits, int side, int square, SamFrame frame, float *out);
