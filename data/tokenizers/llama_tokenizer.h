/// A SentencePiece model used as Hugging Face's LlamaTokenizer in legacy mode, which LLaVA uses:
/// <s>, </s> and <unk> in a text are those tokens, and the text between them is tokenized piece by
/// piece. For data/tokenizers/tokenizer.c only.
#pragma once
#include "data/token_list.h"

typedef struct LlamaTokenizer LlamaTokenizer;

LlamaTokenizer *llama_tokenizer_open(const char *path, Error *error);
void llama_tokenizer_close(LlamaTokenizer *tokenizer);
int llama_tokenizer_count(const LlamaTokenizer *tokenizer);
int32_t llama_tokenizer_bos(const LlamaTokenizer *tokenizer);
int32_t llama_tokenizer_eos(const LlamaTokenizer *tokenizer);
int32_t llama_tokenizer_unknown(const LlamaTokenizer *tokenizer);
/// NULL for an id outside of the vocabulary.
const char *llama_tokenizer_text(const LlamaTokenizer *tokenizer, int32_t id);
/// -1 if there is no such piece.
int32_t llama_tokenizer_id(const LlamaTokenizer *tokenizer, const char *text);

/// As the functions of that name in tokenizer.h.
bool llama_tokenizer_is_special(const LlamaTokenizer *tokenizer, int32_t id);
bool llama_tokenizer_encode(const LlamaTokenizer *tokenizer, const char *text, size_t length,
                            TokenList *list, Error *error);
DecodedText llama_tokenizer_decode(const LlamaTokenizer *tokenizer, const int32_t *ids, int count);
size_t llama_tokenizer_settled(const DecodedText *decoded);
