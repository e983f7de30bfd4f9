/// Tensors recorded by tests/parity/record_language.py, and how near to them is near enough.
///
/// A test that includes this file includes nothing else of cmocka's.
#pragma once
#include "autograd/parameters.h"
#include "checkpoints/safetensors.h"
#include "tests/unit/op_cases.h"

#define RECORDED_FOLDER SOURCE_DIR "/tests/parity/data/"

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"

static SafetensorsFile *recorded_open(const char *path) {
    Error error;
    SafetensorsFile *file = safetensors_open(path, &error);
    if (!file) fail_msg("%s", error.message);
    return file;
}

/// The entry of that name (printf style), or NULL.
__attribute__((format(printf, 2, 3))) static const StoredTensor *recorded_find(
    const SafetensorsFile *file, const char *format, ...) {
    char name[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(name, sizeof name, format, arguments);
    va_end(arguments);
    return safetensors_find(file, name);
}

/// Its values; the caller frees.
static float *recorded_floats(const StoredTensor *entry) {
    assert_non_null(entry);
    float *values = checked_malloc((size_t)entry->numel * sizeof *values);
    stored_tensor_read_float32(entry, 0, entry->numel, values);
    return values;
}

static int *recorded_ints(const StoredTensor *entry) {
    assert_non_null(entry);
    assert_int_equal(entry->type, ELEMENT_I32);
    int *values = checked_malloc((size_t)entry->numel * sizeof *values);
    memcpy(values, entry->data, entry->bytes);
    return values;
}

/// A tensor of the innermost scope with its values.
static Tensor *recorded_tensor(const StoredTensor *entry, Device *device) {
    float *values = recorded_floats(entry);
    Tensor *x = tensor_from_host(device, FLOAT32, entry->rank, entry->shape, values);
    free(values);
    return x;
}

static Tensor *recorded_indices(const StoredTensor *entry, Device *device) {
    int *values = recorded_ints(entry);
    Tensor *x = tensor_from_host(device, INT32, entry->rank, entry->shape, values);
    free(values);
    return x;
}

/// Every operation rounds to 2^-24 of its result, sums of K terms to about sqrt(K) 2^-24 of their
/// size, and along `depth` operations such errors add up, in both programs. Relative to the largest
/// value of the tensor.
static double float32_tolerance(double sum_length, double depth) {
    return 2.0 * 0x1p-24 * sqrt(sum_length) * depth;
}

/// The largest deviation, relative to the largest expected value; fails above the tolerance. NaN
/// fails.
static double assert_floats_near(const char *what, const float *got, const float *expected,
                                 int64_t count, double tolerance) {
    double largest = 0.0, worst = 0.0;
    for (int64_t i = 0; i < count; i++) {
        double deviation = fabs((double)got[i] - expected[i]);
        largest = fmax(largest, fabs((double)expected[i]));
        if (!(deviation <= worst)) worst = deviation;
    }
    if (!(worst <= tolerance * largest))
        fail_msg("%s: deviates by %g of at most %g, more than %g of it", what, worst, largest,
                 tolerance);
    return largest > 0.0 ? worst / largest : 0.0;
}

static double assert_near_recorded(const char *what, const Tensor *got,
                                   const StoredTensor *expected, double tolerance) {
    if (!expected) fail_msg("%s: nothing is recorded", what);
    if (!got) fail_msg("%s: there is none", what);
    assert_int_equal(tensor_numel(got), expected->numel);
    float *a = checked_malloc((size_t)expected->numel * sizeof *a), *b = recorded_floats(expected);
    tensor_to_host_float(got, a);
    double worst = assert_floats_near(what, a, b, expected->numel, tolerance);
    free(a);
    free(b);
    return worst;
}

/// Gives every parameter its recorded value "<prefix><name>".
static void set_recorded_parameters(ParameterSet *set, const SafetensorsFile *file,
                                    const char *prefix) {
    for (int i = 0; i < set->count; i++) {
        Parameter *parameter = &set->items[i];
        const StoredTensor *entry = recorded_find(file, "%s%s", prefix, parameter->name);
        if (!entry) fail_msg("%s%s is not recorded", prefix, parameter->name);
        assert_int_equal(entry->rank, parameter->value->rank);
        for (int k = 0; k < entry->rank; k++)
            assert_int_equal(entry->shape[k], parameter->value->shape[k]);
        float *values = recorded_floats(entry);
        tensor_fill_from_float(parameter->value, values);
        free(values);
    }
}

/// How many tensors are recorded under a prefix.
static int count_recorded(const SafetensorsFile *file, const char *prefix) {
    int count = 0;
    for (int64_t i = 0; i < safetensors_count(file); i++)
        count += !strncmp(safetensors_entry(file, i)->name, prefix, strlen(prefix));
    return count;
}

#pragma GCC diagnostic pop
