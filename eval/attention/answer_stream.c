#include "eval/attention/answer_stream.h"

#include <stdlib.h>
#include <string.h>

struct AnswerStream {
    const Tokenizer *tokenizer;
    const AnswerListener *listener;
    const int *questions;
    /// per sequence: bytes of the answer that were heard
    size_t *heard;
};

AnswerStream *answer_stream_new(const Tokenizer *tokenizer, const AnswerListener *listener,
                                const int *questions, int count) {
    AnswerStream *stream = checked_malloc(sizeof *stream);
    *stream = (AnswerStream){tokenizer, listener, questions,
                             checked_calloc((size_t)count + 1, sizeof *stream->heard)};
    return stream;
}

void answer_stream_free(AnswerStream *stream) {
    free(stream->heard);
    free(stream);
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
