/// The configuration of a UNet2DConditionModel.
#pragma once
#include "models/unet.h"

enum {
    UNET_MAX_LAYERS = 16, ///< per down block
    UNET_MAX_SKIPS = 1 + UNET_MAX_LEVELS * (UNET_MAX_LAYERS + 1)
};

/// Reads config.json. What diffusers could do and this U-Net cannot is a failure remembered in weights.
UNetConfig unet_configure(Weights *weights);
