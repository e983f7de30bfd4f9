#include "models/sam/sam.h"

#include <stdlib.h>
#include <string.h>

Sam *sam_load(const char *path, Device *device, DType dtype, Error *error) {
    Weights *weights = weights_open(path, device, dtype, error);
    if (!weights) return NULL;
    Sam *sam = checked_calloc(1, sizeof *sam);
    sam->device = device;
    sam->dtype = dtype;
    sam->config = sam_config_read(weights);
    weights_leave(weights, "prompt_encoder.shared_embedding.*"); // shared_image_embedding again
    if (!weights_failed(weights)) {
        sam->image_encoder = sam_image_encoder_load(&sam->config, weights, device, dtype);
        sam->prompt_encoder = sam_prompt_encoder_load(&sam->config, weights, device, dtype);
        sam->mask_decoder = sam_mask_decoder_load(&sam->config, weights, device, dtype);
    }
    if (weights_finish(weights, error)) return sam;
    sam_free(sam);
    return NULL;
}

void sam_free(Sam *sam) {
    if (!sam) return;
    sam_image_encoder_release(&sam->image_encoder);
    sam_prompt_encoder_release(&sam->prompt_encoder);
    sam_mask_decoder_release(&sam->mask_decoder);
    free(sam);
}

// ---- an image

SamFrame sam_frame(const Sam *sam, int original_width, int original_height) {
    int longest = original_width > original_height ? original_width : original_height;
    double scale = (double)sam->config.image_size / longest;
    return (SamFrame){original_width, original_height, (int)(original_width * scale + 0.5),
                      (int)(original_height * scale + 0.5)};
}

/// Normalised by ImageNet's mean and standard deviation and put at the top left of a square that is
/// zero elsewhere: [1,S,S,3].
static Tensor *framed_pixels(const Sam *sam, const uint8_t *pixels, SamFrame frame) {
    static const float mean_of[SAM_CHANNELS] = {123.675f, 116.28f, 103.53f};
    static const float std_of[SAM_CHANNELS] = {58.395f, 57.12f, 57.375f};
    int64_t size = sam->config.image_size;
    CHECK(frame.width > 0 && frame.height > 0 && frame.width <= size && frame.height <= size,
          "sam_encode: %d x %d pixels in a square of %lld", frame.width, frame.height,
          (long long)size);
    float *values = checked_calloc((size_t)(size * size * SAM_CHANNELS), sizeof *values);
    for (int64_t y = 0; y < frame.height; y++)
        for (int64_t i = 0; i < (int64_t)frame.width * SAM_CHANNELS; i++)
            values[y * size * SAM_CHANNELS + i] =
                ((float)pixels[y * frame.width * SAM_CHANNELS + i] - mean_of[i % SAM_CHANNELS]) /
                std_of[i % SAM_CHANNELS];
    Tensor *x = tensor_from_host(sam->device, FLOAT32, SHAPE(1, size, size, SAM_CHANNELS), values);
    free(values);
    return x;
}

SamImage *sam_encode(const Sam *sam, const uint8_t *pixels, SamFrame frame) {
    SamImage *image = checked_calloc(1, sizeof *image);
    image->frame = frame;
    scope_begin();
    image->embedding =
        tensor_retain(sam_image_encoder(&sam->image_encoder, framed_pixels(sam, pixels, frame)));
    scope_end();
    return image;
}

void sam_image_free(SamImage *image) {
    if (!image) return;
    tensor_release(image->embedding);
    free(image);
}

// ---- a prompt

static SamPrediction predict(const Sam *sam, const SamImage *image, const SamPrompt *prompt) {
    const SamPromptEncoder *encoder = &sam->prompt_encoder;
    int64_t places = (int64_t)sam->config.grid * sam->config.grid;
    const SamFrame *frame = &image->frame;
    Tensor *tokens =
        sam_prompt_tokens(encoder, prompt, (double)frame->width / frame->original_width,
                          (double)frame->height / frame->original_height);
    Tensor *embedding = reshape(image->embedding, SHAPE(places, sam->config.embed_dim));
    embedding = add(embedding, sam_prompt_map(encoder, prompt->mask_input));
    return sam_mask_decoder(&sam->mask_decoder, embedding, encoder->grid_places, tokens);
}

/// Picks masks first .. first+count out of what all mask tokens gave.
static void take_masks(const SamPrediction *prediction, int first, SamMasks *masks) {
    int64_t all = tensor_columns(prediction->iou), side = masks->side;
    float *logits = checked_malloc((size_t)(all * side * side) * sizeof *logits);
    float *iou = checked_malloc((size_t)all * sizeof *iou);
    tensor_to_host_float(prediction->logits, logits);
    tensor_to_host_float(prediction->iou, iou);
    for (int64_t n = 0; n < masks->count; n++) {
        masks->iou[n] = iou[first + n];
        for (int64_t i = 0; i < side * side; i++)
            masks->logits[n * side * side + i] = logits[i * all + first + n];
    }
    free(logits);
    free(iou);
}

static void threshold(const Sam *sam, SamFrame frame, SamMasks *masks) {
    int64_t pixels = (int64_t)masks->width * masks->height, side = masks->side;
    float *logits = checked_malloc((size_t)pixels * sizeof *logits);
    for (int64_t n = 0; n < masks->count; n++) {
        sam_upscale_logits(masks->logits + n * side * side, masks->side, sam->config.image_size,
                           frame, logits);
        for (int64_t i = 0; i < pixels; i++) masks->masks[n * pixels + i] = logits[i] > 0;
    }
    free(logits);
}

SamMasks sam_predict(const Sam *sam, const SamImage *image, const SamPrompt *prompt,
                     bool multimask_output) {
    const SamFrame *frame = &image->frame;
    SamMasks masks = {.count = multimask_output ? sam->config.num_masks - 1 : 1,
                      .width = frame->original_width,
                      .height = frame->original_height,
                      .side = 4 * sam->config.grid};
    size_t count = (size_t)masks.count, side = (size_t)masks.side;
    masks.masks = checked_malloc(count * (size_t)masks.width * (size_t)masks.height);
    masks.iou = checked_malloc(count * sizeof *masks.iou);
    masks.logits = checked_malloc(count * side * side * sizeof *masks.logits);
    scope_begin();
    SamPrediction prediction = predict(sam, image, prompt);
    take_masks(&prediction, multimask_output ? 1 : 0, &masks);
    scope_end();
    threshold(sam, *frame, &masks);
    return masks;
}

void sam_masks_free(SamMasks *masks) {
    free(masks->masks);
    free(masks->iou);
    free(masks->logits);
    *masks = (SamMasks){0};
}
