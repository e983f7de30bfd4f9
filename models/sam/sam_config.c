#include "models/sam/sam_config.h"

#include "ops/types.h"

#include <stdio.h>
#include <string.h>

enum { MAX_SIZE = 1 << 14, MAX_DEPTH = 16, ORIGINAL_HEADS = 8 };

/// nn.LayerNorm's own, which segment-anything's two-way transformer keeps.
static const float TORCH_NORM_EPS = 1e-5f;

// ---- transformers' SamModel: config.json

static void expect_text(Weights *weights, const char *key, const char *value) {
    if (strcmp(weights_string_or(weights, key, value), value) != 0)
        weights_refuse(weights, key, value);
}

static void expect_true(Weights *weights, const char *key) {
    if (!weights_bool_or(weights, key, true)) weights_refuse(weights, key, "true");
}

static void read_global_layers(SamConfig *config, Weights *weights) {
    static const int published[] = {2, 5, 8, 11};
    int indexes[SAM_MAX_LAYERS], count = 4;
    memcpy(indexes, published, sizeof published);
    if (weights_has_key(weights, "global_attn_indexes"))
        count = weights_int_list(weights, "global_attn_indexes", SAM_MAX_LAYERS, indexes, 0,
                                 config->num_layers - 1);
    for (int i = 0; i < config->num_layers; i++) config->is_global[i] = config->window_size == 0;
    for (int i = 0; i < count; i++) config->is_global[indexes[i]] = true;
}

static void read_vision(SamConfig *config, Weights *weights) {
    weights_section(weights, "vision_config");
    config->image_size = weights_int_or(weights, "image_size", 1024, 1, MAX_SIZE);
    config->patch_size = weights_int_or(weights, "patch_size", 16, 1, MAX_SIZE);
    config->hidden_size = weights_int_or(weights, "hidden_size", 768, 1, MAX_SIZE);
    config->num_layers = weights_int_or(weights, "num_hidden_layers", 12, 1, SAM_MAX_LAYERS);
    config->num_heads = weights_int_or(weights, "num_attention_heads", 12, 1, MAX_SIZE);
    config->window_size = weights_int_or(weights, "window_size", 14, 0, MAX_SIZE);
    config->embed_dim = weights_int_or(weights, "output_channels", 256, 1, MAX_SIZE);
    config->layer_norm_eps = (float)weights_float_or(weights, "layer_norm_eps", 1e-6);
    double ratio = weights_float_or(weights, "mlp_ratio", 4);
    if (!(ratio > 0 && ratio <= 64)) weights_refuse(weights, "mlp_ratio", "from 0 to 64");
    int by_ratio = weights_failed(weights) ? 1 : (int)(config->hidden_size * ratio);
    config->mlp_dim = weights_int_or(weights, "mlp_dim", by_ratio, 1, 4 * MAX_SIZE);
    read_global_layers(config, weights);
    weights_int_or(weights, "num_channels", SAM_CHANNELS, SAM_CHANNELS, SAM_CHANNELS);
    if (weights_int_or(weights, "num_pos_feats", config->embed_dim / 2, 1, MAX_SIZE) !=
        config->embed_dim / 2)
        weights_refuse(weights, "num_pos_feats", "half of output_channels");
    expect_text(weights, "hidden_act", "gelu");
    expect_true(weights, "qkv_bias");
    expect_true(weights, "use_abs_pos");
    expect_true(weights, "use_rel_pos");
}

static void read_prompts(SamConfig *config, Weights *weights) {
    weights_section(weights, "prompt_encoder_config");
    int width = config->embed_dim;
    weights_int_or(weights, "hidden_size", width, width, width);
    weights_int_or(weights, "image_size", config->image_size, config->image_size,
                   config->image_size);
    weights_int_or(weights, "patch_size", config->patch_size, config->patch_size,
                   config->patch_size);
    weights_int_or(weights, "num_point_embeddings", 2 + SAM_CORNERS, 2 + SAM_CORNERS,
                   2 + SAM_CORNERS);
    config->mask_channels = weights_int_or(weights, "mask_input_channels", 16, 4, MAX_SIZE);
    config->mask_norm_eps = (float)weights_float_or(weights, "layer_norm_eps", 1e-6);
    expect_text(weights, "hidden_act", "gelu");
}

