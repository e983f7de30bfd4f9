/// Asking the model about images, with the attention that its answers pay to them.
#pragma once
#include "data/conversation.h"
#include "data/images/preprocess.h"
#include "eval/attention/grounding.h"
#include "models/difflmm.h"

typedef struct AnswerOptions {
    const DiffLMM *model;
    const Tokenizer *tokenizer;
    ConversationFormat format;
    ImageAspect image_aspect;
    /// its `attention` selects layers and heads; mean must be set
    GenerationOptions generation;
    /// whose attention a token's map is
    AttentionRow row;
} AnswerOptions;

/// What is asked: a picture (owned by the caller) and a question about it.
typedef struct Question {
    const Image *image;
    const char *text;
    /// decides the noise: the same index, the same noise
    uint64_t index;
} Question;

typedef struct ImageAnswer {
    Answer answer;
    /// how the picture lies in the square that the model saw
    ImageGeometry geometry;
    /// by the model, not by max_new_tokens
    bool ended;
} ImageAnswer;

/// Answers all questions in one batch. On failure (a picture too thin, a question that cannot be
/// tokenized) nothing is to be freed; else the caller frees every answers[i].answer.
bool answer_questions(const AnswerOptions *options, const Question *questions, int count,
                      ImageAnswer *answers, Error *error);
