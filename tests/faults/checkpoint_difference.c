#include "tests/faults/checkpoint_difference.h"

#include "checkpoints/training_state.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct Array {
    StateType type;
    int rank;
    int64_t shape[STATE_MAX_RANK], count;
    void *values;
} Array;

static bool read_array(const StateFile *file, const char *name, Array *array, Error *error) {
    if (!state_describe_array(file, name, &array->type, &array->rank, array->shape, error))
        return false;
    array->count = 1;
    for (int i = 0; i < array->rank; i++) array->count *= array->shape[i];
    array->values = checked_calloc((size_t)array->count + 1, sizeof(int64_t));
    return state_read_array(file, name, array->type, array->rank, array->shape, array->values,
                            error);
}

static bool same_shape(const Array *a, const Array *b) {
    return a->type == b->type && a->rank == b->rank &&
           !memcmp(a->shape, b->shape, (size_t)a->rank * sizeof *a->shape);
}

static size_t size_of(StateType type) {
    return type == STATE_FLOAT32 ? sizeof(float) : type == STATE_INT64 ? sizeof(int64_t) : 1;
}

static void add(const Array *a, const Array *b, CheckpointDifference *sums) {
    size_t size = size_of(a->type);
    sums->arrays++;
    sums->elements += a->count;
    for (int64_t i = 0; i < a->count; i++)
        sums->unequal +=
            memcmp((char *)a->values + i * size, (char *)b->values + i * size, size) != 0;
    const float *x = a->values, *y = b->values;
    for (int64_t i = 0; a->type == STATE_FLOAT32 && i < a->count; i++) {
        sums->distance += pow((double)x[i] - (double)y[i], 2);
        sums->size += pow((double)x[i], 2);
    }
}

static bool compare_array(const StateFile *a, const StateFile *b, const char *name,
                          CheckpointDifference *sums, Error *error) {
    Array x = {0}, y = {0};
    bool ok = read_array(a, name, &x, error) && read_array(b, name, &y, error);
    if (ok && !same_shape(&x, &y)) ok = error_set(error, "'%s' has two shapes", name);
    if (ok) add(&x, &y, sums);
    free(x.values);
    free(y.values);
    return ok;
}

static bool compare(const StateFile *a, const StateFile *b, const char *prefix,
                    CheckpointDifference *sums, Error *error) {
    if (state_array_count(a) != state_array_count(b))
        return error_set(error, "they hold %lld and %lld arrays", (long long)state_array_count(a),
                         (long long)state_array_count(b));
    for (int64_t i = 0; i < state_array_count(a); i++) {
        const char *name = state_array_name(a, i);
        if (strncmp(name, prefix, strlen(prefix)) != 0) continue;
        if (!compare_array(a, b, name, sums, error)) return false;
    }
    return sums->arrays > 0 || error_set(error, "no array is called '%s...'", prefix);
}

bool checkpoint_difference(const char *a_path, const char *b_path, const char *prefix,
                           CheckpointDifference *difference, Error *error) {
    *difference = (CheckpointDifference){0};
    StateFile *a = state_open(a_path, error), *b = a ? state_open(b_path, error) : NULL;
    bool ok = b && compare(a, b, prefix, difference, error);
    state_close(a);
    state_close(b);
    difference->distance = sqrt(difference->distance);
    difference->size = sqrt(difference->size);
    return ok || error_context(error, "%s and %s", a_path, b_path);
}
