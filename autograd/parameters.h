/// The trainable parameters of a model, by name: what the optimizer updates, what a checkpoint
/// holds, what is reduced over ranks. FLOAT32 masters; order of registration is the order
/// everywhere.
#pragma once
#include "autograd/tensor.h"

typedef enum ParameterGroup { GROUP_ADAPTERS, GROUP_LORA, GROUP_COUNT } ParameterGroup;

typedef struct Parameter {
    /// as in the published checkpoints, e.g. "mm_projector.clip_pe"
    char *name;
    Tensor *value;
    ParameterGroup group;
    /// weight decay applies (matrices; not biases, norms)
    bool decay;
} Parameter;

typedef struct ParameterSet {
    Parameter *items;
    int count, capacity;
} ParameterSet;

/// Registers a new FLOAT32 parameter (undefined content, gradient wanted) and returns its tensor;
/// the set owns it. Decay is applied to parameters of rank 2 and more. Stops on a name given twice.
Tensor *parameters_add(ParameterSet *set, const char *name, ParameterGroup group, Device *device,
                       int rank, const int64_t *shape);
/// NULL if there is none of that name.
Parameter *parameters_find(const ParameterSet *set, const char *name);
int64_t parameters_count_elements(const ParameterSet *set);
/// Forgets all gathered gradients.
void parameters_clear_grad(ParameterSet *set);
void parameters_free(ParameterSet *set);
