/// How a configured model answers, and whose attention is read: the `eval` section as
/// eval/attention/answers.h wants it.
#pragma once
#include "data/end_tokens.h"
#include "eval/attention/answers.h"
#include "train/trainer/model_setup.h"

typedef struct AnswerSetup {
    /// points into this struct
    AnswerOptions options;
    AttentionSelection selection;
    /// what ends an answer beside what the model's files name
    int32_t end_tokens[MOST_END_TOKENS];
} AnswerSetup;

/// Fails, naming the key, if eval.layers or eval.heads list what the model does not have. *out must
/// not be moved afterwards; it points into the configuration as well, and owns nothing.
bool answer_setup(const Config *config, const ModelSetup *setup, AnswerSetup *out, Error *error);
