// On the processor large matrices of the type wanted stay where they are, in the mapped files:
// loading costs nothing, processes share them, and the system may drop and read again what it needs
// room for. All else is copied out of the files once, piece by piece, converted and permuted on the
// way: whatever a network's size, the host holds a few pieces of it beside what lives in the
// device's own tensors.
#include "models/weights.h"

#include "autograd/stop_request.h"
#include "ops/kernels.h"

#include <fnmatch.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { NAME_BYTES = 512 };
/// Elements that are read at a time: some megabytes.
static const int64_t PIECE = 1 << 20;

/// Host memory that one piece after the other uses: fresh pages for each would cost more than what
/// is done in them.
typedef struct Workspace {
    void *bytes;
    size_t size;
} Workspace;

/// The first few of many names, as a text.
enum { NAMES_SHOWN = 10 };
typedef struct NameList {
    char text[1200];
    int count;
} NameList;

static void add_name(NameList *list, const char *name) {
    size_t used = strlen(list->text);
    if (list->count++ < NAMES_SHOWN)
        snprintf(list->text + used, sizeof list->text - used, "%s%.110s", used ? ", " : "", name);
}

/// Says how many there are beside those shown.
static const char *finished_list(NameList *list) {
    size_t used = strlen(list->text);
    if (list->count > NAMES_SHOWN)
        snprintf(list->text + used, sizeof list->text - used, " and %d more",
                 list->count - NAMES_SHOWN);
    return list->text;
}

struct Weights {
    ModelDirectory *directory;
    Device *device;
    DType dtype, matrix_dtype;
    const char *section;
    char prefix[NAME_BYTES];
    Workspace converted, permuted;
    bool failed;
    Error failure;
    /// patterns of names
    char left[WEIGHTS_MAX_LEFT][80];
    int left_count;
    NameList missing;
    Error first_missing;
};

static WeightsWarning *hear_warning;

void weights_on_warning(WeightsWarning *warning) { hear_warning = warning; }

Weights *weights_open(const char *path, Device *device, DType dtype, Error *error) {
    CHECK(dtype == FLOAT32 || dtype == BFLOAT16, "weights_open: type %s", dtype_name(dtype));
    ModelDirectory *directory = model_directory_open(path, error);
    if (!directory) return NULL;
    Weights *weights = checked_calloc(1, sizeof *weights);
    weights->directory = directory;
    weights->device = device;
    weights->dtype = weights->matrix_dtype = dtype;
    weights->section = "";
    return weights;
}

ModelDirectory *weights_directory(Weights *weights) { return weights->directory; }

bool weights_failed(const Weights *weights) { return weights->failed || weights->missing.count; }

static void fail(Weights *weights, bool asked, const char *format, va_list arguments) {
    if (weights->failed) return;
    weights->failed = true;
    vsnprintf(weights->failure.message, sizeof weights->failure.message, format, arguments);
    weights->failure.is_configuration = asked;
    error_context(&weights->failure, "%s", model_directory_path(weights->directory));
}

void weights_fail(Weights *weights, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fail(weights, false, format, arguments);
    va_end(arguments);
}

void weights_fail_asked(Weights *weights, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fail(weights, true, format, arguments);
    va_end(arguments);
}

void weights_leave(Weights *weights, const char *pattern, ...) {
    CHECK(weights->left_count < WEIGHTS_MAX_LEFT, "weights_leave: more than %d patterns",
          WEIGHTS_MAX_LEFT);
    char *left = weights->left[weights->left_count++];
    va_list arguments;
    va_start(arguments, pattern);
    vsnprintf(left, sizeof weights->left[0], pattern, arguments);
    va_end(arguments);
}

void weights_warn(const Weights *weights, const char *format, ...) {
    Error message = {0};
    va_list arguments;
    if (!hear_warning) return;
    va_start(arguments, format);
    vsnprintf(message.message, sizeof message.message, format, arguments);
    va_end(arguments);
    error_context(&message, "%s", model_directory_path(weights->directory));
    hear_warning(message.message);
}

static bool is_left(const Weights *weights, const char *name) {
    for (int i = 0; i < weights->left_count; i++)
        if (fnmatch(weights->left[i], name, 0) == 0) return true;
    return false;
}

