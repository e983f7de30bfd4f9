#include "models/sam/sam_prompt.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { NOT_A_POINT, OUTSIDE, INSIDE, FIRST_CORNER, SECOND_CORNER, KINDS };
_Static_assert(KINDS == 3 + SAM_CORNERS, "kinds of tokens");

// ---- loading

/// A [rows,columns] tensor as floats on the host, into `out`.
static void load_floats(Weights *weights, const char *name, int64_t rows, int64_t columns,
                        float *out) {
    Tensor *x = weights_array(weights, name, FLOAT32, SHAPE(rows, columns));
    if (x) tensor_to_host_float(x, out);
    tensor_release(x);
}

static void load_token(const SamConfig *config, Weights *weights, const char *name, int number,
                       float *out) {
    char full[160];
    snprintf(full, sizeof full, "%s.weight", sam_name(config, name, number).text);
    load_floats(weights, full, 1, config->embed_dim, out);
}

/// Random Fourier features (Tancik et al. 2020, arXiv 2006.10739) of a point of the unit square:
/// sines, then cosines.
static void encode_position(const SamPromptEncoder *encoder, double x, double y, float *out) {
    int half = encoder->config.embed_dim / 2;
    for (int i = 0; i < half; i++) {
        double turns = (2 * x - 1) * (double)encoder->frequencies[i] +
                       (2 * y - 1) * (double)encoder->frequencies[half + i];
        out[i] = (float)sin(2 * M_PI * turns);
        out[half + i] = (float)cos(2 * M_PI * turns);
    }
}

/// The positions of the middles of the embedding's places.
static Tensor *grid_places(const SamPromptEncoder *encoder) {
    int64_t grid = encoder->config.grid, width = encoder->config.embed_dim;
    float *values = checked_malloc((size_t)(grid * grid * width) * sizeof *values);
    for (int64_t i = 0; i < grid * grid; i++)
        encode_position(encoder, ((double)(i % grid) + 0.5) / (double)grid,
                        ((double)(i / grid) + 0.5) / (double)grid, values + i * width);
    Tensor *places = tensor_new_persistent(encoder->device, encoder->dtype,
                                           SHAPE(grid * grid, width), "grid_places");
    tensor_fill_from_float(places, values);
    free(values);
    return places;
}

static Affine load_conv(const SamConfig *config, Weights *weights, const char *name, int out,
                        int in, int kernel) {
    return affine_conv(weights, sam_name(config, name, 0).text, out, in, kernel);
}

static void load_mask_convolutions(SamPromptEncoder *encoder, Weights *weights) {
    const SamConfig *c = &encoder->config;
    int channels = c->mask_channels, first = channels / 4;
    encoder->mask_conv1 = load_conv(c, weights, "prompt_encoder.mask_downscaling.0", first, 1, 2);
    encoder->mask_norm1 =
        affine_norm(weights, sam_name(c, "prompt_encoder.mask_downscaling.1", 0).text, first);
    encoder->mask_conv2 =
        load_conv(c, weights, "prompt_encoder.mask_downscaling.3", channels, first, 2);
    encoder->mask_norm2 =
        affine_norm(weights, sam_name(c, "prompt_encoder.mask_downscaling.4", 0).text, channels);
    encoder->mask_conv3 = affine_linear(
        weights, sam_name(c, "prompt_encoder.mask_downscaling.6", 0).text, c->embed_dim, channels);
}

SamPromptEncoder sam_prompt_encoder_load(const SamConfig *c, Weights *weights, Device *device,
                                         DType dtype) {
    SamPromptEncoder encoder = {.config = *c, .device = device, .dtype = dtype};
    int64_t width = c->embed_dim;
    encoder.frequencies = checked_calloc((size_t)width, sizeof(float));
    encoder.kind_tokens = checked_calloc((size_t)(KINDS * width), sizeof(float));
    load_floats(weights,
                sam_name(c, "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix", 0).text,
                2, width / 2, encoder.frequencies);
    load_token(c, weights, "prompt_encoder.not_a_point_embed", 0, encoder.kind_tokens);
    for (int kind = OUTSIDE; kind < KINDS; kind++)
        load_token(c, weights, "prompt_encoder.point_embeddings.#", kind - OUTSIDE,
                   encoder.kind_tokens + kind * width);
    float *no_mask = checked_calloc((size_t)width, sizeof *no_mask);
    load_token(c, weights, "prompt_encoder.no_mask_embed", 0, no_mask);
    encoder.no_mask = tensor_new_persistent(device, FLOAT32, SHAPE(width), "no_mask");
    tensor_fill_from_float(encoder.no_mask, no_mask);
    free(no_mask);
    load_mask_convolutions(&encoder, weights);
    encoder.grid_places = grid_places(&encoder);
    return encoder;
}

