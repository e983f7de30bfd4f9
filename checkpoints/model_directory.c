#include "checkpoints/model_directory.h"
#include "autograd/json_file.h"
#include "autograd/text/nearest_name.h"
#include "checkpoints/first_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

typedef struct Slot {
    const StoredTensor *entry;
    /// the index of the file that it is in
    int file;
    bool asked_for;
} Slot;

struct ModelDirectory {
    int owners;
    char *path;
    ModelConfig *config;
    WeightFile **files;
    int file_count;
    /// by name
    Slot *slots;
    int64_t count;
};

/// In this order; a name that ends in .json is an index of shards.
static const char *const weight_names[] = {
    "model.safetensors",
    "diffusion_pytorch_model.safetensors",
    "adapter_model.safetensors",
    "open_clip_model.safetensors",
    "model.safetensors.index.json",
    "diffusion_pytorch_model.safetensors.index.json",
    "model.fp16.safetensors",
    "diffusion_pytorch_model.fp16.safetensors",
    "model.safetensors.index.fp16.json",
    "diffusion_pytorch_model.safetensors.index.fp16.json",
    "pytorch_model.bin",
    "diffusion_pytorch_model.bin",
    "adapter_model.bin",
    "open_clip_pytorch_model.bin",
    "pytorch_model.bin.index.json",
    "diffusion_pytorch_model.bin.index.json",
    "pytorch_model.fp16.bin",
    "diffusion_pytorch_model.fp16.bin",
    "pytorch_model.bin.index.fp16.json",
    "mm_projector.bin",
    "non_lora_trainables.bin",
};

static const char *file_name(const char *path) { return strrchr(path, '/') + 1; }

static int compare_slots(const void *a, const void *b) {
    return strcmp(((const Slot *)a)->entry->name, ((const Slot *)b)->entry->name);
}

/// Opens a weight file and lists its tensors.
static bool add_file(ModelDirectory *directory, const char *path, Error *error) {
    WeightFile *file = weight_file_open(path, error);
    if (!file) return false;
    directory->files = checked_realloc(directory->files, (size_t)(directory->file_count + 1) *
                                                             sizeof *directory->files);
    directory->files[directory->file_count] = file;
    int64_t count = weight_file_count(file);
    directory->slots = checked_realloc(directory->slots, (size_t)(directory->count + count + 1) *
                                                             sizeof *directory->slots);
    for (int64_t i = 0; i < count; i++)
        directory->slots[directory->count++] =
            (Slot){.entry = weight_file_tensor(file, i), .file = directory->file_count};
    directory->file_count++;
    return true;
}

/// Sorts the slots by name. No two files may have a tensor of the same name: which one would count?
static bool sort_slots(ModelDirectory *directory, Error *error) {
    Slot *slots = directory->slots;
    qsort(slots, (size_t)directory->count, sizeof *slots, compare_slots);
    for (int64_t i = 1; i < directory->count; i++)
        if (compare_slots(&slots[i - 1], &slots[i]) == 0)
            return error_set(error, "%s: tensor '%s' is in two files, %s and %s", directory->path,
                             slots[i].entry->name,
                             file_name(weight_file_path(directory->files[slots[i - 1].file])),
                             file_name(weight_file_path(directory->files[slots[i].file])));
    return true;
}

/// The open shard of that file name, or NULL.
static WeightFile *shard_named(const ModelDirectory *directory, const char *name) {
    for (int i = 0; i < directory->file_count; i++)
        if (strcmp(file_name(weight_file_path(directory->files[i])), name) == 0)
            return directory->files[i];
    return NULL;
}

