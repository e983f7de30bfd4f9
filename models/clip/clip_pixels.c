// Everything that a file may say about values is one linear map of a channel: (u factor - mean) /
// std with u in [0, 1], and so a mean and a deviation of their own. What it says about resizing
// must be what data/images/preprocess.h does.
#include "models/clip/clip_pixels.h"

#include "models/clip/open_clip.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { CHANNELS = CLIP_CHANNELS, LARGEST_PIXEL = 255, BICUBIC = 3 };

static void fail(Weights *weights, const Error *error) {
    weights_fail(weights, "%s", error->message);
}

/// Three numbers, the fallback where the file is silent.
static void read_channels(const ModelConfig *config, const char *key, const float *fallback,
                          bool positive, float *values, Weights *weights) {
    Error error;
    double given[CHANNELS];
    int count = 0;
    memcpy(values, fallback, CHANNELS * sizeof *values);
    if (!model_config_has(config, key)) return;
    if (!model_config_float_list(config, key, CHANNELS, given, &count, &error)) {
        fail(weights, &error);
        return;
    }
    bool valid = count == CHANNELS;
    for (int c = 0; c < count; c++) {
        valid = valid && (!positive || given[c] > 0);
        values[c] = (float)given[c];
    }
    if (valid) return;
    model_config_unsupported(config, key, positive ? "3 positive numbers" : "3 numbers", &error);
    fail(weights, &error);
}

static bool read_switch(const ModelConfig *config, const char *key, Weights *weights) {
    Error error;
    bool value = true;
    if (!model_config_bool_or(config, key, true, &value, &error)) fail(weights, &error);
    return value;
}

static void require_switch(const ModelConfig *config, const char *key, Weights *weights) {
    Error error;
    if (read_switch(config, key, weights)) return;
    model_config_unsupported(config, key, "true, as every picture is treated here", &error);
    fail(weights, &error);
}

/// What u is multiplied by before the mean is taken off.
static double read_factor(const ModelConfig *config, Weights *weights) {
    Error error;
    double factor = 1.0 / LARGEST_PIXEL;
    if (!read_switch(config, "do_rescale", weights)) return LARGEST_PIXEL;
    if (!model_config_float_or(config, "rescale_factor", factor, &factor, &error)) {
        fail(weights, &error);
    } else if (!(factor > 0 && factor <= 1)) {
        model_config_unsupported(config, "rescale_factor", "a number above 0, at most 1", &error);
        fail(weights, &error);
    }
    return factor * LARGEST_PIXEL;
}

static void require_resampling(const ModelConfig *config, Weights *weights) {
    Error error;
    int64_t kind = BICUBIC;
    if (!model_config_int_or(config, "resample", BICUBIC, &kind, &error)) {
        fail(weights, &error);
    } else if (kind != BICUBIC) {
        model_config_unsupported(config, "resample", "3, bicubic", &error);
        fail(weights, &error);
    }
}

/// transformers' file.
static void read_processor(ClipVision *clip, const ModelConfig *config, Weights *weights) {
    require_switch(config, "do_resize", weights);
    require_switch(config, "do_center_crop", weights);
    require_switch(config, "do_convert_rgb", weights);
    require_resampling(config, weights);
    const bool normalizes = read_switch(config, "do_normalize", weights);
    const double factor = read_factor(config, weights);
    for (int c = 0; c < CHANNELS && !weights_failed(weights); c++) {
        clip->image_mean[c] = (float)((normalizes ? clip->image_mean[c] : 0.0) / factor);
        clip->image_std[c] = (float)((normalizes ? clip->image_std[c] : 1.0) / factor);
    }
}

static void require_text(const ModelConfig *config, const char *key, const char *expected,
                         Weights *weights) {
    Error error;
    const char *value = expected;
    if (model_config_string_or(config, key, expected, &value, &error) && !strcmp(value, expected))
        return;
    model_config_unsupported(config, key, expected, &error);
    fail(weights, &error);
}

void clip_pixels_configure(ClipVision *clip, Weights *weights) {
    static const float mean[CHANNELS] = {0.48145466f, 0.4578275f, 0.40821073f};
    static const float std[CHANNELS] = {0.26862954f, 0.26130258f, 0.27577711f};
    ModelDirectory *directory = weights_directory(weights);
    char *path = format_string("%s/preprocessor_config.json", model_directory_path(directory));
    Error error;
    const bool is_beside = access(path, F_OK) == 0,
               is_inside = !is_beside && open_clip_configured(weights);
    ModelConfig *beside = is_beside ? model_config_open(path, &error) : model_config_empty(path);
    if (!beside) {
        fail(weights, &error);
    } else if (is_inside) {
        const ModelConfig *config = model_directory_config(directory);
        read_channels(config, "preprocess_cfg.mean", mean, false, clip->image_mean, weights);
        read_channels(config, "preprocess_cfg.std", std, true, clip->image_std, weights);
        require_text(config, "preprocess_cfg.interpolation", "bicubic", weights);
        require_text(config, "preprocess_cfg.resize_mode", "shortest", weights);
    } else {
        read_channels(beside, "image_mean", mean, false, clip->image_mean, weights);
        read_channels(beside, "image_std", std, true, clip->image_std, weights);
        read_processor(clip, beside, weights);
    }
    model_config_close(beside);
    free(path);
}
