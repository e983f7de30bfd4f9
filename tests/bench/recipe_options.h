/// Inside the benchmarks: the published recipe as options, of which each benchmark changes what it
/// must.
#pragma once
#include "models/difflmm.h"

/// Folders of the three frozen models; they must outlive the options.
static DiffLMMOptions recipe_options(const char *sd, const char *vision_tower, const char *llm) {
    return (DiffLMMOptions){.architecture = ADAPTERS_DIFFLMM,
                            .sd = sd,
                            .vision_tower = vision_tower,
                            .llm = llm,
                            .implicit_captioner = true,
                            .positional_encodings = true,
                            .clip_concat = true,
                            .positional_encoding_std = 1,
                            .unet_feature_block = 1,
                            .timestep = 100,
                            .ensemble_size = 1,
                            .image_size = 384,
                            .model_max_length = 2048,
                            .dtype = BFLOAT16};
}

/// LoRA on all linear layers, alpha twice the rank.
static LoraOptions recipe_lora(int rank) {
    return (LoraOptions){.r = rank,
                         .alpha = 2 * (float)rank,
                         .dropout = 0.05f,
                         .modules = {true, true, true, true, true, true, true}};
}
