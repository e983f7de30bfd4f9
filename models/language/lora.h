/// Low-rank adaptation [Hu et al. 2021, arXiv 2106.09685] of a Llama's linear layers, as PEFT
/// makes, names and initialises it.
#pragma once
#include "autograd/parameters.h"
#include "models/language/llama.h"

typedef struct LoraOptions {
    int r;
    float alpha;
    float dropout;
    /// rank-stabilised scaling [Kalajdzievski 2023, arXiv 2312.03732]
    bool use_rslora;
    /// target_modules
    bool modules[LLAMA_MODULE_COUNT];
    uint64_t seed;
} LoraOptions;

/// What B A is multiplied by: alpha / r, or alpha / sqrt(r) with use_rslora.
float lora_scale(const LoraOptions *options);

struct LlamaLora {
    LoraOptions options;
    int num_layers;
    Tensor **a,
        /// [num_layers * LLAMA_MODULE_COUNT]; NULL where a module is not a target. Owned by the set
        **b;
};

/// Sets `modules` from names such as "q_proj", "mlp.down_proj", or "all-linear" for all. An unknown
/// name is an error, and so is an empty list.
bool lora_target_modules(const char *const *names, int count, bool modules[LLAMA_MODULE_COUNT],
                         Error *error);

/// Registers A (Kaiming-uniform with a = sqrt(5), a Philox stream for each) and B (zero) of every
/// target module in GROUP_LORA, under names as
/// "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight". The caller frees with
/// lora_free(), the set owns the values.
LlamaLora *lora_new(const Llama *llama, const LoraOptions *options, ParameterSet *parameters);
void lora_free(LlamaLora *lora);

/// The update of one module in this pass; NULL if there is none. `update` is where it is put.
const LoRA *lora_update(const LlamaOptions *options, int layer, LlamaModule module, LoRA *update);
