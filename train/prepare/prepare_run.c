#include "train/prepare/prepare.h"

#include "autograd/output/output_folder.h"
#include "autograd/text/utf8.h"
#include "models/clip/clip_vision.h"
#include "ops/kernels.h"
#include "train/config/config_schema.h"
#include "train/group/core_count.h"
#include "train/prepare/prepare_features.h"
#include "train/prepare/prepare_file.h"
#include "train/trainer/model_setup.h"
#include "train/trainer/training_check.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

/// How many tokens an image becomes.
static bool visual_tokens(const Config *config, int threads, int *tokens, Error *error) {
    ClipVision *clip =
        clip_vision_load(config->model.vision_tower, ops_cpu_open(threads), FLOAT32, error);
    if (!clip) return false;
    *tokens = clip->num_patches;
    clip_vision_free(clip);
    return training_check_image_fits(config, *tokens, error);
}

static int thread_count(const Config *config, const ProcessGroup *group) {
    return config->training.threads > 0
               ? (int)config->training.threads
               : cores_allowed(process_core_sharers(group), process_local_count(group));
}

/// The files of a key of the configuration.
typedef struct KeyFiles {
    const char *key, *infix;
    const DatasetFiles *files;
} KeyFiles;

enum { KEYS = 2 };

/// What a file becomes; NULL: it is a pack already. The caller frees it.
static char *pack_of(FilePreparation *file, const KeyFiles *of, int index) {
    const DatasetFile *source = &of->files->values[index];
    if (pack_is_at(source->path)) return NULL;
    file->path = source->path;
    file->infix = of->infix;
    file->preparing.image_folder = source->image_folder ? source->image_folder : ".";
    return prepare_pack_path(file);
}

/// No two files become the same pack.
static bool check_names(const KeyFiles *keys, FilePreparation *file, Error *error) {
    json_t *taken = json_object();
    bool ok = true;
    for (int k = 0; k < KEYS; k++)
        for (int i = 0; ok && i < keys[k].files->count; i++) {
            const char *path = keys[k].files->values[i].path;
            char *pack = pack_of(file, &keys[k], i), *name = pack ? utf8_escape(pack) : NULL;
            const char *other = name ? json_string_value(json_object_get(taken, name)) : NULL;
            if (other && strcmp(other, path))
                ok = error_set(error,
                               "%s and %s would both become %s; give one another name, or "
                               "prepare them apart",
                               other, path, pack);
            if (name) json_object_set_new(taken, name, json_string(path));
            free(pack);
            free(name);
        }
    json_decref(taken);
    return ok;
}

/// The files as packs; the caller frees them with free_packs().
static DatasetFiles packs_of(const KeyFiles *of, FilePreparation *file) {
    const int count = of->files->count;
    DatasetFiles packs = *of->files;
    packs.values = checked_calloc((size_t)count + 1, sizeof *packs.values);
    for (int i = 0; i < count; i++) {
        packs.values[i] = of->files->values[i];
        char *pack = pack_of(file, of, i);
        packs.values[i].path = pack ? pack : checked_strdup(packs.values[i].path);
    }
    return packs;
}

static void free_packs(DatasetFiles *packs) {
    for (int i = 0; i < packs->count; i++) free(packs->values[i].path);
    free(packs->values);
}

/// The setting that trains on the packs.
static void tell_setting(const KeyFiles *of, FilePreparation *file) {
    DatasetFiles packs = packs_of(of, file);
    char *value = config_format_files(&packs);
    utf8_print(stdout, "to be trained on: '%s=%s'\n", of->key, value);
    free_packs(&packs);
    free(value);
}

static bool prepare_files(const KeyFiles *of, FilePreparation *file, Error *error) {
    for (int i = 0; i < of->files->count; i++) {
        char *pack = pack_of(file, of, i);
        const bool ok = !pack || prepare_file(file, error);
        free(pack);
        if (!ok) return false;
    }
    if (of->files->count && process_rank(file->group) == 0) tell_setting(of, file);
    return true;
}

/// Of the packs, which have the samples that can be used.
static bool fill_feature_folder(const Config *config, const KeyFiles keys[KEYS],
                                FilePreparation *file, Error *error) {
    DatasetFiles packs[KEYS];
    for (int k = 0; k < KEYS; k++) packs[k] = packs_of(&keys[k], file);
    const bool ok = prepare_features(config, &packs[0], &packs[1], file->group, error);
    for (int k = 0; k < KEYS; k++) free_packs(&packs[k]);
    return ok;
}

bool prepare_run(const Config *config, const PrepareOptions *options, ProcessGroup *group,
                 Error *error) {
    FilePreparation file = {
        .options = options, .group = group, .threads = thread_count(config, group)};
    const KeyFiles keys[KEYS] = {{"data.train", "", &config->data.train},
                                 {"data.eval", ".eval", &config->data.eval}};
    OutputFolder folder = {0};
    Tokenizer *tokenizer = tokenizer_open(config->model.llm, error);
    int tokens = 0;
    bool ok = tokenizer && visual_tokens(config, file.threads, &tokens, error) &&
              (!options->folder || output_folder_make(&folder, options->folder, error));
    file.preparing = (Preparing){.tokenizer = tokenizer,
                                 .format = model_setup_format(config, tokens),
                                 .skips = config->data.missing_image == MISSING_IMAGE_SKIP,
                                 .with_images = options->with_images};
    ok = process_group_agree(group, ok && check_names(keys, &file, error), error);
    process_group_set_timeout(group, (double)config->training.distributed_timeout);
    for (int k = 0; k < KEYS; k++) ok = ok && prepare_files(&keys[k], &file, error);
    ok = ok && fill_feature_folder(config, keys, &file, error);
    output_folder_close(&folder, !ok);
    tokenizer_close(tokenizer);
    return ok;
}
