/// What a training run saves and needs to go on as if it had never stopped: weights, moments, position. No generator state: random
/// numbers are functions of seed and position.
#pragma once
#include "train/optimizer.h"

typedef struct TrainingPosition {
    int64_t step;     ///< optimizer updates done
    int64_t position; ///< samples of the data order consumed (global)
    int64_t tokens;   ///< tokens seen, for the log
    int64_t seed;
} TrainingPosition;

/// Writes `path` (see checkpoints/training_state.h): weights/<name>, optimizer/exp_avg/<name>, optimizer/exp_avg_sq/<name>,
/// position/*, and the resolved configuration as text. Whole or not at all.
bool training_checkpoint_save(const char *path, const Optimizer *optimizer,
                              const TrainingPosition *position, const char *config_yaml,
                              Error *error);

/// Restores everything. Refuses a file that lacks a parameter, has one too many, or one of another shape: it belongs to another model.
bool training_checkpoint_load(const char *path, Optimizer *optimizer, TrainingPosition *position,
                              Error *error);

/// Reads weights only, into the parameters that are registered. Adapters must all be there; LoRA parameters must be there if
/// `require_lora`, otherwise those missing keep their initial values. Weights in the file that are not registered are an error
/// unless they are LoRA's and `ignore_lora`.
bool training_checkpoint_load_weights(const char *path, ParameterSet *parameters, bool require_lora,
                                      bool ignore_lora, Error *error);