static void warn_about_unused(const Weights *weights) {
    NameList unused = {0};
    int64_t cursor = 0;
    for (const StoredTensor *stored;
         (stored = model_directory_next_unused(weights->directory, &cursor));)
        if (!is_left(weights, stored->name)) add_name(&unused, stored->name);
    if (unused.count)
        weights_warn(weights, "%d tensor%s not used: %s", unused.count,
                     unused.count == 1 ? " is" : "s are", finished_list(&unused));
}

static void describe_missing(Weights *weights, Error *error) {
    NameList *missing = &weights->missing;
    const char *nearest = strstr(weights->first_missing.message, "The nearest names");
    if (missing->count == 1)
        error_set(error, "%s", weights->first_missing.message);
    else
        error_set(error, "%s: %d tensors are missing: %s. Of the first: %s",
                  model_directory_path(weights->directory), missing->count, finished_list(missing),
                  nearest ? nearest : "");
}

bool weights_finish(Weights *weights, Error *error) {
    bool complete = !weights_failed(weights);
    if (weights->missing.count)
        describe_missing(weights, error);
    else if (!weights->failed)
        warn_about_unused(weights);
    else if (error)
        *error = weights->failure;
    model_directory_close(weights->directory);
    free(weights->converted.bytes);
    free(weights->permuted.bytes);
    free(weights);
    return complete;
}

// ---- config.json

static const ModelConfig *configuration(const Weights *weights) {
    return model_directory_config(weights->directory);
}

typedef struct Key {
    char path[NAME_BYTES];
} Key;

/// "vision_config.hidden_size"
static Key full_key(const Weights *weights, const char *key) {
    Key full;
    snprintf(full.path, sizeof full.path, "%s%s%s", weights->section, *weights->section ? "." : "",
             key);
    return full;
}

void weights_section(Weights *weights, const char *section) { weights->section = section; }

bool weights_has_key(const Weights *weights, const char *key) {
    return model_config_has(configuration(weights), full_key(weights, key).path);
}

bool weights_has_object(const Weights *weights, const char *key) {
    return model_config_has_object(configuration(weights), full_key(weights, key).path);
}

void weights_refuse(Weights *weights, const char *key, const char *expected) {
    if (weights->failed) return;
    weights->failed = true;
    model_config_unsupported(configuration(weights), full_key(weights, key).path, expected,
                             &weights->failure);
}

static void refuse_range(Weights *weights, const char *key, int minimum, int maximum) {
    char expected[96];
    snprintf(expected, sizeof expected, "integers from %d to %d", minimum, maximum);
    weights_refuse(weights, key, expected);
}

int weights_int(Weights *weights, const char *key, int minimum, int maximum) {
    if (weights->failed) return minimum;
    int64_t value;
    Key full = full_key(weights, key);
    weights->failed =
        !model_config_int(configuration(weights), full.path, &value, &weights->failure);
    if (weights->failed) return minimum;
    if (value >= minimum && value <= maximum) return (int)value;
    refuse_range(weights, key, minimum, maximum);
    return minimum;
}

int weights_int_or(Weights *weights, const char *key, int fallback, int minimum, int maximum) {
    if (!weights->failed && !weights_has_key(weights, key)) return fallback;
    return weights_int(weights, key, minimum, maximum);
}

double weights_float_or(Weights *weights, const char *key, double fallback) {
    if (weights->failed) return fallback;
    double value = fallback;
    Key full = full_key(weights, key);
    weights->failed = !model_config_float_or(configuration(weights), full.path, fallback, &value,
                                             &weights->failure);
    return value;
}

bool weights_bool_or(Weights *weights, const char *key, bool fallback) {
    if (weights->failed) return fallback;
    bool value = fallback;
    Key full = full_key(weights, key);
    weights->failed = !model_config_bool_or(configuration(weights), full.path, fallback, &value,
                                            &weights->failure);
    return value;
}

const char *weights_string_or(Weights *weights, const char *key, const char *fallback) {
    if (weights->failed) return fallback;
    const char *value = fallback;
    Key full = full_key(weights, key);
    weights->failed = !model_config_string_or(configuration(weights), full.path, fallback, &value,
                                              &weights->failure);
    return value;
}

