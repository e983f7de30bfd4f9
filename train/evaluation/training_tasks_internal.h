/// Inside of training_tasks.h only: what opening and measuring share.
#pragma once
#include "train/evaluation/evaluation_similarity.h"
#include "train/evaluation/evaluation_tools.h"
#include "train/evaluation/training_tasks.h"
#include "train/trainer/answer_setup.h"

typedef struct TrainingTask {
    /// what its figures' names begin with
    char *name;
    /// as it stands in eval.tasks; the configuration's
    const char *entry;
    /// whose section `eval` it takes; NULL: the run's own
    Config *file;
    /// the run's configuration with that section. It owns nothing.
    Config config;
    const Task *task;
    EvaluationOptions options;
    void *data;
    /// the run's, but for the seed of its noise, which is eval.seed
    DiffLMM model;
    AnswerSetup answers;
    JudgingOptions judging;
    BertSimilarity *bert;
    /// what figures depend on beside the weights
    json_t *basis;
    char **figures;
    int num_figures;
} TrainingTask;

struct TrainingTasks {
    const Config *config;
    /// not to be moved: answers point into themselves
    TrainingTask *items;
    int count;
};
