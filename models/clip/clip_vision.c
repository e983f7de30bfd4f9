#include "models/clip/clip_vision.h"

#include "models/block_output.h"
#include "models/clip/clip_pixels.h"
#include "models/clip/open_clip.h"
#include "models/multimodal_config.h"

#include <stdlib.h>
#include <string.h>

enum { CHANNELS = CLIP_CHANNELS };

// ---- configuration

static void configure_transformers(ClipVision *clip, Weights *weights) {
    static const ClipDefaults defaults = {768, 3072, 12, 12};
    static const char *const parts[] = {"vision_config", "vision_model_config", NULL};
    const char *type = weights_string_or(weights, "model_type", "clip_vision_model");
    if (strcmp(type, "clip") != 0) refuse_whole_model(weights, "the vision tower", parts);
    if (strcmp(type, "clip") != 0 && strcmp(type, "clip_vision_model") != 0)
        weights_refuse(weights, "model_type", "clip or clip_vision_model");
    if (weights_has_key(weights, "vision_config")) weights_section(weights, "vision_config");
    clip->encoder = clip_encoder_configure(weights, &defaults);
    clip->image_size = weights_int_or(weights, "image_size", 224, 1, CLIP_MAX_IMAGE);
    clip->patch_size = weights_int_or(weights, "patch_size", 32, 1, CLIP_MAX_IMAGE);
    weights_int_or(weights, "num_channels", CHANNELS, CHANNELS, CHANNELS);
}

static void configure(ClipVision *clip, Weights *weights) {
    if (open_clip_configured(weights))
        open_clip_configure(clip, weights);
    else
        configure_transformers(clip, weights);
    if (clip->patch_size > clip->image_size)
        weights_refuse(weights, "patch_size", "no more than image_size");
    weights_section(weights, "");
    int side = clip->image_size / clip->patch_size;
    clip->num_patches = side * side;
    clip->encoder.num_layers = clip->encoder.num_hidden_layers - 1;
    clip_pixels_configure(clip, weights);
}

// ---- loading

static void load_transformers(ClipVision *clip, Weights *weights) {
    int width = clip->encoder.hidden_size, patch = clip->patch_size;
    weights_prefix(weights, "vision_model.");
    // CLIPVisionModel is saved with and without the name of its tower.
    const char *tower = weights_have(weights, "pre_layrnorm.weight") ? "vision_model." : "";
    weights_prefix(weights, "%s", tower);
    clip->class_embedding = weights_vector(weights, "embeddings.class_embedding", width);
    clip->patch_embedding =
        weights_conv(weights, "embeddings.patch_embedding.weight", width, CHANNELS, patch, patch);
    clip->position_embedding = weights_matrix(weights, "embeddings.position_embedding.weight",
                                              1 + clip->num_patches, width);
    clip->pre_layrnorm = affine_norm(weights, "pre_layrnorm", width);
    clip_encoder_load(&clip->encoder, weights, tower, CLIP_NAMES_TRANSFORMERS);
    weights_leave(weights, "%sencoder.layers.%d.*", tower, clip->encoder.num_layers); // the last
    weights_leave(weights, "%spost_layernorm.*", tower);
    weights_leave(weights, "visual_projection.weight");
    weights_leave(weights, "text_model.*");
    weights_leave(weights, "text_projection.weight");
    weights_leave(weights, "logit_scale");
    weights_leave(weights, "*.position_ids");
}

static void load(ClipVision *clip, Weights *weights) {
    configure(clip, weights);
    if (open_clip_weights(weights)) {
        open_clip_load(clip, weights);
        weights_leave(weights, "*"); // its text tower has no name of its own
    } else {
        load_transformers(clip, weights);
    }
}

ClipVision *clip_vision_load(const char *directory, Device *device, DType dtype, Error *error) {
    Weights *weights = weights_open(directory, device, dtype, error);
    if (!weights) return NULL;
    ClipVision *clip = checked_calloc(1, sizeof *clip);
    clip->device = device;
    clip->dtype = dtype;
    load(clip, weights);
    if (weights_finish(weights, error)) return clip;
    clip_vision_free(clip);
    return NULL;
}

