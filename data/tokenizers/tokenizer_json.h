/// Hugging Face's `tokenizer.json`: byte-pair encodings over bytes as Llama 3, Qwen2, SmolLM2 and
/// GPT-2 have them, and over characters with byte fallback as conversions of SentencePiece models
/// (Llama 2) have them. For data/tokenizers/tokenizer.c only.
///
/// Ids equal those of the `tokenizers` package; what a file asks for beyond that is refused, naming
/// its key.
#pragma once
#include "data/token_list.h"

typedef struct TokenizerJson TokenizerJson;

/// Opens the file. Which tokens begin and end a sequence is read from tokenizer_config.json, or
/// special_tokens_map.json, beside it. NULL on failure.
TokenizerJson *tokenizer_json_open(const char *path, Error *error);
void tokenizer_json_close(TokenizerJson *tokenizer);

/// One more than the highest id.
int tokenizer_json_count(const TokenizerJson *tokenizer);
/// -1 if there is none.
int32_t tokenizer_json_bos(const TokenizerJson *tokenizer);
int32_t tokenizer_json_eos(const TokenizerJson *tokenizer);
int32_t tokenizer_json_pad(const TokenizerJson *tokenizer);
bool tokenizer_json_adds_bos(const TokenizerJson *tokenizer);
/// NULL for an id without a token.
const char *tokenizer_json_text(const TokenizerJson *tokenizer, int32_t id);
int32_t tokenizer_json_id(const TokenizerJson *tokenizer, const char *text);

/// As the functions of that name in tokenizer.h.
bool tokenizer_json_is_special(const TokenizerJson *tokenizer, int32_t id);
bool tokenizer_json_encode(const TokenizerJson *tokenizer, const char *text, size_t length,
                           TokenList *list, Error *error);
DecodedText tokenizer_json_decode(const TokenizerJson *tokenizer, const int32_t *ids, int count);
size_t tokenizer_json_settled(const TokenizerJson *tokenizer, const int32_t *ids, int count,
                              const DecodedText *decoded);
