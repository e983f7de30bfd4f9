/// WordPiece as BERT uses it (bert-base-uncased's `vocab.txt`): text is cleaned, in lower case and
/// without accents, cut at white space, punctuation and Chinese characters, and each word is the
/// longest pieces of the vocabulary from its start on, all but the first written "##piece" [Devlin
/// et al. 2019, arXiv 1810.04805]. Ids equal those of the `tokenizers` package, but for the marks
/// and punctuation of scripts that are newer than its tables (Unicode 8).
#pragma once
#include "data/token_list.h"

typedef struct WordPiece WordPiece;

/// Opens a vocabulary, one token a line, or a model directory with `vocab.txt`. `lowercase`: as the
/// model's "do_lower_case", which strips accents as well. NULL on failure.
WordPiece *word_piece_open(const char *path, bool lowercase, Error *error);
void word_piece_close(WordPiece *tokenizer);

/// Appends the tokens of text[0, length), without [CLS] and [SEP] around them; "[SEP]" and the like
/// in the text are those tokens. Spans are relative to `text`. Safe for several threads at once.
bool word_piece_encode(const WordPiece *tokenizer, const char *text, size_t length, TokenList *list,
                       Error *error);

int word_piece_vocabulary_size(const WordPiece *tokenizer);
/// What stands before and after a text: [CLS] and [SEP].
int32_t word_piece_cls(const WordPiece *tokenizer);
int32_t word_piece_sep(const WordPiece *tokenizer);
int32_t word_piece_unknown(const WordPiece *tokenizer);
int32_t word_piece_pad(const WordPiece *tokenizer);
/// "" for an id outside of the vocabulary.
const char *word_piece_text(const WordPiece *tokenizer, int32_t id);