static void read_decoder(SamConfig *config, Weights *weights) {
    weights_section(weights, "mask_decoder_config");
    int width = config->embed_dim;
    weights_int_or(weights, "hidden_size", width, width, width);
    config->decoder_layers = weights_int_or(weights, "num_hidden_layers", 2, 1, SAM_MAX_LAYERS);
    config->decoder_heads = weights_int_or(weights, "num_attention_heads", 8, 1, MAX_SIZE);
    config->decoder_mlp_dim = weights_int_or(weights, "mlp_dim", 2048, 1, 4 * MAX_SIZE);
    // transformers builds the layers with 2 whatever its configuration says.
    config->attention_downsample_rate =
        weights_int_or(weights, "attention_downsample_rate", 2, 2, 2);
    config->num_masks = 1 + weights_int_or(weights, "num_multimask_outputs", 3, 1, MAX_DEPTH);
    config->iou_head_depth = weights_int_or(weights, "iou_head_depth", 3, 2, MAX_DEPTH);
    config->iou_head_hidden_dim = weights_int_or(weights, "iou_head_hidden_dim", 256, 1, MAX_SIZE);
    config->decoder_norm_eps = (float)weights_float_or(weights, "layer_norm_eps", 1e-6);
    expect_text(weights, "hidden_act", "relu");
    weights_section(weights, "");
}

// ---- segment-anything's files: the tensors' shapes

/// Dimension `axis` of a tensor that must be there with that rank; 1 after a failure.
static int size_of(Weights *weights, const char *name, int rank, int axis) {
    const int64_t *shape = weights_shape(weights, name, rank);
    if (shape && (shape[axis] < 1 || shape[axis] > 4 * MAX_SIZE))
        weights_fail(weights, "tensor '%s': a dimension of %lld", name, (long long)shape[axis]);
    return weights_failed(weights) ? 1 : (int)shape[axis];
}

/// How many of the numbered tensors there are.
static int count(Weights *weights, const char *format, int most) {
    int found = 0;
    char name[128];
    for (; found < most; found++) {
        snprintf(name, sizeof name, "%.*s%d%s", (int)strcspn(format, "#"), format, found,
                 strchr(format, '#') + 1);
        if (!weights_have(weights, name)) break;
    }
    return found;
}

/// A layer whose table is as long as the grid's is global; the others' say how wide windows are.
static void find_windows(SamConfig *config, Weights *weights) {
    for (int i = 0; i < config->num_layers; i++) {
        char name[128];
        snprintf(name, sizeof name, "image_encoder.blocks.%d.attn.rel_pos_h", i);
        int length = size_of(weights, name, 2, 0), side = (length + 1) / 2;
        config->is_global[i] = length == 2 * config->grid - 1;
        if (config->is_global[i]) continue;
        if (length % 2 == 0 || side > config->grid ||
            (config->window_size && side != config->window_size))
            weights_fail(weights,
                         "tensor '%s' has %d rows: neither those of the grid of %d, nor of windows "
                         "of one size",
                         name, length, config->grid);
        config->window_size = side;
    }
}