void sam_prompt_encoder_release(SamPromptEncoder *encoder) {
    Affine *affines[] = {&encoder->mask_conv1, &encoder->mask_norm1, &encoder->mask_conv2,
                         &encoder->mask_norm2, &encoder->mask_conv3};
    for (size_t i = 0; i < sizeof affines / sizeof *affines; i++) affine_release(affines[i]);
    tensor_release(encoder->no_mask);
    tensor_release(encoder->grid_places);
    free(encoder->frequencies);
    free(encoder->kind_tokens);
    *encoder = (SamPromptEncoder){0};
}

// ---- points and boxes

/// A token: where it is (nowhere for what is not a point), and what it is.
static void write_token(const SamPromptEncoder *encoder, int kind, double x, double y, float *out) {
    int64_t width = encoder->config.embed_dim;
    const float *token = encoder->kind_tokens + kind * width;
    if (kind == NOT_A_POINT)
        for (int64_t i = 0; i < width; i++) out[i] = 0;
    else // half a pixel to its middle
        encode_position(encoder, (x + 0.5) / encoder->config.image_size,
                        (y + 0.5) / encoder->config.image_size, out);
    for (int64_t i = 0; i < width; i++) out[i] += token[i];
}

Tensor *sam_prompt_tokens(const SamPromptEncoder *encoder, const SamPrompt *prompt, double scale_x,
                          double scale_y) {
    int64_t width = encoder->config.embed_dim, count = 0;
    if (prompt->num_points == 0 && !prompt->box) return NULL;
    float *tokens = checked_malloc((size_t)((prompt->num_points + 2) * width) * sizeof *tokens);
    for (int i = 0; i < prompt->num_points; i++) {
        int label = prompt->labels[i];
        CHECK(label >= -1 && label <= 1, "sam_prompt_tokens: label %d", label);
        write_token(encoder, NOT_A_POINT + 1 + label, prompt->points[i][0] * scale_x,
                    prompt->points[i][1] * scale_y, tokens + count++ * width);
    }
    const float *box = prompt->box;
    if (box) {
        write_token(encoder, FIRST_CORNER, box[0] * scale_x, box[1] * scale_y,
                    tokens + count++ * width);
        write_token(encoder, SECOND_CORNER, box[2] * scale_x, box[3] * scale_y,
                    tokens + count++ * width);
    } else { // points without a box are followed by one that is none: what the model was trained
             // with
        write_token(encoder, NOT_A_POINT, 0, 0, tokens + count++ * width);
    }
    scope_begin();
    Tensor *x = tensor_from_host(encoder->device, FLOAT32, SHAPE(count, width), tokens);
    free(tokens);
    return scope_end_returning(convert(x, encoder->dtype));
}

// ---- masks

Tensor *sam_prompt_map(const SamPromptEncoder *encoder, const float *mask_input) {
    if (!mask_input) return encoder->no_mask;
    static const Conv2d halve = {.stride = 2};
    int64_t side = 4 * (int64_t)encoder->config.grid, places = side * side / 16;
    float eps = encoder->config.mask_norm_eps;
    scope_begin();
    Tensor *x = tensor_from_host(encoder->device, FLOAT32, SHAPE(1, side, side, 1), mask_input);
    x = convert(x, encoder->dtype);
    x = conv2d(x, encoder->mask_conv1.weight, encoder->mask_conv1.bias, halve);
    x = gelu(apply_layer_norm(&encoder->mask_norm1, x, eps));
    x = conv2d(x, encoder->mask_conv2.weight, encoder->mask_conv2.bias, halve);
    x = gelu(apply_layer_norm(&encoder->mask_norm2, x, eps));
    x = apply_linear(&encoder->mask_conv3, x);
    return scope_end_returning(reshape(x, SHAPE(places, encoder->config.embed_dim)));
}
