/// Which tokens end an answer.
///
/// What the model's files say comes first: eos_token_id of generation_config.json, or else of
/// config.json, ends a text (models/language/llama_config.h). Those files often name the end of a
/// text alone, where a chat template ends every turn with a token of its own, behind which a model
/// goes on with the other's turn. So an answer ends as well with
///   - the tokenizer's end: eos_token of tokenizer_config.json or special_tokens_map.json beside a
///     tokenizer.json, </s> of a SentencePiece model;
///   - the token that the conversation's template ends an answer with;
///   - every token with which a published chat template ends a turn or a text (<|im_end|>,
///     <|eot_id|>, <end_of_turn>, <|end|>, <|endoftext|>, ...), if the tokenizer has it as a
///     special token, which stands for no text. Where such a text is an ordinary token, it is text.
#pragma once
#include "data/conversation.h"

enum { MOST_END_TOKENS = 16 };

/// Writes the ids, each once, and returns how many there are. Those of the model's files are not
/// looked at.
int end_tokens_find(const Tokenizer *tokenizer, ConversationTemplate kind,
                    int32_t ids[MOST_END_TOKENS]);
