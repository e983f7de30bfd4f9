#include "train/trainer/model_setup.h"

#include "models/weights.h"
#include "ops/kernels.h"
#include "train/group/core_count.h"
#include "train/saved/trained_normalization.h"
#include "train/saved/trained_weights.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int model_setup_threads(const Config *config, const ProcessGroup *group) {
    if (config->training.threads > 0) return (int)config->training.threads;
    return group ? cores_allowed(process_core_sharers(group), process_local_count(group))
                 : cores_allowed(1, 1);
}

/// The GPU of this process: its own among those of the machine, or the only one that it was given
/// to see.
static Device *open_gpu(const ProcessGroup *group, Error *error) {
    int count = ops_cuda_count(), local_rank = group ? process_local_rank(group) : 0;
    return ops_cuda_open(count > 0 ? local_rank % count : 0, error);
}

static void warn(const char *message) { fprintf(stderr, "warning: %s\n", message); }

bool model_setup_open_device(const Config *config, const ProcessGroup *group, ModelSetup *setup,
                             Error *error) {
    *setup = (ModelSetup){0};
    int choice = config->training.device;
    setup->device =
        ops_cpu_open(model_setup_threads(config, group)); // reading samples needs it as well
    if (choice == DEVICE_CUDA || (choice == DEVICE_AUTO && ops_cuda_count() > 0)) {
        Error reason;
        setup->device = open_gpu(group, &reason);
        if (!setup->device)
            return config_refuse(config, "training.device", error,
                                 "%s. With training.device: cpu the processor computes",
                                 reason.message);
    }
    setup->speaks = !group || process_rank(group) == 0;
    weights_on_warning(setup->speaks ? warn : NULL);
    if (setup->speaks) fprintf(stderr, "computing on %s\n", setup->device->name);
    return true;
}

static bool lora_options(const Config *config, uint64_t seed, LoraOptions *options, Error *error) {
    const LoraSection *lora = &config->lora;
    *options = (LoraOptions){.r = (int)lora->lora_r,
                             .alpha = (float)lora->lora_alpha,
                             .dropout = (float)lora->lora_dropout,
                             .use_rslora = lora->use_rslora,
                             .seed = seed};
    Error reason;
    return lora_target_modules((const char *const *)lora->target_modules.values,
                               lora->target_modules.count, options->modules, &reason) ||
           config_refuse(config, "lora.target_modules", error, "%s", reason.message);
}

bool model_setup_options(const Config *config, uint64_t seed, LoraOptions *lora,
                         DiffLMMOptions *options, Error *error) {
    if (config->lora.lora_enable && !lora_options(config, seed, lora, error)) return false;
    *options = config->model;
    options->image_size = (int)config->data.image_size;
    options->model_max_length = (int)config->data.model_max_length;
    options->seed = seed;
    options->lora = config->lora.lora_enable ? lora : NULL;
    return true;
}

const char *model_setup_key_of_option(const char *option) {
    static const char *const KEYS[] = {"data.image_size", "model.timestep", "model.ensemble_size",
                                       "model.unet_feature_block"};
    for (size_t i = 0; i < sizeof KEYS / sizeof *KEYS; i++)
        if (!strcmp(strchr(KEYS[i], '.') + 1, option)) return KEYS[i];
    CHECK(false, "the option '%s' has no key", option);
    return NULL;
}

/// Whether the model was loaded; otherwise the key behind `option` is in the message.
static bool is_loaded(const Config *config, const ModelSetup *setup, const char *option,
                      Error *error) {
    if (setup->model || !option) return setup->model != NULL;
    Error reason = *error;
    return config_refuse(config, model_setup_key_of_option(option), error, "%s", reason.message);
}

static bool load_model(const Config *config, uint64_t seed, ModelSetup *setup, Error *error) {
    LoraOptions lora;
    DiffLMMOptions options;
    const char *option;
    if (!model_setup_options(config, seed, &lora, &options, error)) return false;
    setup->model = difflmm_load(&options, setup->device, &setup->parameters, &option, error);
    return is_loaded(config, setup, option, error);
}

static bool open_tokenizer(const Config *config, ModelSetup *setup, Error *error) {
    setup->tokenizer = tokenizer_open(config->model.llm, error);
    if (!setup->tokenizer) return false;
    int pieces = tokenizer_vocabulary_size(setup->tokenizer),
        rows = setup->model->llama->config.vocab_size;
    if (pieces > rows)
        return error_set(error,
                         "%s: the tokenizer has %d pieces and the language model only %d "
                         "embeddings; they do not belong together",
                         config->model.llm, pieces, rows);
    return true;
}

ConversationFormat model_setup_format(const Config *config, int num_visual_tokens) {
    return (ConversationFormat){.kind = config->data.version,
                                .system_message = config->data.system_message,
                                .visual_tokens = num_visual_tokens,
                                .model_max_length = (int)config->data.model_max_length};
}

bool model_setup_read(const Config *config, uint64_t seed, ModelSetup *setup, Error *error) {
    bool ok = config_require_model(config, error) && load_model(config, seed, setup, error) &&
              open_tokenizer(config, setup, error);
    if (!ok) {
        model_setup_close(setup);
        return false;
    }
    setup->format = model_setup_format(config, setup->model->num_visual_tokens);
    return true;
}

bool model_setup_read_encoders(const Config *config, ModelSetup *setup, Error *error) {
    LoraOptions lora;
    DiffLMMOptions options;
    const char *option;
    if (!config_require_model(config, error) ||
        !model_setup_options(config, 0, &lora, &options, error))
        return false;
    setup->model = difflmm_load_encoders(&options, setup->device, &option, error);
    return is_loaded(config, setup, option, error);
}

bool model_setup_open(const Config *config, uint64_t seed, const ProcessGroup *group,
                      ModelSetup *setup, Error *error) {
    return model_setup_open_device(config, group, setup, error) &&
           model_setup_read(config, seed, setup, error);
}

void model_setup_close(ModelSetup *setup) {
    if (setup->model) difflmm_free(setup->model);
    if (setup->tokenizer) tokenizer_close(setup->tokenizer);
    parameters_free(&setup->parameters);
    *setup = (ModelSetup){0};
}

bool model_setup_load_weights(const Config *config, const char *key, const char *path,
                              bool require_lora, ModelSetup *setup, Error *error) {
    char *resolved = trained_weights_resolve(path, error);
    bool ok =
        resolved &&
        (config->training.accept_changes ||
         trained_normalization_check(config, resolved, setup->speaks ? stderr : NULL, error)) &&
        trained_weights_load(resolved, &setup->parameters, setup->model->lora, require_lora, error);
    free(resolved);
    return ok || error_context(error, "%s", key);
}

bool model_setup_load_checkpoint(const Config *config, ModelSetup *setup, Error *error) {
    return !config->eval.checkpoint ||
           model_setup_load_weights(config, "eval.checkpoint", config->eval.checkpoint,
                                    config->lora.lora_enable, setup, error);
}
