#include "data/tokenizers/llama_tokenizer.h"
#include "autograd/text/byte_buffer.h"
#include "autograd/text/utf8.h"
#include "data/tokenizers/sentence_piece.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char SPACE_MARK[] = "\xe2\x96\x81"; // U+2581

enum { SPECIAL_COUNT = 3 };

struct LlamaTokenizer {
    SentencePiece *model;
    /// recognised in text; -1: the model has none
    int32_t special[SPECIAL_COUNT];
};

/// What the model says is put together from its pieces, and everybody takes it for text.
static bool pieces_are_text(const SentencePiece *model, const char *path, Error *error) {
    for (int i = 0; i < sentence_piece_count(model); i++) {
        const char *piece = sentence_piece_text(model, i);
        if (!is_utf8(piece, strlen(piece)))
            return error_set(error, "%s: piece %d is not UTF-8: a damaged tokenizer", path, i);
    }
    return true;
}

LlamaTokenizer *llama_tokenizer_open(const char *path, Error *error) {
    SentencePiece *model = sentence_piece_open(path, error);
    if (!model) return NULL;
    LlamaTokenizer *tokenizer = checked_calloc(1, sizeof *tokenizer);
    tokenizer->model = model;
    tokenizer->special[0] = sentence_piece_bos(model);
    tokenizer->special[1] = sentence_piece_eos(model);
    tokenizer->special[2] = sentence_piece_unknown(model);
    if (tokenizer->special[0] < 0 || tokenizer->special[1] < 0) {
        error_set(error, "%s: the tokenizer has no <s> or no </s>; expected one of a Llama model",
                  path);
    } else if (pieces_are_text(model, path, error)) {
        return tokenizer;
    }
    llama_tokenizer_close(tokenizer);
    return NULL;
}

void llama_tokenizer_close(LlamaTokenizer *tokenizer) {
    if (!tokenizer) return;
    sentence_piece_close(tokenizer->model);
    free(tokenizer);
}

int llama_tokenizer_count(const LlamaTokenizer *tokenizer) {
    return sentence_piece_count(tokenizer->model);
}
int32_t llama_tokenizer_bos(const LlamaTokenizer *tokenizer) { return tokenizer->special[0]; }
int32_t llama_tokenizer_eos(const LlamaTokenizer *tokenizer) { return tokenizer->special[1]; }
int32_t llama_tokenizer_unknown(const LlamaTokenizer *tokenizer) { return tokenizer->special[2]; }

static bool in_vocabulary(const LlamaTokenizer *tokenizer, int32_t id) {
    return id >= 0 && id < sentence_piece_count(tokenizer->model);
}

const char *llama_tokenizer_text(const LlamaTokenizer *tokenizer, int32_t id) {
    return in_vocabulary(tokenizer, id) ? sentence_piece_text(tokenizer->model, id) : NULL;
}

int32_t llama_tokenizer_id(const LlamaTokenizer *tokenizer, const char *text) {
    const int id = sentence_piece_find(tokenizer->model, text);
    return in_vocabulary(tokenizer, id) && strcmp(llama_tokenizer_text(tokenizer, id), text) == 0
               ? id
               : -1;
}

bool llama_tokenizer_is_special(const LlamaTokenizer *tokenizer, int32_t id) {
    return !in_vocabulary(tokenizer, id) ||
           sentence_piece_kind(tokenizer->model, id) == PIECE_CONTROL;
}

/// The special token whose text begins here, or -1.
static int32_t special_at(const LlamaTokenizer *tokenizer, const char *text, size_t left,
                          size_t *length) {
    for (int i = 0; i < SPECIAL_COUNT && *text == '<'; i++) {
        if (tokenizer->special[i] < 0) continue;
        const char *piece = sentence_piece_text(tokenizer->model, tokenizer->special[i]);
        *length = strlen(piece);
        if (*length <= left && memcmp(text, piece, *length) == 0) return tokenizer->special[i];
    }
    return -1;
}

typedef struct Appending {
    TokenList *list;
    /// of the piece of text within the whole
    int32_t offset;
} Appending;

static void append_piece(int32_t id, int32_t begin, int32_t end, void *context) {
    const Appending *appending = context;
    token_list_append(appending->list, id, appending->offset + begin, appending->offset + end);
}

