#include "models/llava_config.h"

#include "checkpoints/model_config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FEATURE_LAYER = -2 };

static bool check_integer(const ModelConfig *config, const char *key, int expected, Error *error) {
    int64_t value;
    if (!model_config_int_or(config, key, expected, &value, error)) return false;
    if (value == expected) return true;
    char text[64];
    snprintf(text, sizeof text, "%d, as this model's vision tower", expected);
    return model_config_unsupported(config, key, text, error);
}

static bool check_text(const ModelConfig *config, const char *key, const char *expected,
                       Error *error) {
    const char *value;
    if (!model_config_string_or(config, key, expected, &value, error)) return false;
    return !strcmp(value, expected) || model_config_unsupported(config, key, expected, error);
}

static bool check(const ModelConfig *config, int clip_width, Error *error) {
    bool marked; // tokens around the image
    if (!model_config_bool_or(config, "mm_use_im_start_end", false, &marked, error)) return false;
    if (marked) return model_config_unsupported(config, "mm_use_im_start_end", "false", error);
    if (model_config_has(config, "mm_resampler_type"))
        return model_config_unsupported(config, "mm_resampler_type", "null", error);
    return check_integer(config, "mm_vision_select_layer", FEATURE_LAYER, error) &&
           check_text(config, "mm_vision_select_feature", "patch", error) &&
           check_text(config, "mm_projector_type", "mlp2x_gelu", error) &&
           check_integer(config, "mm_hidden_size", clip_width, error);
}

bool llava_config_check(const char *directory, int clip_width, Error *error) {
    char *path = format_string("%s/config.json", directory);
    bool valid = true;
    if (access(path, F_OK) == 0) {
        ModelConfig *config = model_config_open(path, error);
        valid = config && check(config, clip_width, error);
        model_config_close(config);
    }
    free(path);
    return valid;
}
