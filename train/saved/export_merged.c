// Tensors of the language model go from its mapped files to the new ones a few megabytes at a time;
// those that LoRA changes are changed on the way.
#include "train/saved/export.h"

#include "autograd/output/output_file.h"
#include "autograd/stop_request.h"
#include "checkpoints/model_directory.h"
#include "ops/kernels.h"
#include "ops/ops.h"
#include "train/log/progress.h"

#include <fcntl.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/// Elements that are in memory at a time.
static const int64_t PIECE = 1 << 22;
static const int64_t MEGABYTE = 1000000;

typedef struct Merge {
    const ExportSource *source;
    const char *folder;
    ModelDirectory *base;
    Device *device;
    Progress *progress;
    int64_t written;
    json_t *weight_map;
} Merge;

// ---- one tensor

/// The parameter "base_model.model.<module>.lora_<letter>.weight" for the weight "<module>.weight",
/// or NULL.
static const Tensor *lora_matrix(const Merge *merge, const char *weight, char letter) {
    static const char ending[] = ".weight";
    size_t length = strlen(weight);
    if (length < sizeof ending || strcmp(weight + length - (sizeof ending - 1), ending) != 0)
        return NULL;
    char *name = format_string("base_model.model.%.*s.lora_%c.weight",
                               (int)(length - (sizeof ending - 1)), weight, letter);
    const Parameter *parameter = parameters_find(&merge->source->parameters, name);
    free(name);
    return parameter ? parameter->value : NULL;
}

/// Round to nearest even; what is too large becomes infinite.
static uint16_t float_to_half(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    uint32_t sign = (bits >> 16) & 0x8000u;
    bits &= 0x7fffffffu;
    if (bits > 0x7f800000u) return (uint16_t)(sign | 0x7e00u);
    if (bits >= 0x477ff000u) return (uint16_t)(sign | 0x7c00u);
    if (bits < 0x38800000u) // a multiple of 2^-24
        return (uint16_t)(sign | (uint32_t)lrintf(fabsf(value) * 0x1p24f));
    bits += 0xfffu + ((bits >> 13) & 1u);
    return (uint16_t)(sign | ((bits - 0x38000000u) >> 13));
}

/// The values in that type, in place.
static void round_values(float *values, int64_t count, ElementType type) {
    uint16_t *out = (uint16_t *)(void *)values;
    for (int64_t i = 0; type != ELEMENT_F32 && i < count; i++) {
        float value = values[i];
        uint16_t rounded = type == ELEMENT_BF16 ? float_to_bfloat16(value) : float_to_half(value);
        memcpy(out + i, &rounded, sizeof rounded);
    }
}

/// Pages of a mapped file that were read leave this process.
static void forget(const void *data, size_t bytes) {
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), start = (uintptr_t)data,
              end = (start + bytes) & ~(page - 1);
    start = (start + page - 1) & ~(page - 1);
    if (end > start) madvise((void *)start, end - start, MADV_DONTNEED);
}

static void count_written(Merge *merge, size_t bytes) {
    merge->written += (int64_t)bytes;
    progress_update(merge->progress, merge->written / MEGABYTE, "MB");
}

static bool copy_tensor(Merge *merge, const StoredTensor *stored, OutputFile *file, Error *error) {
    size_t size = element_size(stored->type);
    char *piece = checked_malloc((size_t)PIECE * size);
    bool written = true;
    for (int64_t first = 0, count; written && first < stored->numel; first += count) {
        count = stored->numel - first < PIECE ? stored->numel - first : PIECE;
        stored_tensor_read(stored, first, count, piece);
        written = output_write(file, piece, (size_t)count * size, error);
        count_written(merge, (size_t)count * size);
    }
    free(piece);
    if (stored->data) forget(stored->data, stored->bytes);
    return written;
}

/// A [r, in] as [in, r]: what linear() multiplies rows of B with.
static Tensor *transposed(Device *device, const Tensor *a) {
    int64_t r = a->shape[0], in = a->shape[1];
    float *values = checked_malloc((size_t)(2 * r * in) * sizeof *values), *out = values + r * in;
    tensor_to_host_float(a, values);
    for (int64_t k = 0; k < r; k++)
        for (int64_t i = 0; i < in; i++) out[i * r + k] = values[k * in + i];
    Tensor *x = tensor_from_host(device, FLOAT32, SHAPE(in, r), out);
    free(values);
    return x;
}

/// values [rows, in] += scale * B[first .. first + rows] A.
static void add_update(const Merge *merge, const float *b, Tensor *a, int64_t rows, float *values) {
    int64_t in = a->shape[0], r = a->shape[1];
    float factor = lora_scale(&merge->source->lora);
    scope_begin();
    Tensor *update = linear(tensor_from_host(merge->device, FLOAT32, SHAPE(rows, r), b), a, NULL);
    float *delta = checked_malloc((size_t)(rows * in) * sizeof *delta);
    tensor_to_host_float(update, delta);
    for (int64_t i = 0; i < rows * in; i++) values[i] += factor * delta[i];
    free(delta);
    scope_end();
}