bool llama_tokenizer_encode(const LlamaTokenizer *tokenizer, const char *text, size_t length,
                            TokenList *list, Error *error) {
    size_t start = 0, special_length = 0;
    for (size_t i = 0; i <= length; i++) {
        int32_t special =
            i < length ? special_at(tokenizer, text + i, length - i, &special_length) : -1;
        if (special < 0 && i < length) continue;
        Appending appending = {list, (int32_t)start};
        if (i > start && !sentence_piece_encode(tokenizer->model, text + start, i - start,
                                                append_piece, &appending, error))
            return false;
        if (special < 0) break;
        token_list_append(list, special, (int32_t)i, (int32_t)(i + special_length));
        start = i + special_length;
        i = start - 1;
    }
    return true;
}

/// Appends the run of byte pieces that starts at token `first`; returns the token after it.
static int append_bytes(const LlamaTokenizer *tokenizer, const int32_t *ids, int first,
                        DecodedText *decoded, ByteBuffer *text) {
    int end = first;
    unsigned char *bytes = checked_malloc((size_t)(decoded->count - first));
    while (end < decoded->count && in_vocabulary(tokenizer, ids[end]) &&
           sentence_piece_kind(tokenizer->model, ids[end]) == PIECE_BYTE) {
        const char *piece = sentence_piece_text(tokenizer->model, ids[end]); // "<0x0A>"
        bytes[end - first] = (unsigned char)strtoul(piece + 1, NULL, 16);
        end++;
    }
    for (int i = first; i < end;) {
        int length =
            (int)utf8_character_length((const char *)bytes + (i - first), (size_t)(end - i));
        for (int k = 0; k < (length ? length : 1); k++, i++) {
            decoded->begin[i] = (int32_t)text->size;
            if (length)
                byte_buffer_put(text, (const char *)bytes + (i - first), 1);
            else
                byte_buffer_put_text(text, UTF8_REPLACEMENT);
            decoded->end[i] = (int32_t)text->size;
        }
    }
    free(bytes);
    return end;
}

static void append_text_piece(const char *piece, bool first, ByteBuffer *text) {
    size_t mark = strlen(SPACE_MARK);
    if (first && strncmp(piece, SPACE_MARK, mark) == 0) piece += mark;
    for (const char *space; (space = strstr(piece, SPACE_MARK)); piece = space + mark) {
        byte_buffer_put(text, piece, (size_t)(space - piece));
        byte_buffer_put_byte(text, ' ');
    }
    byte_buffer_put_text(text, piece);
}

DecodedText llama_tokenizer_decode(const LlamaTokenizer *tokenizer, const int32_t *ids, int count) {
    DecodedText decoded = {.count = count};
    decoded.begin = checked_calloc((size_t)count + 1, sizeof *decoded.begin);
    decoded.end = checked_calloc((size_t)count + 1, sizeof *decoded.end);
    ByteBuffer text = {0};
    byte_buffer_put(&text, "", 0);
    bool first = true;
    for (int i = 0; i < count;) {
        PieceKind kind = in_vocabulary(tokenizer, ids[i])
                             ? sentence_piece_kind(tokenizer->model, ids[i])
                             : PIECE_CONTROL;
        if (kind == PIECE_BYTE) {
            i = append_bytes(tokenizer, ids, i, &decoded, &text);
            first = false;
            continue;
        }
        decoded.begin[i] = (int32_t)text.size;
        if (kind == PIECE_TEXT) {
            append_text_piece(sentence_piece_text(tokenizer->model, ids[i]), first, &text);
            first = false;
        }
        decoded.end[i++] = (int32_t)text.size;
    }
    decoded.text = byte_buffer_take(&text);
    return decoded;
}

size_t llama_tokenizer_settled(const DecodedText *decoded) {
    // Bytes that begin a character are U+FFFD each until it is whole: at most three of them.
    enum { MOST_BYTES = 3 };
    const size_t mark = strlen(UTF8_REPLACEMENT);
    size_t settled = strlen(decoded->text);
    for (int i = 0; i < MOST_BYTES && settled >= mark &&
                    !memcmp(decoded->text + settled - mark, UTF8_REPLACEMENT, mark);
         i++)
        settled -= mark;
    return settled;
}
