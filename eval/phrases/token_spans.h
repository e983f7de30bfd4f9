/// Which tokens of a decoded text (DecodedText, Answer) a word of it is made of.
#pragma once
#include <stdint.h>

/// The tokens that share at least a byte with bytes [begin, end) of the text, in order; returns
/// their number.
///
/// token_begin, token_end [num_tokens]: each token's bytes in the text, as tokenizer_decode() gives
/// them: the blank before a word belongs to the word's first token, a character that several
/// byte tokens make up is divided among them, and special tokens have no bytes, so that no word is
/// made of them. tokens [num_tokens]: room for the answer.
int tokens_of_span(const int32_t *token_begin, const int32_t *token_end, int num_tokens,
                   int32_t begin, int32_t end, int *tokens);