/// Takes note of an index's entry: opens its shard when it comes up for the first time, in which
/// the tensor must be.
static bool add_indexed(ModelDirectory *directory, const char *index_path, const char *name,
                        const json_t *value, Error *error) {
    const char *shard_name = json_string_value(value);
    // A published index names files beside itself; anything else would reach out of the directory.
    if (!shard_name || strchr(shard_name, '/') || shard_name[0] == '.' || !shard_name[0])
        return error_set(error, "%s: key 'weight_map.%s' does not name a file in this folder",
                         index_path, name);
    if (!shard_named(directory, shard_name)) {
        char *path = format_string("%s/%s", directory->path, shard_name);
        bool opened = add_file(directory, path, error);
        free(path);
        if (!opened)
            return error_context(error, "%s: tensor '%s' is in a file that cannot be used",
                                 index_path, name);
    }
    if (!weight_file_find(shard_named(directory, shard_name), name))
        return error_set(error,
                         "%s: tensor '%s' should be in %s, but is not there. Fetch the model "
                         "again",
                         index_path, name, shard_name);
    return true;
}

static bool open_sharded(ModelDirectory *directory, const char *index_path, Error *error) {
    json_t *index = json_file_read(index_path, JSON_REJECT_DUPLICATES, error);
    const json_t *map = json_object_get(index, "weight_map");
    bool opened = index != NULL;
    if (opened && !json_is_object(map)) {
        opened = error_set(
            error, "%s: key 'weight_map' must be an object of tensor names and files", index_path);
    } else if (opened) {
        const char *name;
        json_t *value;
        json_object_foreach((json_t *)map, name, value) {
            opened = add_indexed(directory, index_path, name, value, error);
            if (!opened) break;
        }
    }
    json_decref(index);
    return opened;
}

static bool no_weights(const char *path, Error *error) {
    return error_set(error,
                     "%s: no weights found: expected model.safetensors, "
                     "diffusion_pytorch_model.safetensors, pytorch_model.bin, or shards with their "
                     "model.safetensors.index.json or pytorch_model.bin.index.json",
                     path);
}

static bool open_weights(ModelDirectory *directory, Error *error) {
    static const char *const beside_adapter[] = {"non_lora_trainables.bin"};
    char *path = first_file_in(directory->path, FILE_NAMES(weight_names)), *more = NULL;
    if (!path) return no_weights(directory->path, error);
    size_t length = strlen(path);
    bool is_index = strcmp(path + length - strlen(".json"), ".json") == 0;
    bool opened =
        is_index ? open_sharded(directory, path, error) : add_file(directory, path, error);
    if (strncmp(file_name(path), "adapter_model.", strlen("adapter_model.")) == 0)
        more = first_file_in(directory->path, FILE_NAMES(beside_adapter));
    if (opened && more) opened = add_file(directory, more, error);
    free(path);
    free(more);
    return opened && (directory->count == 0 || sort_slots(directory, error));
}

/// A weight file of its own, whose tensors say all that is known.
static bool open_single(ModelDirectory *directory, Error *error) {
    directory->config = model_config_empty(directory->path);
    return add_file(directory, directory->path, error) &&
           (directory->count == 0 || sort_slots(directory, error));
}

static bool open_config(ModelDirectory *directory, Error *error) {
    static const char *const names[] = {"config.json", "adapter_config.json",
                                        "open_clip_config.json"};
    char *path = first_file_in(directory->path, FILE_NAMES(names));
    if (!path)
        return error_set(error,
                         "%s: config.json is missing: expected a model directory with "
                         "config.json and weights",
                         directory->path);
    directory->config = model_config_open(path, error);
    free(path);
    return directory->config != NULL;
}

ModelDirectory *model_directory_open(const char *path, Error *error) {
    ModelDirectory *directory = checked_calloc(1, sizeof *directory);
    directory->owners = 1;
    directory->path = checked_strdup(path);
    size_t length = strlen(path);
    while (length > 1 && directory->path[length - 1] == '/') directory->path[--length] = '\0';
    struct stat status;
    bool opened;
    if (stat(directory->path, &status) != 0)
        opened = error_set(error,
                           "%s: there is no such folder: expected a model directory with "
                           "config.json and weights",
                           directory->path);
    else if (S_ISDIR(status.st_mode))
        opened = open_config(directory, error) && open_weights(directory, error);
    else
        opened = open_single(directory, error);
    if (opened) return directory;
    model_directory_close(directory);
    return NULL;
}

