/// The first half of an evaluation: every item of a task is put to the model, and what it says and
/// where it looks goes to a store.
#pragma once
#include "eval/attention/answer_store.h"
#include "eval/attention/answers.h"
#include "eval/tasks/items.h"

/// How long an evaluation's half has been going on: items done by this process, and in all.
typedef struct EvaluationProgress {
    void (*report)(void *context, int64_t done, int64_t total);
    void *context;
} EvaluationProgress;

typedef struct AskingOptions {
    const Task *task;
    const void *data;
    const EvaluationOptions *evaluation;
    AnswerOptions answers;
    /// the store; the folder exists
    const char *folder;
    const json_t *asked_with;
    /// of the journals of this run: answer_store_next_round() before any process writes
    int round;
    /// items asked at once; results do not depend on it
    int batch_size;
    int process, num_processes;
    EvaluationProgress progress;
} AskingOptions;

/// Items that have no answer in the store (NULL: there is none) yet: indices, owned by the caller.
/// With num_processes > 1 those of this process: images are dealt out one by one.
int64_t *asking_missing(const AskingOptions *options, const AnswerStore *store, int64_t *count);

/// Asks the items [count], all at once; nothing is written. The caller frees every answer; on
/// failure there is none to be freed.
bool asking_answers(const AskingOptions *options, const int64_t *items, int count, Answer *answers,
                    Error *error);

/// Asks the items [count] and writes each answer as soon as it is complete. On failure, or when the
/// program is asked to stop, what was answered before is in the store; answers that were under way
/// are lost, at most batch_size of them.
bool asking_run(const AskingOptions *options, const int64_t *items, int64_t count, Error *error);
