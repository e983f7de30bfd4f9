/// How a CLIP vision tower wants its pixels, by what is published with its weights.
#pragma once
#include "models/clip/clip_vision.h"
#include "models/weights.h"

/// Sets the tower's mean and deviation by preprocessor_config.json beside its configuration, or by
/// OpenCLIP's preprocess_cfg, with do_rescale, rescale_factor and do_normalize in them; without a
/// file they are CLIP's own. The weights have failed for what is not done here: another resampling,
/// or none. Sizes are not looked at: data.image_size and the tower's own decide.
void clip_pixels_configure(ClipVision *clip, Weights *weights);
