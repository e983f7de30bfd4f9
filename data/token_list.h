/// What tokenizers give: tokens of a text, and the text of tokens.
#pragma once
#include "autograd/error.h"

#include <stddef.h>
#include <stdint.h>

/// A growing list of tokens, each with the bytes [begin, end) of the text that it stands for. Begin
/// with zeros.
typedef struct TokenList {
    int32_t *ids;
    int32_t *begin;
    int32_t *end;
    int count;
    int capacity;
} TokenList;

void token_list_append(TokenList *list, int32_t id, int32_t begin, int32_t end);
void token_list_free(TokenList *list);

typedef struct DecodedText {
    /// UTF-8, owned
    char *text;
    /// [count] byte span of each token in text: its leading space belongs to it
    int32_t *begin;
    int32_t *end;
    int count;
} DecodedText;

void decoded_text_free(DecodedText *decoded);
