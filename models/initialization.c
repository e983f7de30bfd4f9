#include "models/initialization.h"

#include "autograd/fnv.h"
#include "autograd/philox.h"
#include "autograd/random.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/// A hash of the name, cut to the 48 bits that an index of a stream has.
static uint64_t name_index(const char *name) {
    uint64_t hash = fnv1a(name, strlen(name));
    return (hash ^ (hash >> 48)) & 0xffffffffffffull;
}

static RandomStream stream_of(const Tensor *x, uint64_t seed) {
    CHECK(x->name, "a parameter without a name cannot be initialised");
    return random_stream(seed, RANDOM_INITIALIZATION, name_index(x->name));
}

static void initialize_uniform(Tensor *x, double bound, uint64_t seed) {
    if (x->device->counts_only) return;
    int64_t n = tensor_numel(x);
    float *values = checked_malloc((size_t)n * sizeof *values);
    RandomStream stream = stream_of(x, seed);
    philox_uniform(stream.key, stream.index, 0, values, n);
    for (int64_t i = 0; i < n; i++) values[i] = (float)((2.0 * values[i] - 1.0) * bound);
    tensor_fill_from_float(x, values);
    free(values);
}

void initialize_linear_weight(Tensor *weight, uint64_t seed) {
    initialize_uniform(weight, 1.0 / sqrt((double)(tensor_numel(weight) / weight->shape[0])), seed);
}

void initialize_linear_bias(Tensor *bias, int64_t fan_in, uint64_t seed) {
    initialize_uniform(bias, 1.0 / sqrt((double)fan_in), seed);
}

void initialize_normal(Tensor *x, double std, uint64_t seed) {
    if (x->device->counts_only) return;
    int64_t n = tensor_numel(x);
    float *values = checked_malloc((size_t)n * sizeof *values);
    RandomStream stream = stream_of(x, seed);
    philox_normal(stream.key, stream.index, 0, values, n);
    for (int64_t i = 0; i < n; i++) values[i] = (float)(std * values[i]);
    tensor_fill_from_float(x, values);
    free(values);
}

void initialize_constant(Tensor *x, float value) {
    if (x->device->counts_only) return;
    int64_t n = tensor_numel(x);
    float *values = checked_malloc((size_t)n * sizeof *values);
    for (int64_t i = 0; i < n; i++) values[i] = value;
    tensor_fill_from_float(x, values);
    free(values);
}