int weights_int_list(Weights *weights, const char *key, int capacity, int *values, int minimum,
                     int maximum) {
    enum { MAX_LIST = 256 };
    CHECK(capacity <= MAX_LIST, "weights_int_list: capacity %d", capacity);
    if (weights->failed) return 0;
    int64_t wide[MAX_LIST];
    int count = 0;
    Key full = full_key(weights, key);
    weights->failed = !model_config_int_list(configuration(weights), full.path, capacity, wide,
                                             &count, &weights->failure);
    if (weights->failed) return 0;
    bool valid = count > 0;
    for (int i = 0; i < count; i++) {
        valid = valid && wide[i] >= minimum && wide[i] <= maximum;
        values[i] = (int)wide[i];
    }
    if (!valid) refuse_range(weights, key, minimum, maximum);
    return valid ? count : 0;
}

int weights_string_list(Weights *weights, const char *key, int capacity, const char **values) {
    if (weights->failed) return 0;
    int count = 0;
    Key full = full_key(weights, key);
    weights->failed = !model_config_string_list(configuration(weights), full.path, capacity, values,
                                                &count, &weights->failure);
    if (weights->failed) return 0;
    if (count == 0) weights_refuse(weights, key, "a list that is not empty");
    return count;
}

// ---- tensors

void weights_prefix(Weights *weights, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(weights->prefix, sizeof weights->prefix, format, arguments);
    va_end(arguments);
}

static Key full_name(const Weights *weights, const char *name) {
    Key full;
    int length = snprintf(full.path, sizeof full.path, "%s%s", weights->prefix, name);
    CHECK(length < NAME_BYTES, "tensor name '%s%s' is too long", weights->prefix, name);
    return full;
}

static const StoredTensor *find(const Weights *weights, const char *name) {
    return model_directory_find(weights->directory, full_name(weights, name).path);
}

bool weights_have(const Weights *weights, const char *name) { return find(weights, name) != NULL; }

/// The pages of elements that were read leave this process; the mapping would read them from the
/// file again.
static void forget(const StoredTensor *stored, int64_t first, int64_t count) {
    if (!stored->data) return;
    size_t size = element_size(stored->type);
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE),
              start = (uintptr_t)stored->data + (size_t)first * size,
              end = start + (size_t)count * size;
    start = (start + page - 1) & ~(page - 1);
    end &= ~(page - 1);
    if (end > start) madvise((void *)start, end - start, MADV_DONTNEED);
}

bool weights_are_equal(const Weights *weights, const char *name, const char *other) {
    const StoredTensor *a = find(weights, name), *b = find(weights, other);
    if (!a || !b || a->rank != b->rank || memcmp(a->shape, b->shape, (size_t)a->rank * 8))
        return false;
    float *values = checked_malloc(2 * (size_t)PIECE * sizeof *values);
    bool equal = true;
    for (int64_t first = 0; equal && first < a->numel; first += PIECE) {
        const int64_t left = a->numel - first, count = left < PIECE ? left : PIECE;
        stored_tensor_read_float32(a, first, count, values);
        stored_tensor_read_float32(b, first, count, values + PIECE);
        equal = !memcmp(values, values + PIECE, (size_t)count * sizeof *values);
        forget(a, first, count);
        forget(b, first, count);
    }
    free(values);
    return equal;
}

static void stop(Weights *weights) {
    if (weights->failed) return;
    weights->failed = true;
    stop_request_error(&weights->failure);
    error_context(&weights->failure, "%s", model_directory_path(weights->directory));
}

/// The stored tensor of that shape; NULL, and a failure remembered, if there is none. Once one is
/// missing nothing is read any more, but the others are still looked for.
static const StoredTensor *expect(Weights *weights, const char *name, int rank,
                                  const int64_t *shape) {
    if (stop_requested()) stop(weights);
    if (weights->failed) return NULL;
    const StoredTensor *entry = NULL;
    Key full = full_name(weights, name);
    bool is_there = model_directory_find(weights->directory, full.path) != NULL;
    bool fits = false;
    if (is_there || !weights->missing.count) // looking for the nearest names takes time
        fits = model_directory_tensor(weights->directory, full.path, rank, shape, &entry,
                                      is_there ? &weights->failure : &weights->first_missing);
    if (!is_there) add_name(&weights->missing, full.path);
    weights->failed = is_there && !fits;
    return weights_failed(weights) ? NULL : entry;
}

