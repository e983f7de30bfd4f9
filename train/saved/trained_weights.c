#include "train/saved/trained_weights.h"

#include "checkpoints/checkpoint_folder.h"
#include "checkpoints/model_config.h"
#include "checkpoints/published_adapters.h"
#include "train/config/config_schema.h"
#include "train/saved/peft_config.h"
#include "train/saved/training_checkpoint.h"

#include <stdlib.h>
#include <string.h>

// ---- into a model

/// Fills the error where stored LoRA is not what the model has: the two then only look alike.
static bool check_lora(const char *path, const LoraOptions *stored, const LoraOptions *configured,
                       Error *error) {
    if (stored->r != configured->r)
        return error_set(error, "%s: r is %d, but lora.lora_r is %d", path, stored->r,
                         configured->r);
    if (stored->use_rslora != configured->use_rslora)
        return error_set(error, "%s: use_rslora is %s, but lora.use_rslora is not", path,
                         stored->use_rslora ? "true" : "false");
    if (stored->alpha != configured->alpha)
        return error_set(error, "%s: lora_alpha is %g, but lora.lora_alpha is %g", path,
                         (double)stored->alpha, (double)configured->alpha);
    for (int m = 0; m < LLAMA_MODULE_COUNT; m++)
        if (stored->modules[m] != configured->modules[m])
            return error_set(error, "%s: target_modules %s %s, but lora.target_modules %s", path,
                             stored->modules[m] ? "names" : "does not name",
                             llama_module_name((LlamaModule)m),
                             stored->modules[m] ? "does not" : "does");
    return true;
}

static bool load_published(const char *path, ParameterSet *parameters, const LlamaLora *lora,
                           bool require_lora, Error *error) {
    PublishedAdapters *adapters = published_adapters_open(path, error);
    if (!adapters) return false;
    const char *config = published_adapters_config(adapters);
    LoraOptions stored = {0};
    bool loaded = true;
    if (lora && config)
        loaded = peft_config_read(config, lora->num_layers, &stored, error) &&
                 check_lora(config, &stored, &lora->options, error);
    else if (lora && require_lora)
        loaded = error_set(error,
                           "%s holds no LoRA adapter (adapter_config.json, adapter_model), but "
                           "lora.lora_enable is true",
                           path);
    loaded = loaded && published_adapters_load(adapters, parameters, lora && config, error);
    published_adapters_close(adapters);
    return loaded;
}

char *trained_weights_resolve(const char *path, Error *error) {
    return published_adapters_at(path) ? checked_strdup(path) : checkpoint_resolve(path, error);
}

bool trained_weights_load(const char *path, ParameterSet *parameters, const LlamaLora *lora,
                          bool require_lora, Error *error) {
    if (published_adapters_at(path))
        return load_published(path, parameters, lora, require_lora, error);
    char *checkpoint = checkpoint_resolve(path, error);
    bool loaded = checkpoint && training_checkpoint_load_weights(
                                    checkpoint, parameters, require_lora, !require_lora, error);
    free(checkpoint);
    return loaded;
}

// ---- the configuration of a model that is given by its weights

static bool is_set(const Config *config, const char *key) {
    return config->origins[config_find_key(key)].kind != ORIGIN_DEFAULT;
}

static void set_modules(Config *config, const bool modules[LLAMA_MODULE_COUNT]) {
    const ConfigField *field = &CONFIG_FIELDS[config_find_key("lora.target_modules")];
    config_empty_list(config, field);
    for (int m = 0; m < LLAMA_MODULE_COUNT; m++) {
        if (!modules[m]) continue;
        ConfigScalar name = {.text = strchr(llama_module_name((LlamaModule)m), '.') + 1};
        Error error;
        CHECK(config_append_to_list(config, field, &name, &error), "%s", error.message);
    }
}

static void set_lora(Config *config, const LoraOptions *options) {
    LoraSection *lora = &config->lora;
    lora->lora_enable = true;
    if (!is_set(config, "lora.lora_r")) lora->lora_r = options->r;
    if (!is_set(config, "lora.lora_alpha")) lora->lora_alpha = (double)options->alpha;
    if (!is_set(config, "lora.lora_dropout")) lora->lora_dropout = (double)options->dropout;
    if (!is_set(config, "lora.use_rslora")) lora->use_rslora = options->use_rslora;
    if (!is_set(config, "lora.target_modules")) set_modules(config, options->modules);
}