static void read_shapes(SamConfig *config, Weights *weights) {
    config->grid = size_of(weights, "image_encoder.pos_embed", 4, 1);
    config->hidden_size = size_of(weights, "image_encoder.pos_embed", 4, 3);
    config->patch_size = size_of(weights, "image_encoder.patch_embed.proj.weight", 4, 2);
    config->image_size = config->grid * config->patch_size;
    config->num_layers = count(weights, "image_encoder.blocks.#.norm1.weight", SAM_MAX_LAYERS);
    config->mlp_dim = size_of(weights, "image_encoder.blocks.0.mlp.lin1.weight", 2, 0);
    config->num_heads =
        config->hidden_size / size_of(weights, "image_encoder.blocks.0.attn.rel_pos_h", 2, 1);
    find_windows(config, weights);
    config->embed_dim = size_of(weights, "image_encoder.neck.0.weight", 4, 0);
    config->mask_channels = size_of(weights, "prompt_encoder.mask_downscaling.3.weight", 4, 0);
    config->decoder_layers =
        count(weights, "mask_decoder.transformer.layers.#.norm1.weight", SAM_MAX_LAYERS);
    config->decoder_heads = ORIGINAL_HEADS;
    config->decoder_mlp_dim =
        size_of(weights, "mask_decoder.transformer.layers.0.mlp.lin1.weight", 2, 0);
    config->attention_downsample_rate =
        config->embed_dim /
        size_of(weights, "mask_decoder.transformer.final_attn_token_to_image.q_proj.weight", 2, 0);
    config->num_masks = size_of(weights, "mask_decoder.mask_tokens.weight", 2, 0);
    config->iou_head_depth =
        count(weights, "mask_decoder.iou_prediction_head.layers.#.weight", MAX_DEPTH);
    config->iou_head_hidden_dim =
        size_of(weights, "mask_decoder.iou_prediction_head.layers.0.weight", 2, 0);
    config->layer_norm_eps = config->mask_norm_eps = 1e-6f;
    config->decoder_norm_eps = TORCH_NORM_EPS;
}

// ---- both

static bool divides(int divisor, int number) { return divisor > 0 && number % divisor == 0; }

static void check(const SamConfig *config, Weights *weights) {
    if (weights_failed(weights)) return;
    int inner = config->attention_downsample_rate > 0
                    ? config->embed_dim / config->attention_downsample_rate
                    : 0;
    if (config->num_layers < 1 || config->decoder_layers < 1 || config->iou_head_depth < 2 ||
        config->num_masks < 2)
        weights_fail(weights, "not a whole Segment Anything model: %d layers, %d in the decoder",
                     config->num_layers, config->decoder_layers);
    if (!divides(config->num_heads, config->hidden_size) ||
        config->hidden_size / config->num_heads > ATTENTION_MAX_HEAD_DIM)
        weights_fail(weights,
                     "%d attention heads do not divide the %d channels, or are wider than "
                     "%d",
                     config->num_heads, config->hidden_size, ATTENTION_MAX_HEAD_DIM);
    if (!divides(8, config->embed_dim) ||
        !divides(config->attention_downsample_rate, config->embed_dim) ||
        !divides(config->decoder_heads, inner))
        weights_fail(
            weights,
            "the mask decoder's %d channels are not a multiple of 8, or do not divide by %d "
            "heads at a downsampling of %d",
            config->embed_dim, config->decoder_heads, config->attention_downsample_rate);
    if (!divides(4, config->mask_channels))
        weights_fail(weights, "a mask prompt's %d channels are not a multiple of 4",
                     config->mask_channels);
    if (config->grid < 1 || config->grid > MAX_SIZE / 4 || config->window_size > config->grid)
        weights_fail(weights, "a grid of %d x %d patches, windows of %d", config->grid,
                     config->grid, config->window_size);
}

SamConfig sam_config_read(Weights *weights) {
    SamConfig config = {.original_names = weights_have(weights, "image_encoder.pos_embed")};
    if (config.original_names) {
        read_shapes(&config, weights);
    } else {
        if (!weights_has_key(weights, "model_type"))
            weights_fail(weights, "neither segment-anything's tensors nor a \"model_type\"");
        expect_text(weights, "model_type", "sam");
        read_vision(&config, weights);
        config.grid = config.image_size / config.patch_size;
        read_prompts(&config, weights);
        read_decoder(&config, weights);
    }
    check(&config, weights);
    return config;
}
