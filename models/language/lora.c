#include "models/language/lora.h"

#include "autograd/text/nearest_name.h"
#include "models/initialization.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/// "q_proj" of "self_attn.q_proj".
static const char *short_name(LlamaModule module) {
    return strchr(llama_module_name(module), '.') + 1;
}

static bool set_target(const char *name, bool modules[LLAMA_MODULE_COUNT], Error *error) {
    const char *names[LLAMA_MODULE_COUNT];
    bool all = !strcmp(name, "all-linear"), found = all;
    for (int m = 0; m < LLAMA_MODULE_COUNT; m++) {
        names[m] = short_name(m);
        if (!all && strcmp(name, names[m]) != 0 && strcmp(name, llama_module_name(m)) != 0)
            continue;
        modules[m] = found = true;
    }
    if (found) return true;
    int nearest = nearest_name(name, names, LLAMA_MODULE_COUNT);
    return error_set(error,
                     "target module '%s' is not known%s%s%s; there are q_proj, k_proj, v_proj, "
                     "o_proj, gate_proj, up_proj, down_proj, and all-linear for all of them",
                     quote(name).text, nearest >= 0 ? " (did you mean " : "",
                     nearest >= 0 ? names[nearest] : "", nearest >= 0 ? "?)" : "");
}

bool lora_target_modules(const char *const *names, int count, bool modules[LLAMA_MODULE_COUNT],
                         Error *error) {
    for (int m = 0; m < LLAMA_MODULE_COUNT; m++) modules[m] = false;
    if (count == 0)
        return error_set(error,
                         "the list is empty: LoRA would train nothing; name linear layers, or "
                         "set lora.lora_enable to false");
    for (int i = 0; i < count; i++)
        if (!set_target(names[i], modules, error)) return false;
    return true;
}

float lora_scale(const LoraOptions *options) {
    float r = (float)options->r;
    return options->alpha / (options->use_rslora ? sqrtf(r) : r);
}

static Tensor *register_matrix(ParameterSet *parameters, Device *device, int layer,
                               LlamaModule module, const char *letter, int64_t rows,
                               int64_t columns) {
    char *name = format_string("base_model.model.model.layers.%d.%s.lora_%s.weight", layer,
                               llama_module_name(module), letter);
    Tensor *x = parameters_add(parameters, name, GROUP_LORA, device, SHAPE(rows, columns));
    free(name);
    return x;
}

LlamaLora *lora_new(const Llama *llama, const LoraOptions *options, ParameterSet *parameters) {
    const LlamaConfig *config = &llama->config;
    LlamaLora *lora = checked_calloc(1, sizeof *lora);
    size_t count = (size_t)config->num_hidden_layers * LLAMA_MODULE_COUNT;
    lora->options = *options;
    lora->num_layers = config->num_hidden_layers;
    lora->a = checked_calloc(count, sizeof *lora->a);
    lora->b = checked_calloc(count, sizeof *lora->b);
    for (int layer = 0; layer < lora->num_layers; layer++)
        for (int m = 0; m < LLAMA_MODULE_COUNT; m++) {
            if (!options->modules[m]) continue;
            Device *device = llama->device;
            Tensor *a = register_matrix(parameters, device, layer, m, "A", options->r,
                                        llama_module_in(config, m));
            Tensor *b = register_matrix(parameters, device, layer, m, "B",
                                        llama_module_out(config, m), options->r);
            initialize_linear_weight(a, options->seed);
            initialize_constant(b, 0.0f);
            lora->a[layer * LLAMA_MODULE_COUNT + m] = a;
            lora->b[layer * LLAMA_MODULE_COUNT + m] = b;
        }
    return lora;
}

void lora_free(LlamaLora *lora) {
    if (!lora) return;
    free(lora->a);
    free(lora->b);
    free(lora);
}

const LoRA *lora_update(const LlamaOptions *options, int layer, LlamaModule module, LoRA *update) {
    const LlamaLora *lora = options->lora;
    if (!lora) return NULL;
    int slot = layer * LLAMA_MODULE_COUNT + (int)module;
    if (!lora->a[slot]) return NULL;
    uint64_t slots = (uint64_t)lora->num_layers * LLAMA_MODULE_COUNT;
    *update = (LoRA){
        .a = lora->a[slot],
        .b = lora->b[slot],
        .scale = lora_scale(&lora->options),
        .dropout = options->train ? lora->options.dropout : 0.0f,
        .stream =
            random_stream(options->seed, RANDOM_DROPOUT, options->pass * slots + (uint64_t)slot),
        .dropout_rows = options->dropout_rows,
    };
    return update;
}
