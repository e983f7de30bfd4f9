/// Asking the model about images, with the attention that its answers pay to them.
///
/// An answer and its maps are a function of its question alone: the networks that see see one image
/// at a time, and what is generated does not depend on what else is generated beside it
/// (models/language/llama_generate.h). So questions may be put together as memory and speed want.
#pragma once
#include "data/conversation.h"
#include "data/images/preprocess.h"
#include "eval/attention/answer.h"
#include "eval/attention/answer_stream.h"
#include "models/difflmm.h"

typedef struct AnswerOptions {
    const DiffLMM *model;
    const Tokenizer *tokenizer;
    ConversationFormat format;
    ImageAspect image_aspect;
    ImageNormalization image_normalization;
    /// its `attention` selects layers and heads; NULL: attention is not looked at, and answers have
    /// no maps
    GenerationOptions generation;
    /// whose attention a token's map is
    AttentionRow row;
    /// hears what the model answers while it does; NULL: nobody
    const AnswerListener *listener;
} AnswerOptions;

/// The picture that was seen last, with its noise. Zero: none; free with seen_picture_free().
typedef struct SeenPicture {
    const Image *image;
    uint64_t index;
    ImageGeometry geometry;
    /// [1,N,d] what the language model sees of it; retained
    Tensor *visual;
} SeenPicture;

void seen_picture_free(SeenPicture *seen);

/// What is asked: a picture (owned by the caller) and a question about it.
typedef struct Question {
    const Image *image;
    const char *text;
    /// what was said before about the same picture, human and gpt in turns; NULL: nothing
    const Turn *earlier;
    int num_earlier;
    /// decides the noise: the same index, the same noise. Neighbours with the same picture and
    /// index are seen once.
    uint64_t index;
    /// the caller's, for further questions about a picture that stays as it is: seen once, answered
    /// alike. To be freed before the picture changes. NULL: nothing is kept
    SeenPicture *seen;
    /// decides what is drawn where answers are drawn: the same number, the same random numbers
    uint64_t number;
    /// the answer, if it is given and only read: texts, each tokenized on its own; NULL: the model
    /// answers
    const char *const *utterances;
    int num_utterances;
} Question;

/// Where questions come from and answers go.
typedef struct QuestionFeed {
    void *context;
    /// Gives the next question, which must stay until the next call; its image NULL: there is none
    /// left. False on failure.
    bool (*next)(void *context, Question *question, Error *error);
    /// Takes an answer over as soon as it is complete; number: of its question, from 0 in the order
    /// in which they came. False on failure.
    bool (*answered)(void *context, int64_t number, Answer *answer, Error *error);
} QuestionFeed;

/// Answers the questions of a feed, `at_once` of them at a time: as one is answered, the next takes
/// its place. When a question cannot be asked (a picture too thin or damaged, words that cannot be
/// tokenized), those before it are answered still. Fails also when the program is asked to stop or
/// an answer is not taken: then answers that are not complete are lost.
bool answer_feed(const AnswerOptions *options, int at_once, const QuestionFeed *feed, Error *error);

/// Answers all questions together. On failure nothing is to be freed; else the caller frees every
/// answer.
bool answer_questions(const AnswerOptions *options, const Question *questions, int count,
                      Answer *answers, Error *error);