void model_directory_close(ModelDirectory *directory) {
    if (!directory || --directory->owners) return;
    model_config_close(directory->config);
    for (int i = 0; i < directory->file_count; i++) weight_file_close(directory->files[i]);
    free(directory->files);
    free(directory->slots);
    free(directory->path);
    free(directory);
}

ModelDirectory *model_directory_retain(ModelDirectory *directory) {
    directory->owners++;
    return directory;
}

const char *model_directory_path(const ModelDirectory *directory) { return directory->path; }

const ModelConfig *model_directory_config(const ModelDirectory *directory) {
    return directory->config;
}

const StoredTensor *model_directory_find(ModelDirectory *directory, const char *name) {
    StoredTensor entry = {.name = name};
    Slot key = {.entry = &entry};
    if (!directory->count) return NULL;
    Slot *slot = bsearch(&key, directory->slots, (size_t)directory->count, sizeof *directory->slots,
                         compare_slots);
    if (!slot) return NULL;
    slot->asked_for = true;
    return slot->entry;
}

static bool missing_tensor(const ModelDirectory *directory, const char *name, Error *error) {
    enum { NEAREST = 3 };
    const char *nearest[NEAREST] = {NULL};
    int distance[NEAREST];
    for (int64_t i = 0; i < directory->count; i++) {
        const char *candidate = directory->slots[i].entry->name;
        int d = edit_distance(name, candidate), place = NEAREST;
        while (place > 0 && (!nearest[place - 1] || d < distance[place - 1])) place--;
        if (place == NEAREST) continue;
        for (int k = NEAREST - 1; k > place; k--) {
            nearest[k] = nearest[k - 1];
            distance[k] = distance[k - 1];
        }
        nearest[place] = candidate;
        distance[place] = d;
    }
    char names[800] = "(none)";
    size_t used = 0;
    for (int k = 0; k < NEAREST && nearest[k] && used < sizeof names; k++)
        used += (size_t)snprintf(names + used, sizeof names - used, k ? ", %.200s" : "%.200s",
                                 nearest[k]);
    return error_set(error, "%s: tensor '%s' is missing. The nearest names there are: %s",
                     directory->path, name, names);
}

bool model_directory_tensor(ModelDirectory *directory, const char *name, int rank,
                            const int64_t *shape, const StoredTensor **entry, Error *error) {
    const StoredTensor *found = model_directory_find(directory, name);
    if (!found) return missing_tensor(directory, name, error);
    bool fits = found->rank == rank;
    for (int i = 0; fits && i < rank; i++) fits = shape[i] == -1 || shape[i] == found->shape[i];
    if (!fits) {
        char is[256], expected[256];
        shape_text(found->rank, found->shape, is, sizeof is);
        shape_text(rank, shape, expected, sizeof expected);
        bool is_single = !strcmp(model_config_path(directory->config), directory->path);
        return is_single ? error_set(error, "%s: tensor '%s' has shape %s, where %s is needed",
                                     directory->path, name, is, expected)
                         : error_set(error,
                                     "%s: tensor '%s' has shape %s; the configuration (%s) asks "
                                     "for %s",
                                     directory->path, name, is,
                                     model_config_path(directory->config), expected);
    }
    *entry = found;
    return true;
}

int64_t model_directory_count(const ModelDirectory *directory) { return directory->count; }

const StoredTensor *model_directory_entry(const ModelDirectory *directory, int64_t index) {
    CHECK(index >= 0 && index < directory->count, "model_directory_entry: index %lld of %lld",
          (long long)index, (long long)directory->count);
    return directory->slots[index].entry;
}

const StoredTensor *model_directory_next_unused(const ModelDirectory *directory, int64_t *cursor) {
    while (*cursor < directory->count) {
        const Slot *slot = &directory->slots[(*cursor)++];
        if (!slot->asked_for) return slot->entry;
    }
    return NULL;
}

int model_directory_file_count(const ModelDirectory *directory) { return directory->file_count; }

const WeightFile *model_directory_file(const ModelDirectory *directory, int index) {
    CHECK(index >= 0 && index < directory->file_count, "model_directory_file: index %d of %d",
          index, directory->file_count);
    return directory->files[index];
}
