/// Inside the plan only: what its parts (train/plan_*.c) share.
#pragma once
#include "train/plan/plan.h"
#include "train/trainer/model_setup.h"

#include "data/llava_dataset.h"
#include "data/loader/sampler.h"
#include "eval/tasks/tasks.h"

/// Appends a problem with this key. `message` is copied.
void plan_refuse(Plan *plan, const char *key, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/// Appends a problem whose message says already where the key was set; it is copied.
void plan_add_problem(Plan *plan, const char *key, const char *message);
/// Appends a file; takes over `detail` (NULL: nothing to say). A file that is not found is a
/// problem too.
void plan_add_file(Plan *plan, const char *key, const char *path, bool found, char *detail);

/// The networks and parameters on a device that counts.
typedef struct PlanModel {
    Device *device;
    /// NULL: could not be put together
    DiffLMM *model;
    ParameterSet parameters;
    /// NULL: could not be read
    Tokenizer *tokenizer;
} PlanModel;

/// Whether the job would run on a GPU.
bool plan_wants_cuda(const Config *config);

/// Reads headers, counts parameters, reports what does not fit together.
void plan_model_open(Plan *plan, PlanModel *model);
void plan_model_close(PlanModel *model);

/// A micro-batch, tokenized.
typedef struct PlanBatch {
    TokenSequence *sequences;
    int count;
} PlanBatch;

void plan_batch_free(PlanBatch *batch);

enum { PLAN_BATCHES = 6 };

/// The micro-batches that may need most memory.
typedef struct PlanBatches {
    PlanBatch training[PLAN_BATCHES], evaluation;
    int training_count;
    /// of training and held-out data
    int64_t cached_images;
} PlanBatches;

/// Of each sample of a data set.
typedef struct PlanLengths {
    /// visual tokens counted, cut
    int32_t *tokens, *supervised;
    double per_word, supervised_per_word;
} PlanLengths;

/// As the run will tokenize the sample.
bool plan_tokenize(const Plan *plan, const PlanModel *model, const Dataset *data, int64_t index,
                   TokenSequence *sequence, Error *error);
/// Of a sample of the run.
void plan_note_length(Plan *plan, int64_t length);
/// Goes through the run's micro-batches: sums their tokens into plan->data and keeps the largest.
void plan_find_batches(Plan *plan, const PlanModel *model, const Dataset *data, Sampler *sampler,
                       const PlanLengths *lengths, PlanBatches *batches);
/// Keeps the largest of the held-out batches: the first samples, in order.
void plan_find_evaluation(Plan *plan, const PlanModel *model, const Dataset *data,
                          PlanBatches *batches);

/// Reads the data sets; fills plan->data, plan->schedule and the batches. `model` says what an
/// image becomes.
void plan_data(Plan *plan, const PlanModel *model, PlanBatches *batches);
void plan_batches_free(PlanBatches *batches);

/// Looks for what eval.tasks names; what is wrong with it is a problem.
void plan_tasks(Plan *plan);
/// Of a training.
void plan_memory(Plan *plan, PlanModel *model, const PlanBatches *batches);
/// Notes the device's peak as one of this phase. Whether it is the highest so far.
bool plan_note_peak(PlanMemory *memory, PlanPhase phase, const Device *device);
/// What the machine has for the job's processes.
void plan_machine(Plan *plan);
/// Puts what is needed on the device and beside it together.
void plan_sum_memory(Plan *plan, Device *device);
/// Refuses what the machine does not have; keys: what to change for less of the device's memory,
/// and of the machine's.
void plan_check_fit(Plan *plan, const char *device_key, const char *host_key, const char *advice);
/// Checkpoints that would be gone on from. After plan_data(), which knows the data.
void plan_resume(Plan *plan, PlanModel *model);
void plan_disk(Plan *plan, const PlanModel *model, const PlanBatches *batches);
/// What an evaluation's answers take on the disk. Nothing where its files are not there.
void plan_answers(Plan *plan, const PlanModel *model);
/// The same and the memory of asking; what is missing is a problem.
void plan_evaluation(Plan *plan, PlanModel *model);
/// As train/trainer/answer_setup.h wants the model.
ModelSetup plan_model_setup(const Plan *plan, const PlanModel *model);
/// Asks as many questions at once as the evaluation does, each the longest.
void plan_asking_memory(Plan *plan, ModelSetup *setup, const Task *task, const void *data);
void plan_time(Plan *plan);
void plan_asking_time(Plan *plan);

extern const char *const PLAN_KIND_NAMES[MEMORY_KINDS], *const PLAN_PHASE_NAMES[PHASE_COUNT];
