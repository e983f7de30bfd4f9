#include "checkpoints/published_adapters.h"

#include "autograd/output/output_file.h"
#include "checkpoints/first_file.h"
#include "checkpoints/projector_width.h"
#include "checkpoints/safetensors.h"
#include "checkpoints/torch/torch_archive_write.h"
#include "checkpoints/weight_file.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MOST_FILES = 2 };

typedef struct Entry {
    const StoredTensor *stored;
    /// the parameter's: the end of the stored one
    const char *name;
} Entry;

struct PublishedAdapters {
    char *path;
    /// adapter_config.json, or NULL
    char *config;
    WeightFile *files[MOST_FILES];
    int file_count;
    /// by name
    Entry *entries;
    int count;
};

// ---- finding the files

static const char *const endings[] = {".safetensors", ".bin", ".pt", ".pth"};
static const char *const adapter_files[] = {"non_lora_trainables.safetensors",
                                            "non_lora_trainables.bin", "mm_projector.safetensors",
                                            "mm_projector.bin"};
static const char *const lora_files[] = {"adapter_model.safetensors", "adapter_model.bin"};

static bool is_folder(const char *path) {
    struct stat status;
    return stat(path, &status) == 0 && S_ISDIR(status.st_mode);
}

static bool ends_with(const char *text, const char *ending) {
    size_t length = strlen(text), size = strlen(ending);
    return length >= size && !strcmp(text + length - size, ending);
}

bool published_adapters_at(const char *path) {
    if (is_folder(path)) {
        char *found = first_file_in(path, FILE_NAMES(adapter_files));
        if (!found) found = first_file_in(path, FILE_NAMES(lora_files));
        free(found);
        return found != NULL;
    }
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++)
        if (ends_with(path, endings[i])) return true;
    return false;
}

// ---- opening

static const char *without_prefix(const char *name, const char *prefix) {
    size_t length = strlen(prefix);
    return strncmp(name, prefix, length) == 0 ? name + length : name;
}

/// The parameter's name of a stored one.
static const char *parameter_name(const char *stored) {
    const char *name = without_prefix(without_prefix(stored, "base_model.model."), "model.");
    return strncmp(name, "mm_projector.", 13) == 0 ? name : stored;
}

static int compare_entries(const void *a, const void *b) {
    return strcmp(((const Entry *)a)->name, ((const Entry *)b)->name);
}

static bool open_file(PublishedAdapters *adapters, const char *path, Error *error) {
    WeightFile *file = weight_file_open(path, error);
    if (!file) return false;
    adapters->files[adapters->file_count++] = file;
    int64_t count = weight_file_count(file);
    adapters->entries = checked_realloc(
        adapters->entries, ((size_t)adapters->count + (size_t)count + 1) * sizeof(Entry));
    for (int64_t i = 0; i < count; i++) {
        const StoredTensor *stored = weight_file_tensor(file, i);
        adapters->entries[adapters->count++] = (Entry){stored, parameter_name(stored->name)};
    }
    return true;
}

static bool open_folder(PublishedAdapters *adapters, Error *error) {
    const char *folder = adapters->path;
    char *trained = first_file_in(folder, FILE_NAMES(adapter_files)),
         *lora = first_file_in(folder, FILE_NAMES(lora_files));
    bool opened = trained || error_set(error,
                                       "%s: neither non_lora_trainables nor mm_projector (.bin or "
                                       ".safetensors) is there, only a LoRA adapter",
                                       folder);
    adapters->config = lora ? format_string("%s/adapter_config.json", folder) : NULL;
    if (opened && lora && access(adapters->config, F_OK) != 0)
        opened =
            error_set(error, "%s: adapter_config.json is missing beside the LoRA adapter", folder);
    opened = opened && open_file(adapters, trained, error) &&
             (!lora || open_file(adapters, lora, error));
    free(trained);
    free(lora);
    return opened;
}

static bool check_names(const PublishedAdapters *adapters, Error *error) {
    for (int i = 1; i < adapters->count; i++) {
        const Entry *entry = &adapters->entries[i];
        if (strcmp(entry->name, entry[-1].name) == 0)
            return error_set(error, "%s: '%s' and '%s' are two tensors of one name, '%s'",
                             adapters->path, entry[-1].stored->name, entry->stored->name,
                             entry->name);
    }
    return true;
}

PublishedAdapters *published_adapters_open(const char *path, Error *error) {
    PublishedAdapters *adapters = checked_calloc(1, sizeof *adapters);
    adapters->path = checked_strdup(path);
    bool opened = is_folder(path) ? open_folder(adapters, error) : open_file(adapters, path, error);
    if (opened && adapters->count > 0)
        qsort(adapters->entries, (size_t)adapters->count, sizeof(Entry), compare_entries);
    if (opened && check_names(adapters, error)) return adapters;
    published_adapters_close(adapters);
    return NULL;
}

