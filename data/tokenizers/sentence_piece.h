/// The SentencePiece library behind a C interface: no exception leaves it, failures are Errors. For
/// data/tokenizers/llama_tokenizer.c only.
#pragma once
#include "autograd/error.h"

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct SentencePiece SentencePiece;

typedef enum PieceKind { PIECE_TEXT, PIECE_BYTE, PIECE_CONTROL } PieceKind;

/// Told of every piece of an encoded text: its id and the bytes [begin, end) of the text that it
/// stands for.
typedef void SentencePieceVisitor(int32_t id, int32_t begin, int32_t end, void *context);

SentencePiece *sentence_piece_open(const char *path, Error *error);
void sentence_piece_close(SentencePiece *model);
/// Safe for several threads at once.
bool sentence_piece_encode(const SentencePiece *model, const char *text, size_t length,
                           SentencePieceVisitor *visit, void *context, Error *error);
int sentence_piece_count(const SentencePiece *model);
/// -1 if the model has no such piece.
int sentence_piece_bos(const SentencePiece *model);
int sentence_piece_eos(const SentencePiece *model);
int sentence_piece_unknown(const SentencePiece *model);
/// The id of the piece written so, or that of the unknown piece.
int sentence_piece_find(const SentencePiece *model, const char *text);
/// UTF-8, spaces as U+2581; owned by the model. 0 <= id < count.
const char *sentence_piece_text(const SentencePiece *model, int id);
/// Control includes unknown and unused pieces: none of them stands for text.
PieceKind sentence_piece_kind(const SentencePiece *model, int id);

#ifdef __cplusplus
}
#endif
