#include "train/report/inspection.h"
#include "autograd/crc32c.h"
#include "train/log/json_text.h"

#include "autograd/file_content.h"

#include "checkpoints/model_directory.h"
#include "checkpoints/torch/zip_directory.h"
#include "checkpoints/training_state.h"
#include "checkpoints/weight_file.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

// ---- tensors

static json_t *shape_of(int rank, const int64_t *shape) {
    json_t *sizes = json_array();
    for (int i = 0; i < rank; i++) json_array_append_new(sizes, json_integer(shape[i]));
    return sizes;
}

static json_t *checksum_text(uint32_t checksum) { return json_sprintf("%08x", checksum); }

static uint32_t checksum_of(const StoredTensor *tensor) {
    enum { PART = 1 << 16, LARGEST_ELEMENT = 8 };
    if (tensor->data) return crc32c(0, tensor->data, tensor->bytes);
    char *part = checked_malloc(PART * LARGEST_ELEMENT);
    uint32_t checksum = 0;
    for (int64_t first = 0; first < tensor->numel; first += PART) {
        int64_t count = tensor->numel - first < PART ? tensor->numel - first : PART;
        stored_tensor_read(tensor, first, count, part);
        checksum = crc32c(checksum, part, (size_t)count * element_size(tensor->type));
    }
    free(part);
    return checksum;
}

static void add_tensor(json_t *inspection, const char *name, const char *type, int rank,
                       const int64_t *shape, size_t bytes, const char *file,
                       const uint32_t *checksum) {
    json_t *tensor = json_pack("{s:o, s:s, s:o, s:I}", "name", json_text(name), "type", type,
                               "shape", shape_of(rank, shape), "bytes", (json_int_t)bytes);
    if (file) json_object_set_new(tensor, "file", json_text(file));
    if (checksum) json_object_set_new(tensor, "crc32c", checksum_text(*checksum));
    json_array_append_new(json_object_get(inspection, "tensors"), tensor);
}

static void add_weights(json_t *inspection, const WeightFile *file, const char *name,
                        bool checksums) {
    for (int64_t i = 0; i < weight_file_count(file); i++) {
        const StoredTensor *tensor = weight_file_tensor(file, i);
        uint32_t checksum = checksums ? checksum_of(tensor) : 0;
        add_tensor(inspection, tensor->name, element_name(tensor->type), tensor->rank,
                   tensor->shape, tensor->bytes, name, checksums ? &checksum : NULL);
    }
}

// ---- what is there beside tensors

static void add_metadata(json_t *inspection, const WeightFile *file) {
    json_t *metadata = json_object_get(inspection, "metadata");
    const SafetensorsFile *safetensors = weight_file_safetensors(file);
    const TorchArchive *archive = weight_file_torch_archive(file);
    const char *key, *value;
    for (int64_t i = 0; safetensors && (key = safetensors_metadata_key(safetensors, i, &value));
         i++)
        json_object_set_new(metadata, key, value ? json_string(value) : json_null());
    if (!archive) return;
    const PickleValue *root = torch_archive_root(archive);
    if (torch_archive_wrapper(archive))
        json_object_set_new(metadata, "tensors are in",
                            json_string(torch_archive_wrapper(archive)));
    for (uint32_t i = 0; root->kind == PICKLE_DICT && i < root->count; i++) {
        const PickleValue *item = root->items[2 * i + 1];
        const char *name = pickle_text(root->items[2 * i]);
        const char *wrapper = torch_archive_wrapper(archive);
        if (!name || torch_value_is_tensor(item) || (wrapper && !strcmp(wrapper, name))) continue;
        json_object_set_new(metadata, name, inspect_value(item));
    }
}

static const char *format_of(const WeightFile *file) {
    const TorchArchive *archive = weight_file_torch_archive(file);
    if (!archive) return "safetensors";
    return torch_archive_is_legacy(archive) ? "PyTorch archive (before 1.6)" : "PyTorch archive";
}

