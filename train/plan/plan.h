/// What a training run will be, before anything is run: parameters, data, steps, memory, disk,
/// time; and every reason why it cannot be. Where a configuration names nothing to be trained with
/// (data.train, data.image_folder, training.output_dir) but eval.annotations, the same of the
/// evaluation.
///
/// Networks are known from their configurations and the headers of their safetensors: no weights
/// are read. Memory is what the model's own code asks for when a step of it runs on a device that
/// only counts (train/plan/plan_device.h).
#pragma once
#include "autograd/device.h"
#include "train/config/config.h"
#include "train/saved/training_checkpoint.h"

#include <stdio.h>

typedef struct PlanOptions {
    /// of the whole job
    int64_t processes;
    /// steps that are really run, after one to warm up, to tell the time; 0: none. Of an evaluation
    /// eval.batch_size items are asked.
    int timed_steps;
} PlanOptions;

typedef struct PlanPart {
    const char *name;
    bool trained;
    int64_t parameters;
    /// of trained ones: the highest rate
    double learning_rate, weight_decay;
} PlanPart;

/// A file or folder that the configuration names.
typedef struct PlanFile {
    const char *key;
    char *path;
    bool found;
    /// what is in it, or what is wrong
    char *detail;
} PlanFile;

typedef struct PlanProblem {
    const char *key;
    /// with the place where the key was set
    char *message;
} PlanProblem;

typedef struct PlanData {
    /// the data set could be read
    bool known;
    DataIdentity train, eval;
    int64_t samples, with_image, missing_images, held_out_samples;
    /// and the tokenizer and the number of visual tokens
    bool lengths_known;
    /// tokenized all; otherwise some, and the rest by their words
    bool every_sample_measured;
    /// samples (of those measured) longer than model_max_length
    int64_t cut;
    /// samples (of those measured) from which nothing is learned
    int64_t unsupervised;
    /// Of these, for model_max_length cuts off the whole answer.
    int64_t answers_cut_off;
    /// of the whole run
    double tokens, supervised;
    double mean_length;
    int64_t longest;
    /// of a micro-batch of the run, on average
    double samples_per_batch, tokens_per_batch;
} PlanData;

typedef struct PlanSchedule {
    bool known;
    /// schedule_global_batch()
    int64_t global_batch, steps_per_epoch, total_steps, warmup_steps;
    /// where the run goes on
    int64_t first_step;
} PlanSchedule;

typedef enum PlanPhase {
    PHASE_FEATURES,
    PHASE_TRAINING,
    PHASE_EVALUATION,
    PHASE_ASKING,
    PHASE_COUNT
} PlanPhase;

/// Of one process, in bytes.
typedef struct PlanMemory {
    bool known;
    bool cuda;
    /// no data: every sequence as long as model_max_length
    bool assumed_longest;
    /// of the micro-batch with the highest peak
    int64_t batch_tokens, batch_images;
    int64_t peak_of[PHASE_COUNT];
    /// in which the highest peak comes
    PlanPhase phase;
    /// at that peak
    int64_t by_kind[MEMORY_KINDS];
    /// of the device, in use: the sum of by_kind
    int64_t peak;
    /// packed copies of weights
    int64_t prepared;
    /// freed blocks that are kept, at most
    int64_t kept;
    /// of the machine's memory
    int64_t feature_cache, loader, snapshot, data_index, program;
    /// of an evaluation: answers that are being written, with their attention
    int64_t answers;
    /// of the machine's memory in all: with the device's if that is the processor
    int64_t host;
    /// processes that share this machine's memory
    int64_t processes_here;
    /// available; 0: not known or no GPU
    int64_t machine, gpu;
} PlanMemory;

typedef struct PlanDisk {
    bool known;
    /// kept: checkpoints at the end; written: in all
    int64_t checkpoint_bytes, kept, written;
    /// beside what is there already
    int64_t needed;
    /// -1: not known
    int64_t free;
    /// images of data.feature_folder, bytes of one, and of their files, if none is there yet; 0
    /// without
    int64_t feature_images, feature_bytes, features;
    /// likewise, of that folder
    int64_t features_free;
} PlanDisk;

/// Of the `eval` section, where its annotations can be read.
typedef struct PlanEvaluation {
    bool known;
    const char *task;
    int64_t items;
    /// that a process puts to the model at a time; 0: stored answers are judged
    int at_once;
    /// of all answers, at most
    int64_t tokens;
    /// maps that are kept of a token; 0: none
    int layers, heads;
    /// of all answers on the disk, at most; twice as much while they are packed
    int64_t answer_bytes;
    /// where eval.output_dir is; -1: not known
    int64_t free;
    /// asked to tell the time; 0: none
    int timed_items;
    /// of one process, without judging; and of all items on all processes
    double seconds_per_item, seconds;
} PlanEvaluation;

typedef struct PlanTime {
    bool known;
    int steps;
    /// of one process; a step of one process's share
    double seconds_per_step, tokens_per_second;
    /// to fill the feature cache
    double features_seconds;
    /// of what is left of the run, on all processes
    double seconds;
} PlanTime;

typedef struct Plan {
    /// not owned
    const Config *config;
    PlanOptions options;
    /// it is the plan of an evaluation, not of a training
    bool evaluates;
    PlanPart *parts;
    int part_count;
    PlanFile *files;
    int file_count;
    PlanProblem *problems;
    int problem_count;
    /// of the configuration since the checkpoint that is gone on from, a line each; NULL: there is
    /// none
    char *changes;
    PlanData data;
    PlanSchedule schedule;
    PlanMemory memory;
    PlanDisk disk;
    PlanEvaluation evaluation;
    PlanTime time;
} Plan;

/// Whether the plan is one of an evaluation.
bool plan_is_of_evaluation(const Config *config);
/// Works everything out that can be; what cannot be is a problem. The caller frees it with
/// plan_free(). The configuration must outlive the plan.
Plan *plan_make(const Config *config, const PlanOptions *options);
void plan_free(Plan *plan);

/// For people: sections with aligned columns.
void plan_print(const Plan *plan, FILE *out);
/// The same as a JSON object; the caller frees it.
char *plan_to_json(const Plan *plan);

/// Bytes free in the file system where the folder is or will be; -1: not known.
int64_t plan_free_bytes(const char *folder);