/// [out, in, area] to [out, area, in], in elements of `size` bytes.
static void permute(const char *from, char *to, int64_t out, int64_t in, int64_t area,
                    size_t size) {
    for (int64_t o = 0; o < out; o++)
        for (int64_t i = 0; i < in; i++)
            for (int64_t a = 0; a < area; a++)
                memcpy(to + (size_t)((o * area + a) * in + i) * size,
                       from + (size_t)((o * in + i) * area + a) * size, size);
}

/// At least `size` bytes, content undefined.
static void *reserve(Workspace *workspace, size_t size) {
    if (workspace->size >= size) return workspace->bytes;
    free(workspace->bytes);
    workspace->bytes = checked_malloc(size);
    workspace->size = size;
    return workspace->bytes;
}

static bool stored_as(const StoredTensor *entry, DType dtype) {
    return entry->type == (dtype == FLOAT32 ? ELEMENT_F32 : ELEMENT_BF16);
}

/// Elements [first, first + count) in dtype on the host: the mapped file itself where they lie
/// there like that, otherwise until the next call.
static const void *elements(Weights *weights, const StoredTensor *stored, int64_t first,
                            int64_t count, DType dtype) {
    if (stored->data && stored_as(stored, dtype))
        return (const char *)stored->data + (size_t)first * element_size(stored->type);
    void *values = reserve(&weights->converted, (size_t)count * dtype_size(dtype) + 1);
    if (dtype == FLOAT32)
        stored_tensor_read_float32(stored, first, count, values);
    else
        stored_tensor_read_bfloat16(stored, first, count, values);
    return values;
}

static void close_directory(void *directory) { model_directory_close(directory); }

/// Whether a tensor of the device can be the mapped file's own memory: `numel` elements from
/// `begin` on, large enough that the place in the middle of a file (no more than its type's
/// alignment) and a page of its own do not matter.
static bool stays_mapped(const Weights *weights, const StoredTensor *entry, int64_t numel,
                         DType dtype) {
    return weights->device->shares_host_memory && entry->data && entry->aligned &&
           stored_as(entry, dtype) && numel >= PIECE;
}

/// Rows of the stored matrix from element `begin` on, in FLOAT8.
static Tensor *quantize_from(Weights *weights, const StoredTensor *entry, int64_t begin,
                             int64_t rows, int64_t columns) {
    Device *device = weights->device;
    // of the types that it is rounded from, the one that holds what is stored
    DType type = entry->type == ELEMENT_BF16 ? BFLOAT16 : FLOAT32;
    Tensor *y = tensor_new_persistent(device, FLOAT8, SHAPE(rows, columns), entry->name);
    if (device->counts_only) return y;
    int64_t piece = columns < PIECE ? PIECE / (columns ? columns : 1) : 1;
    for (int64_t row = 0, count; row < rows; row += count) {
        count = rows - row < piece ? rows - row : piece;
        int64_t first = row * columns;
        const void *values = elements(weights, entry, begin + first, count * columns, type);
        scope_begin();
        Tensor *x = tensor_from_host(device, type, SHAPE(count, columns), values);
        kernels(x)->quantize_rows(x, tensor_slice(y, first, SHAPE(count, columns)));
        scope_end();
        forget(entry, begin + first, count * columns);
    }
    return y;
}

