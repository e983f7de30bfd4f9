/// The second half of an evaluation: stored answers become verdicts, and verdicts figures. Needs no
/// model.
#pragma once
#include "eval/tasks/asking.h"

typedef struct JudgingOptions {
    const Task *task;
    const void *data;
    const EvaluationOptions *evaluation;
    const AnswerStore *store;
    Segmenter *segmenter;
    struct PhraseFinder *phrases;
    /// what verdicts depend on beside the answers: verdicts of a run that was cut short and was
    /// judged with the same are used
    const json_t *judged_with;
    /// exists
    const char *folder;
    int process, num_processes;
    EvaluationProgress progress;
} JudgingOptions;

/// The picture under judgement, kept from one item to the next.
typedef struct JudgedPicture {
    /// to be freed behind the last item
    Image picture;
    /// the items' image; -1: none yet
    int64_t image;
} JudgedPicture;

/// The verdict about an answer to an item, whether or not it is stored; the caller has the
/// reference. NULL on failure. Of the options store, folder and progress are not looked at.
json_t *judging_verdict(const JudgingOptions *options, int64_t index, const Answer *answer,
                        JudgedPicture *seen, Error *error);

/// Every item has an answer in the store.
bool judging_check_answers(const JudgingOptions *options, Error *error);
/// The stored answer to an item, to be freed with answer_free(): about that picture, and with maps
/// if the task looks at them.
bool judging_read_answer(const Task *task, const EvaluationOptions *evaluation,
                         const AnswerStore *store, const TaskItem *item, const Image *picture,
                         Answer *answer, Error *error);
/// Judges this process's share of the items and appends the verdicts to its journal in the folder.
/// All processes may do so at the same time, after one of them has called judging_clean().
bool judging_run(const JudgingOptions *options, Error *error);
/// Removes the folder's journals of verdicts that were judged with something else.
bool judging_clean(const JudgingOptions *options, Error *error);

/// The verdicts of all items, [evaluation_items()], in their order; the caller frees them with
/// verdicts_free(). NULL if one is missing or damaged.
json_t **judging_collect(const JudgingOptions *options, int64_t *count, Error *error);
void verdicts_free(json_t **verdicts, int64_t count);
/// Removes all journals of verdicts.
void judging_remove_journals(const JudgingOptions *options);
