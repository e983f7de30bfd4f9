/// A configured model, ready to be trained or asked: networks, parameters, tokenizer, template.
#pragma once
#include "data/conversation.h"
#include "models/difflmm.h"
#include "train/config/config.h"
#include "train/group/process_group.h"

typedef struct ModelSetup {
    Device *device;
    ParameterSet parameters;
    DiffLMM *model;
    Tokenizer *tokenizer;
    /// its system message is the configuration's
    ConversationFormat format;
    /// of several processes one says what all know
    bool speaks;
} ModelSetup;

/// The processor threads of this process: as configured, or its share of the cores. mpirun or srun
/// may have bound it to some of them. group NULL: of a process alone.
int model_setup_threads(const Config *config, const ProcessGroup *group);

/// Reads everything that the configuration names and initialises the trained parts from `seed`. The
/// configuration must outlive the setup. `group` decides whose GPU and cores this process uses;
/// NULL: it is alone. On failure nothing is left open.
bool model_setup_open(const Config *config, uint64_t seed, const ProcessGroup *group,
                      ModelSetup *setup, Error *error);
/// The same in two parts, between which several processes may find out whether they can run
/// together. First the device alone:
bool model_setup_open_device(const Config *config, const ProcessGroup *group, ModelSetup *setup,
                             Error *error);
/// then everything else.
bool model_setup_read(const Config *config, uint64_t seed, ModelSetup *setup, Error *error);
/// or the frozen encoders alone (difflmm_load_encoders()), without a tokenizer.
bool model_setup_read_encoders(const Config *config, ModelSetup *setup, Error *error);
void model_setup_close(ModelSetup *setup);

/// What the configuration says about the model; `lora` is what options->lora points to if there is
/// any. Nothing is read.
bool model_setup_options(const Config *config, uint64_t seed, LoraOptions *lora,
                         DiffLMMOptions *options, Error *error);
/// The key behind an option that difflmm_load() refuses, by the option's name: "model.timestep".
const char *model_setup_key_of_option(const char *option);
/// What it says about conversations, for a model whose images become that many tokens.
ConversationFormat model_setup_format(const Config *config, int num_visual_tokens);

/// Reads the weights that a key names (train/saved/trained_weights.h) into the parameters. They
/// must have been trained on pictures as the configuration makes them
/// (trained_normalization_check()), unless training.accept_changes is set.
bool model_setup_load_weights(const Config *config, const char *key, const char *path,
                              bool require_lora, ModelSetup *setup, Error *error);

/// Reads those of eval.checkpoint; nothing to do where it is null. LoRA weights must be there if
/// lora.lora_enable, and are passed over if not.
bool model_setup_load_checkpoint(const Config *config, ModelSetup *setup, Error *error);