static bool verify(const WeightFile *file, Error *error) {
    const TorchArchive *archive = weight_file_torch_archive(file);
    return !archive || torch_archive_verify(archive, error);
}

// ---- formats

static void set_format(json_t *inspection, const char *format) {
    json_object_set_new(inspection, "format", json_string(format));
}

static bool inspect_weights(json_t *inspection, const char *path, bool checksums, Error *error) {
    WeightFile *file = weight_file_open(path, error);
    if (!file) return false;
    set_format(inspection, format_of(file));
    add_metadata(inspection, file);
    bool intact = !checksums || verify(file, error);
    if (intact) add_weights(inspection, file, NULL, checksums);
    weight_file_close(file);
    return intact;
}

static bool inspect_directory(json_t *inspection, const char *path, bool checksums, Error *error) {
    ModelDirectory *directory = model_directory_open(path, error);
    if (!directory) return false;
    set_format(inspection, "model directory");
    json_t *files = json_array();
    json_object_set_new(inspection, "files", files);
    bool intact = true;
    for (int i = 0; intact && i < model_directory_file_count(directory); i++) {
        const WeightFile *file = model_directory_file(directory, i);
        const char *name = strrchr(weight_file_path(file), '/') + 1;
        json_array_append_new(files, json_text(name));
        if (i == 0) add_metadata(inspection, file);
        intact = !checksums || verify(file, error);
        if (intact) add_weights(inspection, file, name, checksums);
    }
    static const char *const keys[] = {"model_type", "_class_name", "peft_type"};
    json_t *metadata = json_object_get(inspection, "metadata");
    const ModelConfig *config = model_directory_config(directory);
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const char *value;
        if (model_config_has(config, keys[i]) && model_config_string(config, keys[i], &value, NULL))
            json_object_set_new(metadata, keys[i], json_string(value));
    }
    model_directory_close(directory);
    return intact;
}

static bool inspect_pickle(json_t *inspection, const char *path, Error *error) {
    Pickle *pickle = pickle_open(path, error);
    if (!pickle) return false;
    set_format(inspection, "pickle");
    json_object_set_new(inspection, "value", inspect_value(pickle_root(pickle)));
    pickle_close(pickle);
    return true;
}

static bool inspect_array(json_t *inspection, const StateFile *file, const char *name,
                          bool checksums, Error *error) {
    static const struct {
        const char *name;
        size_t size;
    } types[] = {[STATE_FLOAT32] = {"F32", 4},
                 [STATE_INT64] = {"I64", 8},
                 [STATE_INT32] = {"I32", 4},
                 [STATE_BYTES] = {"U8", 1}};
    StateType type;
    int rank;
    int64_t shape[STATE_MAX_RANK];
    if (!state_describe_array(file, name, &type, &rank, shape, error)) return false;
    size_t bytes = types[type].size;
    for (int i = 0; i < rank; i++) bytes *= (size_t)shape[i];
    uint32_t checksum = 0;
    bool read = true;
    if (checksums) {
        void *values = checked_malloc(bytes + 1);
        read = state_read_array(file, name, type, rank, shape, values, error);
        if (read) checksum = crc32c(0, values, bytes);
        free(values);
    }
    if (read)
        add_tensor(inspection, name, types[type].name, rank, shape, bytes, NULL,
                   checksums ? &checksum : NULL);
    return read;
}

/// The attributes that training checkpoints have.
static void add_attributes(json_t *metadata, const StateFile *file) {
    static const char *const integers[] = {
        "position/step",         "position/position",  "position/tokens", "position/seed",
        "position/global_batch", "position/best_step", "optimizer/steps"};
    static const char *const texts[] = {"training/format", "position/best_figure"};
    // the second in older checkpoints
    static const char *const numbers[] = {"position/best_value", "position/best_loss"};
    int64_t integer;
    double number;
    char *text;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (state_has_attribute(file, texts[i]) &&
            state_read_attribute_string(file, texts[i], &text, NULL)) {
            json_object_set_new(metadata, texts[i], json_text(text));
            free(text);
        }
    for (size_t i = 0; i < sizeof integers / sizeof *integers; i++)
        if (state_has_attribute(file, integers[i]) &&
            state_read_attribute_int(file, integers[i], &integer, NULL))
            json_object_set_new(metadata, integers[i], json_integer(integer));
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (state_has_attribute(file, numbers[i]) &&
            state_read_attribute_double(file, numbers[i], &number, NULL))
            json_object_set_new(metadata, numbers[i], json_real(number));
}

