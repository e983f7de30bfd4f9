// Tokenizes the texts that come on stdin, for tests/parity/check_tokenizer.py.
//
//   tokenize_texts TOKENIZER <texts >results
//
// A text is its length as an unsigned 32-bit number and its bytes. A result is the number of tokens, their ids (32 bits each), the
// length of what decoding them gives, and its bytes.
#include "data/tokenizer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool answer(const Tokenizer *tokenizer, const char *text, size_t length, Error *error) {
    TokenList list = {0};
    if (!tokenizer_encode(tokenizer, text, length, &list, error)) return false;
    DecodedText decoded = tokenizer_decode(tokenizer, list.ids, list.count);
    const uint32_t count = (uint32_t)list.count, bytes = (uint32_t)strlen(decoded.text);
    fwrite(&count, sizeof count, 1, stdout);
    fwrite(list.ids, sizeof *list.ids, count, stdout);
    fwrite(&bytes, sizeof bytes, 1, stdout);
    fwrite(decoded.text, 1, bytes, stdout);
    decoded_text_free(&decoded);
    token_list_free(&list);
    return true;
}

int main(int count, char **arguments) {
    Error error = {0};
    Tokenizer *tokenizer = count == 2 ? tokenizer_open(arguments[1], &error) : NULL;
    if (!tokenizer) {
        fprintf(stderr, "%s\n", count == 2 ? error.message : "usage: tokenize_texts TOKENIZER");
        return 1;
    }
    uint32_t length;
    bool done = true;
    while (done && fread(&length, sizeof length, 1, stdin) == 1) {
        char *text = checked_malloc((size_t)length + 1);
        done = fread(text, 1, length, stdin) == length && answer(tokenizer, text, length, &error);
        free(text);
    }
    tokenizer_close(tokenizer);
    if (!done) fprintf(stderr, "%s\n", error.message);
    return done ? 0 : 1;
}
