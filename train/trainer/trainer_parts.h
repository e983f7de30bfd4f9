/// Inside the trainer only: what trainer.c (the run), trainer_prepare.c (how it begins),
/// trainer_data.c (what it learns from), trainer_step.c (one step) and trainer_evaluate.c (what is
/// measured between two) share.
#pragma once
#include "autograd/clock.h"
#include "autograd/output/output_folder.h"
#include "train/features/feature_cache.h"
#include "train/group/going_on.h"
#include "train/group/replicas.h"
#include "train/group/run_lock.h"
#include "train/log/progress.h"
#include "train/log/run_log.h"
#include "train/saved/checkpoint_writer.h"
#include "train/trainer/best_checkpoint.h"
#include "train/trainer/gradient_buckets.h"
#include "train/trainer/model_setup.h"
#include "train/trainer/trainer.h"

#include "data/loader/loader.h"

typedef struct Trainer {
    const Config *config;
    char *config_yaml;
    ProcessGroup *group;
    /// rank 0: writes, prints, saves
    bool is_first;
    ModelSetup setup;
    Dataset *data, *held_out;
    /// of the samples of `data`; NULL without data.tokens_per_batch
    int32_t *token_lengths;
    FeatureCache *cache, *held_out_cache;
    /// NULL: none
    TrainingTasks *tasks;
    Loader *loader;
    /// [batch_count], this rank's of the step that is under way
    MicroBatch **batches;
    int64_t batch_count;
    GradientBuckets *buckets;
    Optimizer optimizer;
    OutlierDetector loss_detector, norm_detector;
    TrainingPosition position;
    /// The last step after which the weights are known to be the same on every rank.
    int64_t agreed_step;
    /// data.feature_folder; of every rank
    OutputFolder feature_folder;
    /// training.output_dir; of rank 0, as the next two
    OutputFolder folder;
    RunLock *lock;
    /// of rank 0
    RunLog *log;
    /// NULL: nothing is shown
    Progress *progress;
    /// of rank 0
    CheckpointWriter *checkpoints;
    int64_t max_steps, warmup_steps, skipped;
    /// Of the whole job since this part of the run began, as tokens and samples below.
    int64_t supervised, answers_cut_off;
    double started, step_started;
    /// of the whole job, for rates
    int64_t tokens_before, samples;
    /// of products, operations per second of all ranks
    double peak_rate;
    /// some rank was told to stop
    bool stopping;
} Trainer;

/// What one optimizer step came to, over all ranks.
typedef struct StepResult {
    /// per supervised token
    double loss, gradient_norm;
    double learning_rate[GROUP_COUNT];
    int64_t supervised, tokens, samples;
    /// Samples whose whole answer model_max_length cuts off.
    int64_t answers_cut_off;
    /// floating-point, see ops/flop_count.h
    double operations;
    /// how far out of line with the recent ones; NAN: undecided
    double loss_z, norm_z;
    bool updated;
    /// A rank could not read its samples: what was learned before is as it was. The same on every
    /// rank.
    bool is_unread;
} StepResult;

/// Reads networks and data, and brings the run to where it stands. On failure the trainer can be
/// cleaned up.
bool trainer_prepare(Trainer *trainer, Error *error);
void trainer_clean_up(Trainer *trainer);

/// What they are called in messages.
#define TRAINING_DATA "the training data (data.train)"
#define HELD_OUT_DATA "the held-out data (data.eval)"

/// Opens data.train and data.eval; every rank calls it, and rank 0 tells what images there are and
/// counts what is left out.
bool trainer_open_data(Trainer *trainer, Error *error);
/// Whether the data suit the configuration.
bool trainer_check_data(const Trainer *trainer, Error *error);
/// Counts the tokens of the samples, if data.tokens_per_batch needs them. Every rank calls it, and
/// it fails alike on every rank.
bool trainer_count_tokens(Trainer *trainer, Error *error);
/// Counts the steps of the whole run, and those of its warmup. After trainer_count_tokens().
bool trainer_count_steps(Trainer *trainer, Error *error);
/// Features of all images, where data.cache_features asks for them. Collective; to be followed by
/// ranks_go_on().
bool trainer_fill_caches(Trainer *trainer, Error *error);
/// Begins to load what follows the run's position. After trainer_fill_caches().
bool trainer_open_loader(Trainer *trainer, Error *error);
/// The options that loaders of training and evaluation share.
LoaderOptions trainer_loader_options(const Trainer *trainer);

/// One step: all micro-batches of this rank, the sum over ranks, the update. `stop` asks all ranks
/// to stop after it. Fails alike on every rank.
bool trainer_step(Trainer *trainer, bool stop, StepResult *result, Error *error);

/// Whether anything is measured between steps.
bool trainer_is_evaluated(const Trainer *trainer);
/// Measures and logs, and takes note of the best. What a request to stop cuts short counts for
/// nothing. Fails alike on every rank.
bool trainer_evaluate(Trainer *trainer, Error *error);
