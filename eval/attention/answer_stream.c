#include "eval/attention/answer_stream.h"

#include <stdlib.h>
#include <string.h>

struct AnswerStream {
    const Tokenizer *tokenizer;
    const AnswerListener *listener;
    /// per sequence: its question, and how many bytes of the answer were heard
    int *questions;
    size_t *heard;
    int count;
};

AnswerStream *answer_stream_new(const Tokenizer *tokenizer, const AnswerListener *listener) {
    AnswerStream *stream = checked_calloc(1, sizeof *stream);
    stream->tokenizer = tokenizer;
    stream->listener = listener;
    return stream;
}

void answer_stream_free(AnswerStream *stream) {
    if (!stream) return;
    free(stream->questions);
    free(stream->heard);
    free(stream);
}

int answer_stream_add(AnswerStream *stream, int question) {
    size_t count = (size_t)stream->count + 1;
    stream->questions = checked_realloc(stream->questions, count * sizeof *stream->questions);
    stream->heard = checked_realloc(stream->heard, count * sizeof *stream->heard);
    stream->questions[stream->count] = question;
    stream->heard[stream->count] = 0;
    return stream->count++;
}

/// Lets the listener hear the text up to byte `end`.
static bool hear(AnswerStream *stream, int sequence, const char *text, size_t end) {
    size_t *heard = &stream->heard[sequence], begin = *heard;
    if (end > begin) *heard = end;
    return stream->listener->hear(stream->listener->context, stream->questions[sequence],
                                  text + begin, *heard - begin);
}

bool answer_stream_take(void *context, int sequence, const Generation *generation) {
    AnswerStream *stream = context;
    DecodedText decoded =
        tokenizer_decode(stream->tokenizer, generation->tokens, generation->count);
    size_t length = strlen(decoded.text); // a token of byte 0 ends it early
    size_t settled =
        tokenizer_settled(stream->tokenizer, generation->tokens, generation->count, &decoded);
    bool goes_on = hear(stream, sequence, decoded.text, settled < length ? settled : length);
    decoded_text_free(&decoded);
    return goes_on;
}

void answer_stream_end(AnswerStream *stream, int sequence, const char *answer) {
    size_t length = strlen(answer);
    if (length > stream->heard[sequence]) hear(stream, sequence, answer, length);
}