/// The number of decoder layers that the language model's configuration gives.
static bool read_num_layers(const char *llm, int *num_layers, Error *error) {
    enum { MOST_LAYERS = 1024 };
    char *path = format_string("%s/config.json", llm);
    ModelConfig *model = model_config_open(path, error);
    int64_t count = 0;
    bool read = model && model_config_int(model, "num_hidden_layers", &count, error);
    if (read && (count < 1 || count > MOST_LAYERS))
        read = model_config_unsupported(model, "num_hidden_layers", "1 to 1024", error);
    model_config_close(model);
    free(path);
    *num_layers = (int)count;
    return read;
}

static bool read_peft(const char *path, const char *llm, LoraOptions *options, Error *error) {
    int num_layers;
    *options = (LoraOptions){0};
    return read_num_layers(llm, &num_layers, error) &&
           peft_config_read(path, num_layers, options, error);
}

static void settle_width(Config *config, const PublishedAdapters *adapters) {
    const ConfigField *field = &CONFIG_FIELDS[config_find_key("model.projector_width")];
    int64_t width =
        published_adapters_projector_width(adapters, config->model.architecture == ADAPTERS_LLAVA);
    if (!config->model.projector_width && (double)width <= field->maximum)
        config->model.projector_width = (int)width;
}

bool trained_weights_settle(Config *config, Error *error) {
    const char *path = config->eval.checkpoint;
    bool off = !config->lora.lora_enable && is_set(config, "lora.lora_enable");
    if (!path || !config->model.llm || !published_adapters_at(path)) return true;
    PublishedAdapters *adapters = published_adapters_open(path, error);
    if (!adapters) return error_context(error, "eval.checkpoint");
    settle_width(config, adapters);
    const char *peft = off ? NULL : published_adapters_config(adapters);
    LoraOptions options;
    bool settled = !peft || read_peft(peft, config->model.llm, &options, error);
    if (settled && peft) set_lora(config, &options);
    published_adapters_close(adapters);
    return settled || error_context(error, "eval.checkpoint");
}

void trained_weights_settle_start(Config *config) {
    Error error;
    if (!config->adapters || !published_adapters_at(config->adapters)) return;
    PublishedAdapters *adapters = published_adapters_open(config->adapters, &error);
    if (adapters) settle_width(config, adapters);
    published_adapters_close(adapters);
}

// ---- without a model

static bool read_published(const PublishedAdapters *adapters, const char *path,
                           ParameterSet *parameters, Error *error) {
    for (int i = 0; i < published_adapters_count(adapters); i++) {
        const char *name;
        const StoredTensor *stored = published_adapters_tensor(adapters, i, &name);
        bool is_lora = strstr(name, ".lora_") != NULL;
        if (stored->rank < 1 || stored->rank > MAX_RANK || stored->numel == 0)
            return error_set(error, "%s: '%s' is no weight of an adapter", path, stored->name);
        parameters_add(parameters, name, is_lora ? GROUP_LORA : GROUP_ADAPTERS, device_cpu(),
                       stored->rank, stored->shape);
    }
    return published_adapters_load(adapters, parameters, true, error);
}

bool trained_weights_read(const char *path, const char *llm, ParameterSet *parameters,
                          LoraOptions *options, bool *has_options, Error *error) {
    *has_options = false;
    if (!published_adapters_at(path)) {
        char *checkpoint = checkpoint_resolve(path, error);
        bool read = checkpoint && training_checkpoint_read_parameters(checkpoint, device_cpu(),
                                                                      parameters, error);
        free(checkpoint);
        return read;
    }
    PublishedAdapters *adapters = published_adapters_open(path, error);
    if (!adapters) return false;
    const char *peft = published_adapters_config(adapters);
    bool read = (!peft || read_peft(peft, llm, options, error)) &&
                read_published(adapters, path, parameters, error);
    *has_options = read && peft;
    published_adapters_close(adapters);
    return read;
}
