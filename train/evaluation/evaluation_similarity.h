/// How an evaluation compares phrases, with what that needs.
#pragma once
#include "eval/phrases/phrase_similarity.h"
#include "eval/tasks/tasks.h"
#include "train/config/config.h"

/// Whether a network compares them, for which a device is needed.
bool evaluation_similarity_needs_device(const Config *config, const Task *task);
/// Sets the options' similarity. *bert, to be closed by bert_similarity_close(), is NULL where
/// words are compared; `device` may then be NULL.
bool evaluation_similarity_open(const Config *config, const Task *task, Device *device,
                                EvaluationOptions *options, BertSimilarity **bert, Error *error);
