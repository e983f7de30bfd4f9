#include "models/diffusion/vae.h"

#include "models/block_output.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_WIDTH = 1 << 14, MAX_LAYERS = 64 };

/// Fixed in diffusers, not a key of the configuration.
static const float NORM_EPS = 1e-6f;

// ---- loading

static void configure(VaeEncoder *vae, Weights *weights) {
    const char *types[VAE_MAX_LEVELS];
    vae->num_levels = weights_int_list(weights, "block_out_channels", VAE_MAX_LEVELS,
                                       vae->block_out_channels, 1, MAX_WIDTH);
    int count = weights_string_list(weights, "down_block_types", VAE_MAX_LEVELS, types);
    if (count != vae->num_levels)
        weights_refuse(weights, "down_block_types", "one for each of block_out_channels");
    for (int i = 0; i < count; i++)
        if (strcmp(types[i], "DownEncoderBlock2D") != 0)
            weights_refuse(weights, "down_block_types", "DownEncoderBlock2D for each");
    const char *act_fn = weights_string_or(weights, "act_fn", "silu");
    if (strcmp(act_fn, "silu") != 0) weights_refuse(weights, "act_fn", "silu");
    // A shift, or statistics of the latents, belong to autoencoders that Stable Diffusion's U-Net
    // does not go with.
    static const char *const absent[] = {"shift_factor", "latents_mean", "latents_std"};
    for (int i = 0; i < 3; i++)
        if (weights_has_key(weights, absent[i])) weights_refuse(weights, absent[i], "null");
    vae->in_channels = weights_int_or(weights, "in_channels", 3, 1, MAX_WIDTH);
    vae->latent_channels = weights_int_or(weights, "latent_channels", 4, 1, MAX_WIDTH);
    vae->layers_per_block = weights_int_or(weights, "layers_per_block", 1, 1, MAX_LAYERS);
    vae->norm_num_groups = weights_int_or(weights, "norm_num_groups", 32, 1, MAX_WIDTH);
    vae->scaling_factor = (float)weights_float_or(weights, "scaling_factor", 0.18215);
    vae->mid_block_add_attention = weights_bool_or(weights, "mid_block_add_attention", true);
    // The one head of the attention is as wide as the last level.
    if (count && vae->block_out_channels[count - 1] > ATTENTION_MAX_HEAD_DIM)
        weights_refuse(weights, "block_out_channels", "at most 1024 at the end");
}

static ResidualBlock load_resnet(const VaeEncoder *vae, Weights *weights, int in, int out) {
    return residual_block_load(weights, in, out, 0, vae->norm_num_groups, NORM_EPS);
}

static void load_level(VaeEncoder *vae, Weights *weights, int i) {
    VaeLevel *level = &vae->levels[i];
    int out = vae->block_out_channels[i], in = vae->block_out_channels[i ? i - 1 : 0];
    level->resnets = checked_calloc((size_t)vae->layers_per_block, sizeof *level->resnets);
    for (int j = 0; j < vae->layers_per_block; j++) {
        weights_prefix(weights, "encoder.down_blocks.%d.resnets.%d.", i, j);
        level->resnets[j] = load_resnet(vae, weights, j == 0 ? in : out, out);
    }
    if (i + 1 == vae->num_levels) return;
    weights_prefix(weights, "encoder.down_blocks.%d.downsamplers.0.", i);
    level->downsample = affine_conv(weights, "conv", out, out, 3);
}

static VaeAttention load_attention(const VaeEncoder *vae, Weights *weights, int channels) {
    weights_prefix(weights, "encoder.mid_block.attentions.0.");
    // Files from before diffusers 0.17, Stable Diffusion v1.5's among them, have the older names.
    bool older = weights_have(weights, "query.weight");
    return (VaeAttention){
        .group_norm = affine_group_norm(weights, "group_norm", channels, vae->norm_num_groups),
        .to_q = affine_linear(weights, older ? "query" : "to_q", channels, channels),
        .to_k = affine_linear(weights, older ? "key" : "to_k", channels, channels),
        .to_v = affine_linear(weights, older ? "value" : "to_v", channels, channels),
        .to_out = affine_linear(weights, older ? "proj_attn" : "to_out.0", channels, channels),
    };
}

static void load(VaeEncoder *vae, Weights *weights) {
    configure(vae, weights);
    if (weights_failed(weights)) return;
    int first = vae->block_out_channels[0], last = vae->block_out_channels[vae->num_levels - 1];
    int moments = 2 * vae->latent_channels;
    weights_prefix(weights, "encoder.");
    vae->conv_in = affine_conv(weights, "conv_in", first, vae->in_channels, 3);
    vae->conv_norm_out = affine_group_norm(weights, "conv_norm_out", last, vae->norm_num_groups);
    vae->conv_out = affine_conv(weights, "conv_out", moments, last, 3);
    for (int i = 0; i < vae->num_levels; i++) load_level(vae, weights, i);
    for (int i = 0; i < 2; i++) {
        weights_prefix(weights, "encoder.mid_block.resnets.%d.", i);
        vae->mid_resnets[i] = load_resnet(vae, weights, last, last);
    }
    if (vae->mid_block_add_attention) vae->mid_attention = load_attention(vae, weights, last);
    weights_prefix(weights, "%s", "");
    if (weights_bool_or(weights, "use_quant_conv", true))
        vae->quant_conv = affine_linear(weights, "quant_conv", moments, moments);
}