void published_adapters_close(PublishedAdapters *adapters) {
    if (!adapters) return;
    for (int i = 0; i < adapters->file_count; i++) weight_file_close(adapters->files[i]);
    free(adapters->entries);
    free(adapters->config);
    free(adapters->path);
    free(adapters);
}

const char *published_adapters_config(const PublishedAdapters *adapters) {
    return adapters->config;
}

int published_adapters_count(const PublishedAdapters *adapters) { return adapters->count; }

const StoredTensor *published_adapters_tensor(const PublishedAdapters *adapters, int index,
                                              const char **name) {
    CHECK(index >= 0 && index < adapters->count, "tensor %d of %d", index, adapters->count);
    *name = adapters->entries[index].name;
    return adapters->entries[index].stored;
}

// ---- reading

/// What is wrong in one way, as a list of names that may be cut short.
typedef struct Complaint {
    char text[500];
    size_t used;
    int omitted;
} Complaint;

static void complain(Complaint *complaint, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void complain(Complaint *complaint, const char *format, ...) {
    char item[320];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(item, sizeof item, format, arguments);
    va_end(arguments);
    size_t room = sizeof complaint->text - complaint->used, length = strlen(item) + 2;
    if (complaint->omitted > 0 || length >= room) {
        complaint->omitted++;
        return;
    }
    complaint->used += (size_t)snprintf(complaint->text + complaint->used, room, "%s%s",
                                        complaint->used ? ", " : "", item);
}

static void add_complaint(char *message, size_t size, const char *what,
                          const Complaint *complaint) {
    size_t used = strlen(message);
    if (!complaint->used && !complaint->omitted) return;
    used += (size_t)snprintf(message + used, size - used, "; %s: %s", what, complaint->text);
    if (complaint->omitted && used < size)
        snprintf(message + used, size - used, " and %d more", complaint->omitted);
}

static bool is_lora(const char *name) { return strstr(name, ".lora_") != NULL; }

static bool is_number(ElementType type) {
    return type == ELEMENT_F32 || type == ELEMENT_BF16 || type == ELEMENT_F16 ||
           type == ELEMENT_F64;
}

/// Whether a tensor without a parameter may be passed over.
static bool is_passed_over(const char *name, const ParameterSet *parameters, bool with_lora) {
    if (is_lora(name)) return !with_lora;
    bool captioner = strncmp(name, "mm_projector.clip_projector.", 28) == 0 ||
                     strcmp(name, "mm_projector.clip_pe") == 0;
    return captioner && parameters_find(parameters, "mm_projector.sd_norm_layer.weight") &&
           !parameters_find(parameters, "mm_projector.clip_projector.0.weight");
}

static const Entry *find(const PublishedAdapters *adapters, const char *name) {
    Entry key = {NULL, name};
    return adapters->count ? bsearch(&key, adapters->entries, (size_t)adapters->count,
                                     sizeof(Entry), compare_entries)
                           : NULL;
}

static bool matrix_of_entry(const void *source, const char *name, int64_t shape[2]) {
    const Entry *entry = find(source, name);
    if (!entry || entry->stored->rank != 2) return false;
    shape[0] = entry->stored->shape[0];
    shape[1] = entry->stored->shape[1];
    return true;
}

int64_t published_adapters_projector_width(const PublishedAdapters *adapters, bool is_llava) {
    ProjectorSizes sizes;
    return projector_sizes(matrix_of_entry, adapters, is_llava, &sizes) && sizes.width != sizes.out
               ? sizes.width
               : 0;
}

static bool same_shape_as(const StoredTensor *stored, const Tensor *x) {
    bool same = stored->rank == x->rank;
    for (int i = 0; same && i < x->rank; i++) same = stored->shape[i] == x->shape[i];
    return same;
}

typedef struct Complaints {
    Complaint missing, unknown, shapes, types;
} Complaints;

static void check_parameter(const PublishedAdapters *adapters, const Parameter *parameter,
                            Complaints *complaints) {
    const Entry *entry = find(adapters, parameter->name);
    if (!entry) {
        complain(&complaints->missing, "'%s'", parameter->name);
    } else if (!same_shape_as(entry->stored, parameter->value)) {
        char is[128], expected[128];
        const Tensor *x = parameter->value;
        complain(&complaints->shapes, "'%s' is %s, expected %s", entry->stored->name,
                 shape_text(entry->stored->rank, entry->stored->shape, is, sizeof is),
                 shape_text(x->rank, x->shape, expected, sizeof expected));
    } else if (!is_number(entry->stored->type)) {
        complain(&complaints->types, "'%s' is %s", entry->stored->name,
                 element_name(entry->stored->type));
    }
}

static bool check(const PublishedAdapters *adapters, const ParameterSet *parameters, bool with_lora,
                  Error *error) {
    Complaints complaints = {0};
    for (int i = 0; i < parameters->count; i++)
        if (with_lora || parameters->items[i].group != GROUP_LORA)
            check_parameter(adapters, &parameters->items[i], &complaints);
    for (int i = 0; i < adapters->count; i++) {
        const Entry *entry = &adapters->entries[i];
        bool wanted = parameters_find(parameters, entry->name) ||
                      is_passed_over(entry->name, parameters, with_lora);
        if (!wanted) complain(&complaints.unknown, "'%s'", entry->stored->name);
    }
    char message[1900] = "";
    add_complaint(message, sizeof message, "missing", &complaints.missing);
    add_complaint(message, sizeof message, "not of the configured model", &complaints.unknown);
    add_complaint(message, sizeof message, "of another shape", &complaints.shapes);
    add_complaint(message, sizeof message, "of a type that is no floating-point number",
                  &complaints.types);
    return !*message || error_set(error,
                                  "%s does not fit the configured model%s. Check model and lora "
                                  "in the configuration",
                                  adapters->path, message);
}

static void read_values(const StoredTensor *stored, Tensor *x) {
    float *values = checked_malloc((size_t)stored->numel * sizeof *values + 1);
    stored_tensor_read_float32(stored, 0, stored->numel, values);
    tensor_fill_from_float(x, values);
    free(values);
}

bool published_adapters_load(const PublishedAdapters *adapters, ParameterSet *parameters,
                             bool with_lora, Error *error) {
    if (!projector_width_check(matrix_of_entry, adapters, adapters->path, parameters, error) ||
        !check(adapters, parameters, with_lora, error))
        return false;
    for (int i = 0; i < parameters->count; i++) {
        const Parameter *parameter = &parameters->items[i];
        if (with_lora || parameter->group != GROUP_LORA)
            read_values(find(adapters, parameter->name)->stored, parameter->value);
    }
    return true;
}

// ---- writing

static const SafetensorsMetadata metadata[] = {{"format", "pt"}};

/// Values of the parameter that a tensor is named after.
static bool write_parameter(void *context, const SafetensorsTensor *tensor, OutputFile *file,
                            Error *error) {
    const ParameterSet *parameters = context;
    const char *name = parameter_name(tensor->name);
    const Tensor *x = parameters_find(parameters, name)->value;
    float *values = checked_malloc((size_t)tensor_numel(x) * sizeof *values + 1);
    tensor_to_host_float(x, values);
    bool written = output_write(file, values, (size_t)tensor_numel(x) * sizeof *values, error);
    free(values);
    return written;
}

/// The tensors of one group, names with `prefix`, without data; the caller frees names and list.
static SafetensorsTensor *describe(const ParameterSet *parameters, ParameterGroup group,
                                   const char *prefix, int *count) {
    SafetensorsTensor *tensors = checked_calloc((size_t)parameters->count + 1, sizeof *tensors);
    *count = 0;
    for (int i = 0; i < parameters->count; i++) {
        const Parameter *parameter = &parameters->items[i];
        if (parameter->group != group) continue;
        tensors[(*count)++] =
            (SafetensorsTensor){format_string("%s%s", prefix, parameter->name), ELEMENT_F32,
                                parameter->value->rank, parameter->value->shape, NULL};
    }
    return tensors;
}

static void free_tensors(SafetensorsTensor *tensors, int count) {
    for (int i = 0; i < count; i++) {
        free((void *)tensors[i].name);
        free((void *)tensors[i].data);
    }
    free(tensors);
}

static bool write_group(const char *path, const ParameterSet *parameters, ParameterGroup group,
                        const char *prefix, PublishedFormat format, Error *error) {
    int count;
    bool written;
    SafetensorsTensor *tensors = describe(parameters, group, prefix, &count);
    if (format == PUBLISHED_SAFETENSORS) {
        written = safetensors_write_from(path, tensors, count, metadata, 1, write_parameter,
                                         (void *)parameters, error);
    } else {
        for (int i = 0; i < count; i++) {
            const Tensor *x = parameters_find(parameters, parameter_name(tensors[i].name))->value;
            float *values = checked_malloc((size_t)tensor_numel(x) * sizeof *values + 1);
            tensor_to_host_float(x, values);
            tensors[i].data = values;
        }
        written = torch_archive_write(path, tensors, count, error);
    }
    free_tensors(tensors, count);
    return written;
}

static bool has_lora(const ParameterSet *parameters) {
    for (int i = 0; i < parameters->count; i++)
        if (parameters->items[i].group == GROUP_LORA) return true;
    return false;
}

bool published_adapters_write(const char *folder, const ParameterSet *parameters, bool with_lora,
                              PublishedFormat format, Error *error) {
    bool lora = with_lora && has_lora(parameters);
    char *adapters = format_string("%s/%s%s", folder, lora ? "non_lora_trainables" : "mm_projector",
                                   format == PUBLISHED_BIN ? ".bin" : ".safetensors"),
         *peft = format_string("%s/adapter_model.safetensors", folder);
    bool written =
        write_group(adapters, parameters, GROUP_ADAPTERS,
                    lora ? "base_model.model.model." : "model.", format, error) &&
        (!lora || write_group(peft, parameters, GROUP_LORA, "", PUBLISHED_SAFETENSORS, error));
    free(adapters);
    free(peft);
    return written;
}
