/// CLIP's vision tower as OpenCLIP publishes it (github.com/mlfoundations/open_clip): a
/// configuration of its own, with the names of OpenAI's release. The tensors' names are found by
/// what is in the files, so either form of configuration goes with either form of weights.
#pragma once
#include "models/clip/clip_vision.h"

/// Whether the configuration is OpenCLIP's: "vision_cfg", alone or in the "model_cfg" of
/// open_clip_config.json.
bool open_clip_configured(const Weights *weights);
/// Reads it into clip->encoder, image_size and patch_size. What OpenCLIP could do and this tower
/// cannot is a failure remembered in weights.
void open_clip_configure(ClipVision *clip, Weights *weights);

/// Whether the weights have OpenCLIP's names, "visual.conv1.weight" and so on.
bool open_clip_weights(Weights *weights);
/// Reads them.
void open_clip_load(ClipVision *clip, Weights *weights);
