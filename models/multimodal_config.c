#include "models/multimodal_config.h"

#include <string.h>

void refuse_whole_model(Weights *weights, const char *wanted, const char *const *parts) {
    const char *type = weights_string_or(weights, "model_type", "multimodal model");
    if (!strncmp(type, "clip", strlen("clip"))) return;
    for (; *parts; parts++)
        if (weights_has_object(weights, *parts))
            weights_fail(
                weights,
                "key '%s' is that of a whole '%s', of which %s alone is wanted: a folder "
                "with what it describes as config.json, and the weights of that part under "
                "their own names (its save_pretrained() in transformers writes one)",
                *parts, quote(type).text, wanted);
}
