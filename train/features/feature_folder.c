#include "train/features/feature_folder.h"

#include "autograd/fnv.h"
#include "autograd/text/utf8.h"
#include "data/archive/archive_path.h"
#include "train/evaluation/described_files.h"
#include "train/group/replicas.h"
#include "train/version.h"

#include <dirent.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

struct FeatureFolder {
    char *path;
    FeatureShape shape;
    /// The part of every key that is not about pictures.
    json_t *made_of;
    bool must_keep, cannot_write;
    int damaged;
    Error first_damage;
};

// ---- the key

/// A network by its weights and by what says how they are put together.
static bool put_network(json_t *made_of, const char *key, const char *path, Error *error) {
    char *config = format_string("%s/config.json", path),
         *config_key = format_string("%s/config.json", key);
    json_t *weights = describe_content(path, error);
    bool ok = weights && json_object_set_new(made_of, key, weights) == 0;
    if (ok && access(config, F_OK) == 0) { // OpenCLIP's has another name and tells of the weights
        json_t *description = describe_content(config, error);
        ok = description && json_object_set_new(made_of, config_key, description) == 0;
    }
    free(config);
    free(config_key);
    return ok;
}

static bool put_networks(json_t *made_of, const Config *config, const DiffLMM *model,
                         Error *error) {
    if (!put_network(made_of, "clip", config->model.vision_tower, error)) return false;
    if (!model->vae) return true;
    char *vae = format_string("%s/vae", config->model.sd);
    bool ok = put_network(made_of, "vae", vae, error);
    free(vae);
    return ok;
}

static json_t *describe_making(const Config *config, const DiffLMM *model, Error *error) {
    const KernelsName kernels = replicas_kernels_name(model->device);
    json_t *made_of = json_pack(
        "{s:s, s:s, s:s, s:i, s:i, s:I}", "program", DIFFLMM_VERSION, "kernels", kernels.text,
        "dtype", model->options.dtype == FLOAT32 ? "float32" : "bfloat16", "image_aspect_ratio",
        (int)config->data.image_aspect_ratio, "image_normalization",
        (int)config->data.image_normalization, "image_size", (json_int_t)config->data.image_size);
    if (put_networks(made_of, config, model, error)) return made_of;
    json_decref(made_of);
    return NULL;
}

PictureContent feature_folder_picture(const Sample *sample) {
    ByteBuffer bytes = {0};
    Error unreadable;
    PictureContent content = {"none"};
    const void *data = sample->packed_image.bytes;
    size_t size = (size_t)sample->packed_image.size;
    if (!data && archive_path_read(sample->image_path, SIZE_MAX, &bytes, &unreadable)) {
        data = bytes.data ? bytes.data : "";
        size = bytes.size;
    }
    if (data)
        snprintf(content.text, sizeof content.text, "%016llx of %zu",
                 (unsigned long long)fnv1a_words(data, size), size);
    byte_buffer_free(&bytes);
    return content;
}

char *feature_folder_key(const FeatureFolder *folder, const PictureContent *pictures, int count) {
    json_t *whole = json_copy(folder->made_of), *list = json_array();
    for (int i = 0; i < count; i++) json_array_append_new(list, json_string(pictures[i].text));
    json_object_set_new(whole, "pictures", list);
    char *text = json_dumps(whole, JSON_COMPACT | JSON_SORT_KEYS);
    json_decref(whole);
    return text;
}

static char *path_of(const FeatureFolder *folder, const char *key) {
    return format_string("%s/features-%016llx.h5", folder->path,
                         (unsigned long long)fnv1a_words(key, strlen(key)));
}

// ---- opening

/// Of writes that a kill cut short. What another run is writing now is younger.
static void remove_remains(const char *folder) {
    enum { OLD_SECONDS = 3600 };
    DIR *directory = opendir(folder);
    for (struct dirent *entry; directory && (entry = readdir(directory));) {
        const char *ending = strstr(entry->d_name, ".h5.");
        struct stat status;
        if (strncmp(entry->d_name, "features-", 9) != 0 || !ending) continue;
        if (fstatat(dirfd(directory), entry->d_name, &status, AT_SYMLINK_NOFOLLOW) == 0 &&
            time(NULL) - status.st_mtime > OLD_SECONDS)
            unlinkat(dirfd(directory), entry->d_name, 0);
    }
    if (directory) closedir(directory);
}

bool feature_folder_make(const Config *config, OutputFolder *made, Error *error) {
    const char *path = config->data.feature_folder;
    Error reason;
    return !path || output_folder_make(made, path, &reason) ||
           config_refuse(config, "data.feature_folder", error, "%s", reason.message);
}

FeatureFolder *feature_folder_open(const Config *config, const DiffLMM *model, bool must_keep,
                                   Error *error) {
    const char *path = config->data.feature_folder;
    json_t *made_of = describe_making(config, model, error);
    if (!made_of) return NULL;
    remove_remains(path);
    FeatureFolder *folder = checked_calloc(1, sizeof *folder);
    folder->path = checked_strdup(path);
    folder->shape = feature_shape(model);
    folder->made_of = made_of;
    folder->must_keep = must_keep;
    return folder;
}

void feature_folder_close(FeatureFolder *folder) {
    if (!folder) return;
    json_decref(folder->made_of);
    free(folder->path);
    free(folder);
}

// ---- blocks

bool feature_folder_find(FeatureFolder *folder, const char *key, int count, bool is_checked,
                         FeatureBlock *block) {
    char *path = path_of(folder, key);
    bool is_it = false;
    Error error = {0};
    if (access(path, F_OK) == 0) {
        const bool ok =
            feature_file_find(path, &folder->shape, key, count, is_checked, block, &is_it, &error);
        if (!ok && !folder->damaged++) folder->first_damage = error;
    }
    free(path);
    return is_it;
}

bool feature_folder_keep(FeatureFolder *folder, const char *key, int count, FeatureBlock *block,
                         Error *error) {
    Error reason;
    FeatureBlock kept = {0};
    if (folder->cannot_write) return true;
    char *path = path_of(folder, key);
    folder->cannot_write = !feature_file_write(path, &folder->shape, key, count, block, &reason);
    free(path);
    if (folder->cannot_write && folder->must_keep)
        return error_set(error, "data.feature_folder: features cannot be kept: %s", reason.message);
    if (folder->cannot_write)
        utf8_print(stderr,
                   "warning: data.feature_folder: features cannot be kept there from now on, and "
                   "training goes on: %s\n",
                   reason.message);
    else if (feature_folder_find(folder, key, count, false, &kept)) {
        feature_block_free(block);
        *block = kept;
    }
    return true;
}

void feature_folder_warn(FeatureFolder *folder) {
    if (folder->damaged)
        utf8_print(stderr,
                   "warning: data.feature_folder: %d file(s) are damaged and their features are "
                   "computed anew; the first: %s\n",
                   folder->damaged, folder->first_damage.message);
    folder->damaged = 0;
}

int64_t feature_folder_bytes(const FeatureShape *shape, int64_t images) {
    enum { FILE_OVERHEAD = 8 << 10 }; // HDF5's structures and the key
    return images * (int64_t)(feature_clip_bytes(shape) + feature_moments_bytes(shape)) +
           (images + FEATURE_BLOCK - 1) / FEATURE_BLOCK * FILE_OVERHEAD;
}
