/// What a training run saves and needs to go on as if it had never stopped: weights, moments,
/// position. No generator state: random numbers are functions of seed and position.
#pragma once
#include "train/group/process_group.h"
#include "train/trainer/optimizer.h"
#include "train/trainer/outlier_detector.h"

/// What data a run has come to know. samples 0: there is none, or (of a checkpoint older than this)
/// it is not known.
typedef struct DataIdentity {
    /// that are used
    int64_t samples;
    /// dataset_checksum()
    uint64_t checksum;
} DataIdentity;

/// The best so far of what training.save_best names.
typedef struct BestSoFar {
    /// "loss" (on held-out data, where less is better), or a figure of eval.tasks
    char figure[128];
    /// a checksum of what the figure depends on beside the weights; 0 of the loss
    int64_t basis;
    /// NAN before the first
    double value;
    /// where that was; -1 before the first
    int64_t step;
} BestSoFar;

typedef struct TrainingPosition {
    /// steps done
    int64_t step;
    /// samples of the data order consumed (global)
    int64_t position;
    /// tokens seen, for the log
    int64_t tokens;
    int64_t seed;
    /// schedule_global_batch()
    int64_t global_batch;
    BestSoFar best;
    /// data.train, data.eval
    DataIdentity train, eval;
    DetectorState loss_detector, norm_detector;
} TrainingPosition;

/// A run at one moment, in host memory: training goes on while it is written.
typedef struct TrainingSnapshot TrainingSnapshot;

/// Copies weights, moments and position. Every rank calls it; where moments are sharded, rank 0
/// gets all of them. *snapshot is NULL on the other ranks. Without `copy` weights and moments that
/// lie whole in host memory are not copied: the snapshot must then be written and freed before they
/// change.
bool training_snapshot_take(const Optimizer *optimizer, bool sharded, bool copy,
                            const TrainingPosition *position, const char *config_yaml,
                            ProcessGroup *group, TrainingSnapshot **snapshot, Error *error);
void training_snapshot_free(TrainingSnapshot *snapshot);

/// Writes `path` (see checkpoints/training_state.h): weights/<name>, optimizer/exp_avg/<name>,
/// optimizer/exp_avg_sq/<name>, position/*, detectors/*, and the resolved configuration as text.
/// Whole or not at all. May run on another thread, as long as no other uses HDF5.
bool training_snapshot_write(const TrainingSnapshot *snapshot, const char *path, Error *error);

/// Where the run stood; false on failure.
bool training_checkpoint_position(const char *path, TrainingPosition *position, Error *error);
/// The configuration that a checkpoint was written with, as YAML; NULL on failure, the caller frees
/// it.
char *training_checkpoint_config(const char *path, Error *error);

/// Restores everything, each rank its own parts of the moments: the number of ranks may be another
/// one. Refuses a file that lacks a parameter, has one too many, or one of another shape: it
/// belongs to another model.
bool training_checkpoint_load(const char *path, Optimizer *optimizer, TrainingPosition *position,
                              Error *error);

/// Reads weights only, into the parameters that are registered. Adapters must all be there; LoRA
/// parameters must be there if `require_lora`, otherwise those missing keep their initial values.
/// Weights in the file that are not registered are an error unless they are LoRA's and
/// `ignore_lora`.
bool training_checkpoint_load_weights(const char *path, ParameterSet *parameters, bool require_lora,
                                      bool ignore_lora, Error *error);

/// Registers every weight of the file, under its name and in its group, and reads it: the trained
/// part of a model without the model.
bool training_checkpoint_read_parameters(const char *path, Device *device, ParameterSet *parameters,
                                         Error *error);