VaeEncoder *vae_encoder_load(const char *directory, Device *device, DType dtype, Error *error) {
    Weights *weights = weights_open(directory, device, dtype, error);
    if (!weights) return NULL;
    VaeEncoder *vae = checked_calloc(1, sizeof *vae);
    vae->device = device;
    vae->dtype = dtype;
    load(vae, weights);
    weights_leave(weights, "decoder.*");
    weights_leave(weights, "post_quant_conv.*");
    if (weights_finish(weights, error)) return vae;
    vae_encoder_free(vae);
    return NULL;
}

static void release_attention(VaeAttention *attention) {
    affine_release(&attention->group_norm);
    affine_release(&attention->to_q);
    affine_release(&attention->to_k);
    affine_release(&attention->to_v);
    affine_release(&attention->to_out);
}

void vae_encoder_free(VaeEncoder *vae) {
    if (!vae) return;
    for (int i = 0; i < vae->num_levels; i++) {
        VaeLevel *level = &vae->levels[i];
        for (int j = 0; level->resnets && j < vae->layers_per_block; j++)
            residual_block_release(&level->resnets[j]);
        free(level->resnets);
        affine_release(&level->downsample);
    }
    for (int i = 0; i < 2; i++) residual_block_release(&vae->mid_resnets[i]);
    release_attention(&vae->mid_attention);
    affine_release(&vae->conv_in);
    affine_release(&vae->conv_norm_out);
    affine_release(&vae->conv_out);
    affine_release(&vae->quant_conv);
    free(vae);
}

// ---- forward

int vae_latent_size(const VaeEncoder *vae, int image_size) {
    return image_size >> (vae->num_levels - 1);
}

/// One head over all pixels.
static Tensor *run_attention(const VaeEncoder *vae, Tensor *x) {
    const VaeAttention *attention = &vae->mid_attention;
    int batch = (int)x->shape[0], tokens = (int)(x->shape[1] * x->shape[2]);
    int channels = (int)x->shape[3];
    scope_begin();
    Tensor *h = apply_group_norm(&attention->group_norm, x, vae->norm_num_groups, NORM_EPS, false);
    h = reshape(h, SHAPE((int64_t)batch * tokens, channels));
    Tensor *q = apply_linear(&attention->to_q, h);
    Tensor *k = apply_linear(&attention->to_k, h);
    Tensor *v = apply_linear(&attention->to_v, h);
    h = scaled_dot_product_attention(
        q, k, v, attention_uniform(x->device, batch, tokens, tokens, 1, 1, channels, false));
    h = reshape(apply_linear(&attention->to_out, h), x->rank, x->shape);
    return scope_end_returning(add(x, h));
}

static Tensor *run_level(const VaeEncoder *vae, const VaeLevel *level, Tensor *x) {
    scope_begin();
    for (int j = 0; j < vae->layers_per_block; j++) x = residual_block(&level->resnets[j], x, NULL);
    const Affine *down = &level->downsample;
    if (down->weight)
        x = conv2d(x, down->weight, down->bias,
                   (Conv2d){.stride = 2, .pad_bottom = 1, .pad_right = 1});
    return scope_end_returning(x);
}

Tensor *vae_encode(const VaeEncoder *vae, Tensor *image) {
    CHECK(image->rank == 4 && image->shape[3] == vae->in_channels, "vae_encode: %s",
          tensor_describe(image));
    scope_begin();
    Tensor *x = apply_conv3x3(&vae->conv_in, convert(image, vae->dtype));
    block_output(x, "encoder.conv_in");
    for (int i = 0; i < vae->num_levels; i++)
        x = block_output(run_level(vae, &vae->levels[i], x), "encoder.down_blocks.%d", i);
    x = residual_block(&vae->mid_resnets[0], x, NULL);
    block_output(x, "encoder.mid_block.resnets.0");
    if (vae->mid_block_add_attention)
        x = block_output(run_attention(vae, x), "encoder.mid_block.attentions.0");
    x = residual_block(&vae->mid_resnets[1], x, NULL);
    block_output(x, "encoder.mid_block.resnets.1");
    x = apply_group_norm(&vae->conv_norm_out, x, vae->norm_num_groups, NORM_EPS, true);
    x = apply_conv3x3(&vae->conv_out, x);
    if (vae->quant_conv.weight) x = apply_linear(&vae->quant_conv, x);
    return scope_end_returning(x);
}
