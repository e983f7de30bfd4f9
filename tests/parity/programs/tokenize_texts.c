// Tokenizes the texts that come on stdin, for tests/parity/check_tokenizer.py.
//
//   tokenize_texts TOKENIZER <texts >results      TOKENIZER: as tokenizer_open() takes it, or a
//   BERT vocab.txt
//
// A text is its length as an unsigned 32-bit number and its bytes. A result is the number of
// tokens, their ids (32 bits each), the length of what decoding them gives, and its bytes.
#include "data/tokenizers/tokenizer.h"
#include "data/tokenizers/word_piece.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct Opened {
    Tokenizer *tokenizer;
    /// one of the two; it decodes nothing
    WordPiece *word_piece;
} Opened;

static void write_answer(const TokenList *list, const char *text) {
    const uint32_t count = (uint32_t)list->count, bytes = (uint32_t)strlen(text);
    fwrite(&count, sizeof count, 1, stdout);
    if (count > 0) fwrite(list->ids, sizeof *list->ids, count, stdout);
    fwrite(&bytes, sizeof bytes, 1, stdout);
    fwrite(text, 1, bytes, stdout);
}

static bool answer(const Opened *opened, const char *text, size_t length, Error *error) {
    TokenList list = {0};
    const bool done = opened->word_piece
                          ? word_piece_encode(opened->word_piece, text, length, &list, error)
                          : tokenizer_encode(opened->tokenizer, text, length, &list, error);
    if (done && opened->word_piece) {
        write_answer(&list, "");
    } else if (done) {
        DecodedText decoded = tokenizer_decode(opened->tokenizer, list.ids, list.count);
        write_answer(&list, decoded.text);
        decoded_text_free(&decoded);
    }
    token_list_free(&list);
    return done;
}

static Opened open_path(const char *path, Error *error) {
    const size_t length = strlen(path);
    if (length >= 9 && strcmp(path + length - 9, "vocab.txt") == 0)
        return (Opened){.word_piece = word_piece_open(path, true, error)};
    return (Opened){.tokenizer = tokenizer_open(path, error)};
}

int main(int count, char **arguments) {
    Error error = {0};
    Opened opened = {0};
    if (count == 2) opened = open_path(arguments[1], &error);
    if (!opened.tokenizer && !opened.word_piece) {
        fprintf(stderr, "%s\n", count == 2 ? error.message : "usage: tokenize_texts TOKENIZER");
        return 1;
    }
    uint32_t length;
    bool done = true;
    while (done && fread(&length, sizeof length, 1, stdin) == 1) {
        char *text = checked_malloc((size_t)length + 1);
        done = fread(text, 1, length, stdin) == length && answer(&opened, text, length, &error);
        free(text);
    }
    tokenizer_close(opened.tokenizer);
    word_piece_close(opened.word_piece);
    if (!done) fprintf(stderr, "%s\n", error.message);
    return done ? 0 : 1;
}
