/// A conversation as one text, as its template writes it, for conversation.c.
#pragma once
#include "autograd/text/byte_buffer.h"
#include "data/conversation.h"

/// Stands in a turn where its image goes.
extern const char IMAGE_MARK[];

/// Bytes [begin, end).
typedef struct Span {
    int32_t begin;
    int32_t end;
} Span;

typedef struct Prompt {
    ByteBuffer text;
    /// byte at which the image goes (between two bytes of text); -1 without one
    int64_t image;
    /// supervised bytes, in order
    Span *spans;
    int span_count;
} Prompt;

/// Refuses a template whose tokens the tokenizer lacks.
bool conversation_check_template(const Tokenizer *tokenizer, ConversationTemplate kind,
                                 Error *error);
/// Writes the turns, which begin with a human one, into an empty prompt. `opens_answer`: and what
/// stands before the next answer.
void conversation_write(Prompt *prompt, const Tokenizer *tokenizer,
                        const ConversationFormat *format, const Turn *turns, int count,
                        bool has_image, bool opens_answer);
/// As the template `plain` does. answer: NULL: the image alone.
void conversation_write_plain(Prompt *prompt, const char *answer, bool has_image);
void prompt_free(Prompt *prompt);
