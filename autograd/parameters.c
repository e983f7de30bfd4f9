#include "autograd/parameters.h"

#include <stdlib.h>
#include <string.h>

Tensor *parameters_add(ParameterSet *set, const char *name, ParameterGroup group, Device *device,
                       int rank, const int64_t *shape) {
    CHECK(!parameters_find(set, name), "parameter '%s' is registered twice", name);
    if (set->count == set->capacity) {
        set->capacity = set->capacity ? 2 * set->capacity : 32;
        set->items = checked_realloc(set->items, (size_t)set->capacity * sizeof *set->items);
    }
    Parameter *parameter = &set->items[set->count++];
    parameter->name = checked_strdup(name);
    parameter->group = group;
    parameter->decay = rank >= 2;
    parameter->value = tensor_new_persistent(device, FLOAT32, rank, shape, parameter->name);
    require_grad(parameter->value);
    leaf_set_index(parameter->value, set->count - 1);
    return parameter->value;
}

Parameter *parameters_find(const ParameterSet *set, const char *name) {
    for (int i = 0; i < set->count; i++)
        if (!strcmp(set->items[i].name, name)) return &set->items[i];
    return NULL;
}

int64_t parameters_count_elements(const ParameterSet *set) {
    int64_t count = 0;
    for (int i = 0; i < set->count; i++) count += tensor_numel(set->items[i].value);
    return count;
}

void parameters_clear_grad(ParameterSet *set) {
    for (int i = 0; i < set->count; i++) grad_clear(set->items[i].value);
}

void parameters_free(ParameterSet *set) {
    for (int i = 0; i < set->count; i++) {
        tensor_release(set->items[i].value);
        free(set->items[i].name);
    }
    free(set->items);
    *set = (ParameterSet){0};
}