void clip_vision_free(ClipVision *clip) {
    if (!clip) return;
    tensor_release(clip->class_embedding);
    tensor_release(clip->patch_embedding);
    tensor_release(clip->position_embedding);
    affine_release(&clip->pre_layrnorm);
    clip_encoder_release(&clip->encoder);
    free(clip);
}

Tensor *clip_preprocess(const ClipVision *clip, Tensor *image) {
    CHECK(image->rank == 4 && image->shape[3] == CHANNELS, "clip_preprocess: %s",
          tensor_describe(image));
    // ((x + 1) / 2 - mean) / std is a linear map from channels to channels.
    float weight[CHANNELS][CHANNELS] = {{0}}, bias[CHANNELS];
    for (int c = 0; c < CHANNELS; c++) {
        weight[c][c] = 0.5f / clip->image_std[c];
        bias[c] = (0.5f - clip->image_mean[c]) / clip->image_std[c];
    }
    scope_begin();
    Tensor *x = resize_bilinear(convert(image, FLOAT32), clip->image_size, clip->image_size);
    x = linear(x, tensor_from_host(x->device, FLOAT32, SHAPE(CHANNELS, CHANNELS), weight),
               tensor_from_host(x->device, FLOAT32, SHAPE(CHANNELS), bias));
    return scope_end_returning(convert(x, clip->dtype));
}

/// Row indices of [B,1+N]: with the class token (as merge_rows() has it: patch i of all, or ~b for
/// sample b's class token), or of the patches alone.
static Tensor *token_rows(const ClipVision *clip, int64_t batch, bool with_class) {
    int64_t patches = clip->num_patches, count = 0;
    int32_t *rows = checked_malloc((size_t)(batch * (patches + 1)) * sizeof *rows);
    for (int64_t b = 0; b < batch; b++) {
        if (with_class) rows[count++] = (int32_t)(-1 - b);
        for (int64_t i = 0; i < patches; i++)
            rows[count++] = (int32_t)(with_class ? b * patches + i : b * (patches + 1) + 1 + i);
    }
    Tensor *index = tensor_from_host(clip->device, INT32, SHAPE(count), rows);
    free(rows);
    return index;
}

/// [B*N,C] patches to [B,1+N,C] tokens, the class token first.
static Tensor *embed(const ClipVision *clip, Tensor *patches, int64_t batch) {
    int64_t width = clip->encoder.hidden_size;
    Tensor *token = convert(reshape(clip->class_embedding, SHAPE(1, width)), clip->dtype);
    Tensor *tokens = embedding(token, tensor_zeros(clip->device, INT32, SHAPE(batch)));
    Tensor *x = merge_rows(patches, tokens, token_rows(clip, batch, true));
    x = reshape(x, SHAPE(batch, clip->num_patches + 1, width));
    return add(x, clip->position_embedding);
}

Tensor *clip_vision_features(const ClipVision *clip, Tensor *pixels) {
    int64_t size = clip->image_size, width = clip->encoder.hidden_size, batch = pixels->shape[0];
    CHECK(pixels->rank == 4 && pixels->shape[1] == size && pixels->shape[2] == size &&
              pixels->shape[3] == CHANNELS,
          "clip_vision_features: %s, expected [B, %lld, %lld, 3]", tensor_describe(pixels),
          (long long)size, (long long)size);
    scope_begin();
    Tensor *x = conv2d(convert(pixels, clip->dtype), clip->patch_embedding, NULL,
                       (Conv2d){.stride = clip->patch_size});
    x = embed(clip, reshape(x, SHAPE(batch * clip->num_patches, width)), batch);
    block_output(x, "embeddings");
    x = apply_layer_norm(&clip->pre_layrnorm, x, clip->encoder.layer_norm_eps);
    block_output(x, "pre_layrnorm");
    x = reshape(x, SHAPE(batch * (clip->num_patches + 1), width));
    x = clip_encoder(&clip->encoder, x, (int)batch, false);
    x = gather_rows(x, token_rows(clip, batch, false));
    return scope_end_returning(reshape(x, SHAPE(batch, clip->num_patches, width)));
}
