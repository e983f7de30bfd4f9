#include "models/clip/open_clip.h"

enum { MAX_WIDTH = 1 << 16, MAX_LAYERS = 1024 };

bool open_clip_configured(const Weights *weights) {
    return weights_has_key(weights, "vision_cfg") || weights_has_key(weights, "model_cfg");
}

/// Variants of the transformer or of what comes before it. How its output is pooled does not matter
/// here.
static void require_plain(Weights *weights) {
    static const char *const absent[] = {"timm_model_name", "ls_init_value", "act_kwargs",
                                         "norm_kwargs", "block_type"};
    static const char *const off[] = {"no_ln_pre",   "input_patchnorm",  "qk_norm",
                                      "scale_heads", "scale_attn_inner", "scaled_cosine_attn",
                                      "scale_attn",  "scale_fc"};
    for (size_t i = 0; i < sizeof absent / sizeof *absent; i++)
        if (weights_has_key(weights, absent[i])) weights_refuse(weights, absent[i], "null");
    for (size_t i = 0; i < sizeof off / sizeof *off; i++)
        if (weights_bool_or(weights, off[i], false)) weights_refuse(weights, off[i], "false");
}

/// The files of OpenAI's release, whose activation OpenCLIP's configurations of the same models do
/// not know, have tensors that say how the model was trained.
static bool released_by_openai(Weights *weights) {
    weights_prefix(weights, "%s", "");
    return weights_have(weights, "input_resolution");
}

void open_clip_configure(ClipVision *clip, Weights *weights) {
    bool nested = weights_has_key(weights, "model_cfg");
    weights_section(weights, nested ? "model_cfg" : "");
    bool quick = weights_bool_or(weights, "quick_gelu", released_by_openai(weights));
    weights_section(weights, nested ? "model_cfg.vision_cfg" : "vision_cfg");
    require_plain(weights);
    int width = weights_int_or(weights, "width", 768, 1, MAX_WIDTH);
    int head_width = weights_int_or(weights, "head_width", 64, 1, ATTENTION_MAX_HEAD_DIM);
    double inner = width * weights_float_or(weights, "mlp_ratio", 4);
    if (!(inner >= 1 && inner <= MAX_WIDTH))
        weights_refuse(weights, "mlp_ratio",
                       "a positive number, the product with width at most 65536");
    if (width % head_width != 0) weights_refuse(weights, "head_width", "a divisor of width");
    int layers = weights_int_or(weights, "layers", 12, 1, MAX_LAYERS);
    clip->encoder = (ClipEncoder){
        .hidden_size = width,
        .intermediate_size = weights_failed(weights) ? 1 : (int)inner,
        .num_attention_heads = width / head_width,
        .num_hidden_layers = layers,
        .num_layers = layers,
        .layer_norm_eps = 1e-5f,
        .hidden_act = quick ? QUICK_GELU : GELU,
    };
    clip->image_size = weights_int_or(weights, "image_size", 224, 1, CLIP_MAX_IMAGE);
    clip->patch_size = weights_int_or(weights, "patch_size", 16, 1, CLIP_MAX_IMAGE);
}

bool open_clip_weights(Weights *weights) {
    weights_prefix(weights, "%s", "");
    return weights_have(weights, "visual.conv1.weight");
}

void open_clip_load(ClipVision *clip, Weights *weights) {
    int width = clip->encoder.hidden_size, patch = clip->patch_size;
    weights_prefix(weights, "visual.");
    clip->class_embedding = weights_vector(weights, "class_embedding", width);
    clip->patch_embedding =
        weights_conv(weights, "conv1.weight", width, CLIP_CHANNELS, patch, patch);
    clip->position_embedding =
        weights_matrix(weights, "positional_embedding", 1 + clip->num_patches, width);
    clip->pre_layrnorm = affine_norm(weights, "ln_pre", width);
    clip_encoder_load(&clip->encoder, weights, "visual.", CLIP_NAMES_OPEN_CLIP);
}
