/// A question on its way to its answer: its picture is seen, the prompt becomes tokens, and what
/// the language model wrote, or read, becomes the answer. eval/attention/answers.c leads the way.
#pragma once
#include "eval/attention/answers.h"

/// A question that is being answered. Zero: none.
typedef struct Asked {
    /// counts the questions that came, and those that the model answers
    int64_t number;
    int sequence;
    TokenSequence prompt;
    /// of the prompt; its image is the first of `visual`
    TokenSample sample;
    /// of its picture; retained, NULL: nothing is asked here
    Tensor *visual;
    Generation generation;
    Answer answer;
} Asked;

/// Sees the picture, unless it is the last one (`seen`, or the question's own), and makes the
/// prompt.
bool asked_begin(const AnswerOptions *options, const Question *question, SeenPicture *seen,
                 Asked *asked, Error *error);
/// Reads the answer that the question gives: `asked->answer` is complete then.
bool asked_read_given(const AnswerOptions *options, const Question *question, Asked *asked,
                      Error *error);
/// Makes the answer of a complete `asked->generation`.
void asked_take_generation(const AnswerOptions *options, Asked *asked);
void asked_free(Asked *asked);
