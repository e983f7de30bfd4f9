/// Answers while they are written: their text piece by piece, nothing of which is ever taken back.
#pragma once
#include "data/tokenizers/tokenizer.h"
#include "models/language/llama_generate.h"

/// Who listens to answers.
typedef struct AnswerListener {
    /// The next piece of the answer to a question, at every token that the model writes: text that
    /// stays as it is, without a zero at its end, empty where a token has none (yet). All pieces of
    /// an answer together are the answer. Returns whether the answer goes on; false cuts it off
    /// behind that token.
    bool (*hear)(void *context, int question, const char *piece, size_t length);
    void *context;
} AnswerListener;

typedef struct AnswerStream AnswerStream;

/// What is given must outlive the stream.
AnswerStream *answer_stream_new(const Tokenizer *tokenizer, const AnswerListener *listener);
/// NULL is allowed.
void answer_stream_free(AnswerStream *stream);
/// A sequence begins that answers this question. Returns its number: 0, 1, ...
int answer_stream_add(AnswerStream *stream, int question);
/// GenerationOptions.taken, with the stream as context.
bool answer_stream_take(void *stream, int sequence, const Generation *generation);
/// The sequence's answer is this: the listener hears what is left of it.
void answer_stream_end(AnswerStream *stream, int sequence, const char *answer);
