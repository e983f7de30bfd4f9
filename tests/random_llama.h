/// A Llama of any shape with random weights, for tests and measurements that no published files
/// serve.
#pragma once
#include "autograd/philox.h"
#include "models/language/llama.h"

#include <math.h>
#include <stdlib.h>

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"

/// Uniform numbers with a standard deviation of `scale` around `centre`, drawn by the tensor's
/// `number`. Large tensors repeat what a block draws.
static Tensor *random_weight(Device *device, DType dtype, int rank, const int64_t *shape,
                             uint64_t number, float centre, float scale) {
    enum { BLOCK = 65537 };
    char name[64];
    snprintf(name, sizeof name, "random.%llu", (unsigned long long)number);
    Tensor *x = tensor_new_persistent(device, dtype, rank, shape, name);
    int64_t n = tensor_numel(x), drawn = n < BLOCK ? n : BLOCK;
    float *values = checked_malloc((size_t)n * sizeof *values);
    philox_uniform(11, number, 0, values, drawn);
    for (int64_t i = 0; i < drawn; i++) values[i] = centre + scale * sqrtf(12) * (values[i] - 0.5f);
    for (int64_t i = drawn; i < n; i++) values[i] = values[i - drawn];
    tensor_fill_from_float(x, values);
    free(values);
    return x;
}

static Affine random_linear(const Llama *llama, int layer, LlamaModule module) {
    const LlamaConfig *config = &llama->config;
    int out = llama_module_out(config, module), in = llama_module_in(config, module);
    bool bias = module < O_PROJ    ? config->qkv_bias
                : module == O_PROJ ? config->o_bias
                                   : config->mlp_bias;
    uint64_t number = 100 + 20 * (uint64_t)layer + 2 * (uint64_t)module;
    float scale = 1.0f / sqrtf((float)in);
    return (Affine){random_weight(llama->device, llama->dtype, SHAPE(out, in), number, 0.0f, scale),
                    bias ? random_weight(llama->device, FLOAT32, SHAPE(out), number + 1, 0.0f, 0.1f)
                         : NULL};
}

static LlamaLayer random_layer(const Llama *llama, int layer) {
    int64_t width = llama->config.hidden_size;
    uint64_t number = 116 + 20 * (uint64_t)layer;
    LlamaLayer made = {random_weight(llama->device, FLOAT32, SHAPE(width), number, 1.0f, 0.1f),
                       random_weight(llama->device, FLOAT32, SHAPE(width), number + 1, 1.0f, 0.1f),
                       {{0}}};
    for (int m = 0; m < LLAMA_MODULE_COUNT; m++) made.linears[m] = random_linear(llama, layer, m);
    return made;
}

/// `config` is copied, with its windows (NULL: none). Free with llama_free().
static Llama *random_llama(const LlamaConfig *config, Device *device, DType dtype) {
    Llama *llama = checked_calloc(1, sizeof *llama);
    int layers = config->num_hidden_layers;
    int64_t vocabulary = config->vocab_size, width = config->hidden_size;
    llama->config = *config;
    llama->device = device;
    llama->dtype = dtype;
    llama->config.windows = checked_calloc((size_t)layers, sizeof(int));
    for (int i = 0; i < layers && config->windows; i++)
        llama->config.windows[i] = config->windows[i];
    llama->embed_tokens = random_weight(device, dtype, SHAPE(vocabulary, width), 0, 0.0f, 1.0f);
    llama->norm = random_weight(device, FLOAT32, SHAPE(width), 1, 1.0f, 0.1f);
    llama->lm_head = random_weight(device, dtype, SHAPE(vocabulary, width), 2, 0.0f, 0.1f);
    llama->layers = checked_calloc((size_t)layers, sizeof *llama->layers);
    for (int i = 0; i < layers; i++) llama->layers[i] = random_layer(llama, i);
    llama->rotation_table = rotation_table_new(&llama->config.rope, llama->config.head_dim);
    return llama;
}

#pragma GCC diagnostic pop
