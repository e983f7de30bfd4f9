#include "models/sam/sam_config.h"

#include <stdio.h>
#include <string.h>

/// segment-anything's names of modules, and transformers' names of the same. # is a number.
static const struct {
    const char *original, *transformers;
} names[] = {
    {"image_encoder.patch_embed.proj", "vision_encoder.patch_embed.projection"},
    {"image_encoder.pos_embed", "vision_encoder.pos_embed"},
    {"image_encoder.blocks.#.norm1", "vision_encoder.layers.#.layer_norm1"},
    {"image_encoder.blocks.#.attn.qkv", "vision_encoder.layers.#.attn.qkv"},
    {"image_encoder.blocks.#.attn.rel_pos_h", "vision_encoder.layers.#.attn.rel_pos_h"},
    {"image_encoder.blocks.#.attn.rel_pos_w", "vision_encoder.layers.#.attn.rel_pos_w"},
    {"image_encoder.blocks.#.attn.proj", "vision_encoder.layers.#.attn.proj"},
    {"image_encoder.blocks.#.norm2", "vision_encoder.layers.#.layer_norm2"},
    {"image_encoder.blocks.#.mlp.lin1", "vision_encoder.layers.#.mlp.lin1"},
    {"image_encoder.blocks.#.mlp.lin2", "vision_encoder.layers.#.mlp.lin2"},
    {"image_encoder.neck.0", "vision_encoder.neck.conv1"},
    {"image_encoder.neck.1", "vision_encoder.neck.layer_norm1"},
    {"image_encoder.neck.2", "vision_encoder.neck.conv2"},
    {"image_encoder.neck.3", "vision_encoder.neck.layer_norm2"},
    {"prompt_encoder.pe_layer.positional_encoding_gaussian_matrix",
     "shared_image_embedding.positional_embedding"},
    {"prompt_encoder.point_embeddings.#", "prompt_encoder.point_embed.#"},
    {"prompt_encoder.not_a_point_embed", "prompt_encoder.not_a_point_embed"},
    {"prompt_encoder.no_mask_embed", "prompt_encoder.no_mask_embed"},
    {"prompt_encoder.mask_downscaling.0", "prompt_encoder.mask_embed.conv1"},
    {"prompt_encoder.mask_downscaling.1", "prompt_encoder.mask_embed.layer_norm1"},
    {"prompt_encoder.mask_downscaling.3", "prompt_encoder.mask_embed.conv2"},
    {"prompt_encoder.mask_downscaling.4", "prompt_encoder.mask_embed.layer_norm2"},
    {"prompt_encoder.mask_downscaling.6", "prompt_encoder.mask_embed.conv3"},
    {"mask_decoder.iou_token", "mask_decoder.iou_token"},
    {"mask_decoder.mask_tokens", "mask_decoder.mask_tokens"},
    {"mask_decoder.transformer.layers.#.self_attn", "mask_decoder.transformer.layers.#.self_attn"},
    {"mask_decoder.transformer.layers.#.norm1", "mask_decoder.transformer.layers.#.layer_norm1"},
    {"mask_decoder.transformer.layers.#.cross_attn_token_to_image",
     "mask_decoder.transformer.layers.#.cross_attn_token_to_image"},
    {"mask_decoder.transformer.layers.#.norm2", "mask_decoder.transformer.layers.#.layer_norm2"},
    {"mask_decoder.transformer.layers.#.mlp.lin1", "mask_decoder.transformer.layers.#.mlp.lin1"},
    {"mask_decoder.transformer.layers.#.mlp.lin2", "mask_decoder.transformer.layers.#.mlp.lin2"},
    {"mask_decoder.transformer.layers.#.norm3", "mask_decoder.transformer.layers.#.layer_norm3"},
    {"mask_decoder.transformer.layers.#.cross_attn_image_to_token",
     "mask_decoder.transformer.layers.#.cross_attn_image_to_token"},
    {"mask_decoder.transformer.layers.#.norm4", "mask_decoder.transformer.layers.#.layer_norm4"},
    {"mask_decoder.transformer.final_attn_token_to_image",
     "mask_decoder.transformer.final_attn_token_to_image"},
    {"mask_decoder.transformer.norm_final_attn", "mask_decoder.transformer.layer_norm_final_attn"},
    {"mask_decoder.output_upscaling.0", "mask_decoder.upscale_conv1"},
    {"mask_decoder.output_upscaling.1", "mask_decoder.upscale_layer_norm"},
    {"mask_decoder.output_upscaling.3", "mask_decoder.upscale_conv2"},
    {"mask_decoder.output_hypernetworks_mlps.#", "mask_decoder.output_hypernetworks_mlps.#"},
    {"mask_decoder.iou_prediction_head", "mask_decoder.iou_prediction_head"},
};

SamName sam_name(const SamConfig *config, const char *original, int number) {
    const char *name = NULL;
    for (size_t i = 0; i < sizeof names / sizeof *names && !name; i++)
        if (!strcmp(names[i].original, original))
            name = config->original_names ? names[i].original : names[i].transformers;
    CHECK(name, "sam_name: '%s' is not in the table", original);
    SamName result;
    int length = (int)strcspn(name, "#");
    if (name[length] == '#')
        snprintf(result.text, sizeof result.text, "%.*s%d%s", length, name, number,
                 name + length + 1);
    else
        snprintf(result.text, sizeof result.text, "%s", name);
    return result;
}

SamName sam_mlp_name(const SamConfig *config, const char *mlp, int number, int i, int depth) {
    SamName name = sam_name(config, mlp, number);
    size_t length = strlen(name.text), space = sizeof name.text - length;
    if (config->original_names)
        snprintf(name.text + length, space, ".layers.%d", i);
    else if (i == 0 || i == depth - 1)
        snprintf(name.text + length, space, i ? ".proj_out" : ".proj_in");
    else
        snprintf(name.text + length, space, ".layers.%d", i - 1);
    return name;
}
