#include "train/saved/trained_normalization.h"

#include "autograd/text/utf8.h"
#include "checkpoints/model_config.h"
#include "checkpoints/published_adapters.h"
#include "train/config/config_schema.h"
#include "train/saved/training_checkpoint.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char KEY[] = "data.image_normalization", PUBLISHED_KEY[] = "image_normalization";

static const char *name_of(ImageNormalization value) {
    return CONFIG_FIELDS[config_find_key(KEY)].names[value];
}

static bool read_checkpoint(const char *path, TrainedNormalization *trained, Error *error) {
    char *yaml = training_checkpoint_config(path, error);
    if (!yaml) return false;
    Error of_another_version;
    Config *config = config_load_text(yaml, path, NULL, 0, &of_another_version);
    if (config) *trained = (TrainedNormalization){true, config->data.image_normalization};
    config_free(config);
    free(yaml);
    return true;
}

/// "<folder>/config.json", the folder being that of the adapters; the caller frees it.
static char *config_beside(const char *path) {
    struct stat status;
    if (stat(path, &status) == 0 && S_ISDIR(status.st_mode))
        return format_string("%s/config.json", path);
    const char *slash = strrchr(path, '/');
    return format_string("%.*sconfig.json", slash ? (int)(slash + 1 - path) : 0, path);
}

static bool parse(const ModelConfig *config, TrainedNormalization *trained, Error *error) {
    const char *name, *const *names = CONFIG_FIELDS[config_find_key(KEY)].names;
    if (!model_config_has(config, PUBLISHED_KEY)) return true;
    if (!model_config_string(config, PUBLISHED_KEY, &name, error)) return false;
    for (int i = 0; names[i] && !trained->is_known; i++)
        if (!strcmp(name, names[i])) *trained = (TrainedNormalization){true, (ImageNormalization)i};
    return trained->is_known ||
           model_config_unsupported(config, PUBLISHED_KEY, "half or clip_twice", error);
}

static bool read_published(const char *path, TrainedNormalization *trained, Error *error) {
    char *beside = config_beside(path);
    bool is_there = access(beside, F_OK) == 0;
    ModelConfig *config = is_there ? model_config_open(beside, error) : NULL;
    bool ok = !is_there || (config && parse(config, trained, error));
    model_config_close(config);
    free(beside);
    return ok;
}

bool trained_normalization_read(const char *path, TrainedNormalization *trained, Error *error) {
    *trained = (TrainedNormalization){0};
    return published_adapters_at(path) ? read_published(path, trained, error)
                                       : read_checkpoint(path, trained, error);
}

bool trained_normalization_check(const Config *config, const char *path, FILE *warnings,
                                 Error *error) {
    TrainedNormalization trained;
    const ImageNormalization now = config->data.image_normalization;
    if (config->model.architecture == ADAPTERS_LLAVA) return true;
    if (!trained_normalization_read(path, &trained, error)) return false;
    if (trained.is_known)
        return trained.value == now ||
               config_refuse(config, KEY, error,
                             "%s, but %s was trained with %s and sees no other pictures right; "
                             "set %s: %s",
                             name_of(now), path, name_of(trained.value), KEY,
                             name_of(trained.value));
    if (warnings && config->origins[config_find_key(KEY)].kind == ORIGIN_DEFAULT)
        utf8_print(warnings,
                   "warning: %s does not say how the pictures were normalised that it was trained "
                   "on, and %s is not set: %s is taken; adapters that DiffLMM's published code "
                   "trained need %s\n",
                   path, KEY, name_of(now), name_of(IMAGE_NORMALIZATION_CLIP_TWICE));
    return true;
}