static bool write_merged_tensor(Merge *merge, const StoredTensor *stored, const Tensor *a,
                                const Tensor *b, OutputFile *file, Error *error) {
    int64_t out = stored->shape[0], in = stored->shape[1], r = a->shape[0];
    int64_t most = PIECE / in > 0 ? PIECE / in : 1;
    float *values = checked_malloc((size_t)(most * in) * sizeof *values),
          *rows_of_b = checked_malloc((size_t)(out * r) * sizeof *rows_of_b);
    tensor_to_host_float(b, rows_of_b);
    bool written = true;
    scope_begin();
    Tensor *a_transposed = transposed(merge->device, a);
    for (int64_t first = 0, rows; written && first < out; first += rows) {
        rows = out - first < most ? out - first : most;
        stored_tensor_read_float32(stored, first * in, rows * in, values);
        add_update(merge, rows_of_b + first * r, a_transposed, rows, values);
        round_values(values, rows * in, stored->type);
        size_t bytes = (size_t)(rows * in) * element_size(stored->type);
        written = output_write(file, values, bytes, error);
        count_written(merge, bytes);
    }
    scope_end();
    free(values);
    free(rows_of_b);
    if (stored->data) forget(stored->data, stored->bytes);
    return written;
}

static bool write_tensor(void *context, const SafetensorsTensor *tensor, OutputFile *file,
                         Error *error) {
    Merge *merge = context;
    if (stop_requested()) return stop_request_error(error);
    const StoredTensor *stored = model_directory_find(merge->base, tensor->name);
    const Tensor *a = lora_matrix(merge, tensor->name, 'A'),
                 *b = lora_matrix(merge, tensor->name, 'B');
    return a && b ? write_merged_tensor(merge, stored, a, b, file, error)
                  : copy_tensor(merge, stored, file, error);
}

// ---- does the adapter belong to the model?

static bool check_weight(const Merge *merge, const StoredTensor *stored, Error *error) {
    const Tensor *a = lora_matrix(merge, stored->name, 'A'),
                 *b = lora_matrix(merge, stored->name, 'B');
    if (!a && !b) return true;
    bool fits = a && b && stored->rank == 2 && a->rank == 2 && b->rank == 2 &&
                a->shape[0] == merge->source->lora.r && b->shape[1] == merge->source->lora.r &&
                a->shape[1] == stored->shape[1] && b->shape[0] == stored->shape[0];
    char shape[128];
    if (!fits)
        return error_set(error, "%s: '%s' %s does not fit its LoRA matrices of rank %d",
                         model_directory_path(merge->base), stored->name,
                         shape_text(stored->rank, stored->shape, shape, sizeof shape),
                         merge->source->lora.r);
    bool known =
        stored->type == ELEMENT_F32 || stored->type == ELEMENT_BF16 || stored->type == ELEMENT_F16;
    return known ||
           error_set(error, "%s: '%s' is %s; LoRA merges into F32, BF16 and F16",
                     model_directory_path(merge->base), stored->name, element_name(stored->type));
}

/// Every pair of LoRA matrices must find its weight, and every weight that has one must fit.
static bool check_model(const Merge *merge, Error *error) {
    int pairs = 0, used = 0;
    for (int i = 0; i < merge->source->parameters.count; i++)
        pairs += strstr(merge->source->parameters.items[i].name, ".lora_A.") != NULL;
    for (int64_t i = 0; i < model_directory_count(merge->base); i++) {
        const StoredTensor *stored = model_directory_entry(merge->base, i);
        if (!check_weight(merge, stored, error)) return false;
        used += lora_matrix(merge, stored->name, 'A') != NULL;
    }
    return pairs == used ||
           error_set(error,
                     "%s has the weights of %d of the %d modules that LoRA changes; it belongs to "
                     "another model",
                     model_directory_path(merge->base), used, pairs);
}

// ---- the files

static const SafetensorsMetadata metadata[] = {{"format", "pt"}};

/// Where the shard that begins with tensor `first` ends.
static int64_t end_of_shard(const ModelDirectory *base, int64_t first, int64_t shard_bytes) {
    int64_t bytes = 0, count = model_directory_count(base), i = first;
    for (; i < count; i++) {
        bytes += (int64_t)model_directory_entry(base, i)->bytes;
        if (bytes > shard_bytes && i > first) break;
    }
    return i;
}

