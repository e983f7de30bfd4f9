/// The `eval` section as eval/ wants it, its defaults filled in by the task.
#pragma once
#include "autograd/output/output_folder.h"
#include "eval/attention/answer_store.h"
#include "eval/tasks/tasks.h"
#include "train/config/config.h"
#include "train/group/process_group.h"
#include "train/group/run_lock.h"
#include "train/trainer/model_setup.h"

const Task *evaluation_task(const Config *config);
/// What the model is asked where there is no expression to be put in: of `ground`, `features` and
/// samples in training as well.
const char *evaluation_prompt(const Config *config);
int evaluation_max_new_tokens(const Config *config);
AttentionRow evaluation_row(const Config *config);
GroupReduction evaluation_reduction(const Config *config);

/// The files that the task needs are given, or an error that says what each is.
bool evaluation_require_files(const Config *config, Error *error);
/// And where results go.
bool evaluation_require(const Config *config, Error *error);

/// Everything but the model. The options refer to the configuration.
EvaluationOptions evaluation_options(const Config *config);
/// Answers whose layers and heads lie apart are judged by eval.layers and eval.heads; those that
/// were averaged when they were asked are taken as they are, and that others are named is refused.
/// `asked_with`: the store's.
bool evaluation_select_maps(const Config *config, const json_t *asked_with,
                            GroundingOptions *grounding, Error *error);

/// The answers in a folder: our own, or of eval.answers also groundLMM's. asked_with:
/// answer_store_open()'s. NULL on failure.
AnswerStore *evaluation_open_answers(const Config *config, const char *folder,
                                     const json_t *asked_with, Error *error);

/// What answers depend on, for the store: the configuration's keys, the content of eval.checkpoint,
/// the frozen networks by name and size, and the task's items (data NULL: left out). NULL on
/// failure. The caller has the reference.
json_t *evaluation_asked_with(const Config *config, const Task *task, const void *data,
                              Error *error);
/// The same but for eval.checkpoint, which need not be there yet.
json_t *evaluation_asked_of_any(const Config *config, const Task *task, const void *data,
                                Error *error);
/// Whether answers depend on this key of the configuration.
bool evaluation_is_asked_with(const char *key);
/// What an answer to any question about any picture depends on, and what is made of it. NULL on
/// failure. The caller has the reference.
json_t *evaluation_grounded_with(const Config *config, Error *error);
/// What verdicts depend on beside the answers; asked_with: theirs, NULL: left out.
json_t *evaluation_judged_with(const Config *config, const json_t *asked_with);

/// The segmenter that the configuration names; *segmenter is NULL if it names none. `device`: where
/// a network runs.
bool evaluation_segmenter(const Config *config, Device *device, Segmenter **segmenter,
                          Error *error);

// ---- before anything is asked

/// There are items, each with an id of its own, and their pictures, where they are looked at.
bool evaluation_check_items(const Config *config, const Task *task, const void *data,
                            const EvaluationOptions *options, Error *error);
/// Settings, items, checkpoint and networks are the same on every rank; every rank calls it.
/// asked_with: NULL where stored answers are judged.
bool evaluation_is_one_job(const Config *config, const json_t *asked_with, ProcessGroup *group,
                           Error *error);

/// eval.output_dir and answers/ in it, for this evaluation alone. Zeros are none.
typedef struct EvaluationFolders {
    OutputFolder output, answers;
    RunLock *lock;
} EvaluationFolders;

/// To be ended by evaluation_leave_folders(), also on failure.
bool evaluation_take_folders(const Config *config, EvaluationFolders *folders, Error *error);
/// Gives the lock back; folders that were made for an evaluation that failed go again, as far as
/// nothing is in them.
void evaluation_leave_folders(EvaluationFolders *folders, bool has_failed);
