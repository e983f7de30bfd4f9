/// Text to token ids and back: a SentencePiece model as Hugging Face's LlamaTokenizer (legacy mode,
/// which LLaVA uses) does it, or a tokenizer.json (Llama 3, Qwen2, SmolLM2, GPT-2) as the
/// `tokenizers` package does it.
///
/// A tokenizer may be used by several threads at once.
#pragma once
#include "data/token_list.h"

typedef struct Tokenizer Tokenizer;

/// Opens a SentencePiece model or a tokenizer.json: a file, or a model directory, where
/// `tokenizer.model` is taken before `tokenizer.json`. NULL on failure.
Tokenizer *tokenizer_open(const char *path, Error *error);
void tokenizer_close(Tokenizer *tokenizer);
/// The file that tokenizer_open() reads; the caller frees it.
char *tokenizer_file(const char *path);
/// Of the tokenizer's file and of what it makes of tokens: another number means that another text
/// may become other tokens.
uint64_t tokenizer_checksum(const Tokenizer *tokenizer);
/// One more than the highest id.
int tokenizer_vocabulary_size(const Tokenizer *tokenizer);
/// The token that begins a sequence; -1 for a tokenizer without one (Qwen2).
int32_t tokenizer_bos(const Tokenizer *tokenizer);
/// Whether a text alone is tokenized with that token in front: Llama yes, SmolLM2 no.
bool tokenizer_adds_bos(const Tokenizer *tokenizer);
int32_t tokenizer_eos(const Tokenizer *tokenizer);
/// LLaVA pads with the unknown token of a SentencePiece model.
int32_t tokenizer_pad(const Tokenizer *tokenizer);

/// Appends the tokens of text[0, length). No beginning-of-sequence token is added. Special tokens
/// in the text become those tokens (of a SentencePiece model: "<s>", "</s>" and "<unk>"), and the
/// text between them is tokenized piece by piece; with SentencePiece each piece has its own leading
/// space (this is what "legacy" means). Spans are relative to `text`; a token for an added space
/// has an empty span. Where a tokenizer.json normalizes text, tokens share the span of the
/// characters that changed.
bool tokenizer_encode(const Tokenizer *tokenizer, const char *text, size_t length, TokenList *list,
                      Error *error);

/// The piece as the model writes it (spaces as U+2581, bytes as <0x0A>; or in GPT-2's letters, a
/// space as U+0120), or "" for an id outside of the vocabulary.
const char *tokenizer_piece(const Tokenizer *tokenizer, int32_t id);
/// The id of a piece written so ("<|im_end|>"), or -1.
int32_t tokenizer_piece_id(const Tokenizer *tokenizer, const char *piece);
/// Whether a token stands for no text: a special token of a tokenizer.json; of a SentencePiece
/// model a control piece, or one that is unknown or unused. An id outside of the vocabulary does.
bool tokenizer_is_special(const Tokenizer *tokenizer, int32_t id);

/// Text of the tokens, without special tokens (their spans are empty; so are those of ids outside
/// of the vocabulary) and, of a SentencePiece model, without the leading space of the first. Bytes
/// that are not UTF-8 become U+FFFD.
DecodedText tokenizer_decode(const Tokenizer *tokenizer, const int32_t *ids, int count);
/// How many bytes of that text stay as they are whatever tokens follow. What may change is at its
/// end: a part of a character, and where a tokenizer.json has bytes as tokens, a run of these.
size_t tokenizer_settled(const Tokenizer *tokenizer, const int32_t *ids, int count,
                         const DecodedText *decoded);
