/// CLIP's vision tower (Radford et al. 2021, arXiv 2103.00020) as transformers' CLIPVisionModel,
/// frozen; what it gives is the hidden state before its last layer, so that layer is neither read
/// nor run.
#pragma once
#include "models/clip/clip_encoder.h"

enum { CLIP_CHANNELS = 3, CLIP_MAX_IMAGE = 1 << 14 };

typedef struct ClipVision {
    Device *device;
    DType dtype;
    int image_size, patch_size;
    /// of pixels in [0,1]
    float image_mean[CLIP_CHANNELS], image_std[CLIP_CHANNELS];
    /// N = (image_size / patch_size)^2, rows of patches from the top
    int num_patches;
    ClipEncoder encoder;
    /// [C]
    Tensor *class_embedding;
    /// [C,patch,patch,3]
    Tensor *patch_embedding;
    /// [1+N,C]
    Tensor *position_embedding;
    /// spelt as published
    Affine pre_layrnorm;
} ClipVision;

/// Reads the directory of a CLIPVisionModel, with a projection or without, or of a whole CLIPModel,
/// or OpenCLIP's form of one (models/clip/open_clip.h). Mean and standard deviation of its images
/// are those of preprocessor_config.json if there is one. NULL on failure.
ClipVision *clip_vision_load(const char *directory, Device *device, DType dtype, Error *error);
void clip_vision_free(ClipVision *clip);

/// An image [B,S,S,3], its numbers taken for pixels in [-1,1], to what the tower sees: resized
/// (bilinear, no antialias) to its size, its mean and standard deviation. Computed in FLOAT32;
/// returns [B,image_size,image_size,3] of the tower's type.
Tensor *clip_preprocess(const ClipVision *clip, Tensor *image);

/// pixels [B,image_size,image_size,3] from clip_preprocess(); returns [B,N,C], without the class
/// token.
Tensor *clip_vision_features(const ClipVision *clip, Tensor *pixels);