/// The stored tensor [out, in, area] from element `begin` on as one of the device of that shape,
/// permuted to [out, area, in].
static Tensor *upload_from(Weights *weights, const StoredTensor *entry, int64_t begin, DType dtype,
                           int64_t in, int64_t area, int rank, const int64_t *shape) {
    Device *device = weights->device;
    size_t size = dtype_size(dtype);
    int64_t numel = 1;
    for (int i = 0; i < rank; i++) numel *= shape[i];
    if (area == 1 && stays_mapped(weights, entry, numel, dtype))
        return tensor_over_part(device, dtype, rank, shape,
                                (const char *)entry->data + (size_t)begin * size, entry->name,
                                model_directory_retain(weights->directory), close_directory);
    Tensor *x = tensor_new_persistent(device, dtype, rank, shape, entry->name);
    if (device->counts_only) return x;
    int64_t whole = area > 1 ? in * area : 1; // what a piece must not cut
    int64_t piece = whole > PIECE ? whole : PIECE - PIECE % (whole ? whole : 1);
    for (int64_t first = 0, count; first < numel; first += count) {
        count = numel - first < piece ? numel - first : piece;
        const void *values = elements(weights, entry, begin + first, count, dtype);
        if (area > 1) {
            void *permuted = reserve(&weights->permuted, (size_t)count * size);
            permute(values, permuted, count / whole, in, area, size);
            values = permuted;
        }
        device->from_host(device, (char *)x->data + (size_t)first * size, values,
                          (size_t)count * size);
        forget(entry, begin + first, count);
    }
    return x;
}

static Tensor *upload(Weights *weights, const StoredTensor *entry, DType dtype, int64_t in,
                      int64_t area, int rank, const int64_t *shape) {
    return upload_from(weights, entry, 0, dtype, in, area, rank, shape);
}

void weights_matrix_type(Weights *weights, DType dtype) {
    CHECK(dtype == weights->dtype || dtype == FLOAT8, "weights_matrix_type: %s", dtype_name(dtype));
    weights->matrix_dtype = dtype;
}

/// Rows of the stored matrix from element `begin` on.
static Tensor *matrix_from(Weights *weights, const StoredTensor *entry, int64_t begin, int64_t rows,
                           int64_t columns) {
    return weights->matrix_dtype == FLOAT8 ? quantize_from(weights, entry, begin, rows, columns)
                                           : upload_from(weights, entry, begin, weights->dtype,
                                                         columns, 1, SHAPE(rows, columns));
}

Tensor *weights_matrix(Weights *weights, const char *name, int64_t rows, int64_t columns) {
    if (weights->failed) return NULL;
    int64_t shape[] = {rows, columns, 1, 1};
    const StoredTensor *stored = find(weights, name);
    int rank = stored && stored->rank == 4 ? 4 : 2;
    const StoredTensor *entry = expect(weights, name, rank, shape);
    return entry ? matrix_from(weights, entry, 0, rows, columns) : NULL;
}

Tensor *weights_vector(Weights *weights, const char *name, int64_t length) {
    const StoredTensor *entry = expect(weights, name, SHAPE(length));
    return entry ? upload(weights, entry, FLOAT32, length, 1, SHAPE(length)) : NULL;
}

Tensor *weights_array(Weights *weights, const char *name, DType dtype, int rank,
                      const int64_t *shape) {
    const StoredTensor *entry = expect(weights, name, rank, shape);
    return entry ? upload(weights, entry, dtype, 1, 1, rank, shape) : NULL;
}

const int64_t *weights_shape(Weights *weights, const char *name, int rank) {
    static const int64_t any[MAX_RANK] = {-1, -1, -1, -1};
    const StoredTensor *entry = expect(weights, name, rank, any);
    return entry ? entry->shape : NULL;
}

Tensor *weights_matrix_part(Weights *weights, const char *name, int part, int parts, int64_t rows,
                            int64_t columns) {
    const StoredTensor *entry = expect(weights, name, SHAPE(parts * rows, columns));
    return entry ? matrix_from(weights, entry, part * rows * columns, rows, columns) : NULL;
}

Tensor *weights_vector_part(Weights *weights, const char *name, int part, int parts,
                            int64_t length) {
    const StoredTensor *entry = expect(weights, name, SHAPE(parts * length));
    return entry ? upload_from(weights, entry, part * length, FLOAT32, length, 1, SHAPE(length))
                 : NULL;
}

Tensor *weights_conv(Weights *weights, const char *name, int64_t out, int64_t in, int64_t height,
                     int64_t width) {
    const StoredTensor *entry = expect(weights, name, SHAPE(out, in, height, width));
    return entry ? upload(weights, entry, weights->dtype, in, height * width,
                          SHAPE(out, height, width, in))
                 : NULL;
}