static bool inspect_state(json_t *inspection, const char *path, bool checksums, Error *error) {
    StateFile *file = state_open(path, error);
    if (!file) return false;
    set_format(inspection, state_has_attribute(file, "pack_version") ? "pack of training data"
                                                                     : "training checkpoint");
    add_attributes(json_object_get(inspection, "metadata"), file);
    bool intact = true;
    for (int64_t i = 0; intact && i < state_array_count(file); i++)
        intact = inspect_array(inspection, file, state_array_name(file, i), checksums, error);
    state_close(file);
    return intact;
}

// ---- which format

static bool ends_in(const char *path, const char *const *suffixes) {
    const char *suffix = strrchr(path, '.');
    for (; suffix && *suffixes; suffixes++)
        if (strcmp(suffix, *suffixes) == 0) return true;
    return false;
}

static bool inspect_file(json_t *inspection, const char *path, bool checksums, Error *error) {
    static const char *const weights[] = {".safetensors", ".bin", ".pt", ".pth", NULL},
                             *const pickles[] = {".p", ".pkl", ".pickle", NULL};
    enum { HEADER_TEXT = 8 }; // where the JSON of safetensors begins
    unsigned char start[64] = {0};
    FILE *file = fopen(path, "rb");
    if (!file) return error_set(error, "%s: cannot be read: %s", path, strerror(errno));
    size_t size = fread(start, 1, sizeof start, file);
    fclose(file);
    if (!file_is_fetched(path, start, size, error)) return false;
    if (memcmp(start, "\x89HDF\r\n\x1a\n", 8) == 0)
        return inspect_state(inspection, path, checksums, error);
    if (ends_in(path, pickles)) return inspect_pickle(inspection, path, error);
    if (ends_in(path, weights) || zip_begins(start, size) || start[0] == 0x80 ||
        start[HEADER_TEXT] == '{')
        return inspect_weights(inspection, path, checksums, error);
    const char *content = file_content(start, size);
    return error_set(
        error,
        "%s: %s%snone of the formats that are read: safetensors, PyTorch archives (.bin, "
        ".pt, .pth), pickles (.p, .pkl, .pickle), training checkpoints (.h5), model "
        "directories",
        path, content ? content : "", content ? ", " : "");
}

static void add_total(json_t *inspection) {
    json_int_t bytes = 0, elements = 0;
    const json_t *tensors = json_object_get(inspection, "tensors");
    size_t index, place;
    json_t *tensor, *size;
    json_array_foreach(tensors, index, tensor) {
        json_int_t numel = 1;
        json_array_foreach(json_object_get(tensor, "shape"), place, size)
            numel *= json_integer_value(size);
        elements += numel;
        bytes += json_integer_value(json_object_get(tensor, "bytes"));
    }
    json_object_set_new(inspection, "total",
                        json_pack("{s:I, s:I, s:I}", "tensors",
                                  (json_int_t)json_array_size(tensors), "elements", elements,
                                  "bytes", bytes));
}

json_t *inspect_path(const char *path, bool checksums, Error *error) {
    struct stat status;
    json_t *inspection = json_pack("{s:o, s:n, s:{}, s:[]}", "path", json_text(path), "format",
                                   "metadata", "tensors");
    bool is_directory = stat(path, &status) == 0 && S_ISDIR(status.st_mode);
    bool read = is_directory ? inspect_directory(inspection, path, checksums, error)
                             : inspect_file(inspection, path, checksums, error);
    if (read) {
        add_total(inspection);
        return inspection;
    }
    json_decref(inspection);
    return NULL;
}
