#include "train/evaluation/evaluation_similarity.h"

bool evaluation_similarity_needs_device(const Config *config, const Task *task) {
    return config->eval.bert && task == &TASK_GCG;
}

bool evaluation_similarity_open(const Config *config, const Task *task, Device *device,
                                EvaluationOptions *options, BertSimilarity **bert, Error *error) {
    *bert = NULL;
    options->similarity = word_similarity;
    if (!evaluation_similarity_needs_device(config, task)) return true;
    *bert = bert_similarity_open(config->eval.bert, device, error);
    if (!*bert) return false;
    options->similarity = bert_similarity;
    options->similarity_context = *bert;
    options->similarity_is_bert = true;
    return true;
}