static int count_shards(const ModelDirectory *base, int64_t shard_bytes) {
    int shards = 0;
    for (int64_t i = 0; i < model_directory_count(base); shards++)
        i = end_of_shard(base, i, shard_bytes);
    return shards;
}

static bool write_shard(Merge *merge, const char *name, int64_t first, int64_t end, Error *error) {
    SafetensorsTensor *tensors = checked_calloc((size_t)(end - first) + 1, sizeof *tensors);
    for (int64_t i = first; i < end; i++) {
        const StoredTensor *stored = model_directory_entry(merge->base, i);
        tensors[i - first] =
            (SafetensorsTensor){stored->name, stored->type, stored->rank, stored->shape, NULL};
        json_object_set_new(merge->weight_map, stored->name, json_string(name));
    }
    char *path = format_string("%s/%s", merge->folder, name);
    bool written =
        safetensors_write_from(path, tensors, end - first, metadata, 1, write_tensor, merge, error);
    free(path);
    free(tensors);
    return written;
}

static bool write_index(const Merge *merge, Error *error) {
    json_t *index = json_pack("{s:{s:I}, s:O}", "metadata", "total_size",
                              (json_int_t)merge->written, "weight_map", merge->weight_map);
    char *text = json_dumps(index, JSON_INDENT(2) | JSON_SORT_KEYS),
         *path = format_string("%s/model.safetensors.index.json", merge->folder);
    bool written = output_whole_file(path, text, strlen(text), error);
    free(path);
    free(text);
    json_decref(index);
    return written;
}

static bool write_shards(Merge *merge, int64_t shard_bytes, Error *error) {
    int shards = count_shards(merge->base, shard_bytes);
    int64_t first = 0;
    bool written = true;
    for (int s = 0; written && s < shards; s++) {
        int64_t end = end_of_shard(merge->base, first, shard_bytes);
        char *name = shards == 1 ? checked_strdup("model.safetensors")
                                 : format_string("model-%05d-of-%05d.safetensors", s + 1, shards);
        written = write_shard(merge, name, first, end, error);
        free(name);
        first = end;
    }
    return written && (shards == 1 || write_index(merge, error));
}

static bool copy_file(const char *from, const char *to, Error *error) {
    enum { BLOCK = 1 << 20 };
    int descriptor = open(from, O_RDONLY | O_CLOEXEC);
    if (descriptor < 0) return error_set(error, "%s: cannot be read: %m", from);
    OutputFile *file = output_create(to, error);
    char *block = checked_malloc(BLOCK);
    bool copied = file != NULL;
    for (ssize_t count = 1; copied && count > 0;) {
        count = read(descriptor, block, BLOCK);
        if (count < 0) copied = error_set(error, "%s: cannot be read: %m", from);
        if (count > 0) copied = output_write(file, block, (size_t)count, error);
    }
    close(descriptor);
    free(block);
    if (copied) return output_commit(file, error);
    output_abandon(file);
    return false;
}

/// Whatever the model has of a tokenizer.
static bool copy_companions(const Merge *merge, Error *error) {
    static const char *const names[] = {
        "generation_config.json",  "tokenizer.model",   "tokenizer.json", "tokenizer_config.json",
        "special_tokens_map.json", "added_tokens.json", "vocab.json",     "merges.txt",
        "chat_template.jinja"};
    bool copied = true;
    for (size_t i = 0; copied && i < sizeof names / sizeof *names; i++) {
        char *from = format_string("%s/%s", model_directory_path(merge->base), names[i]),
             *to = format_string("%s/%s", merge->folder, names[i]);
        if (access(from, F_OK) == 0) copied = copy_file(from, to, error);
        free(from);
        free(to);
    }
    return copied;
}

bool export_merged(const ExportSource *source, const char *folder, PublishedFormat format,
                   int64_t shard_bytes, Error *error) {
    if (!source->has_lora)
        return error_set(
            error, "there is no LoRA to be merged; without --merge the adapters are exported");
    Merge merge = {.source = source,
                   .folder = folder,
                   .base = model_directory_open(source->config->model.llm, error)};
    if (!merge.base) return false;
    int64_t total = 0;
    for (int64_t i = 0; i < model_directory_count(merge.base); i++)
        total += (int64_t)model_directory_entry(merge.base, i)->bytes;
    merge.device = ops_cpu_open((int)source->config->training.threads);
    merge.weight_map = json_object();
    merge.progress = progress_begin(stderr, "merging", 0, total / MEGABYTE, 500);
    bool written = check_model(&merge, error) && write_shards(&merge, shard_bytes, error) &&
                   export_config(source, true, folder, error) && copy_companions(&merge, error) &&
                   published_adapters_write(folder, &source->parameters, false, format, error);
    progress_end(merge.progress);
    json_decref(merge.weight_map);
    model_directory_close(merge.base);
    return written;
}
