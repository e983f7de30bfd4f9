#include "data/tokenizers/tokenizer.h"
#include "autograd/crc32c.h"
#include "autograd/fnv.h"
#include "data/tokenizers/llama_tokenizer.h"
#include "data/tokenizers/tokenizer_json.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/// One of the two.
struct Tokenizer {
    LlamaTokenizer *llama;
    TokenizerJson *json;
    uint64_t checksum;
};

static bool is_folder(const char *path) {
    struct stat status;
    return stat(path, &status) == 0 && S_ISDIR(status.st_mode);
}

static bool is_json(const char *path) {
    const size_t length = strlen(path);
    return length > 5 && strcmp(path + length - 5, ".json") == 0;
}

char *tokenizer_file(const char *path) {
    if (!is_folder(path)) return checked_strdup(path);
    char *model = format_string("%s/tokenizer.model", path);
    char *json = format_string("%s/tokenizer.json", path);
    const bool takes_json = access(model, F_OK) != 0 && access(json, F_OK) == 0;
    free(takes_json ? model : json);
    return takes_json ? json : model;
}

/// What files beside the tokenizer's own say (which token begins a text, which ones are special) is
/// seen by what it came to.
static uint64_t checksum_of_vocabulary(const Tokenizer *tokenizer, uint32_t checksum_of_file) {
    const uint64_t about[] = {checksum_of_file, (uint64_t)tokenizer_vocabulary_size(tokenizer),
                              (uint64_t)tokenizer_bos(tokenizer), tokenizer_adds_bos(tokenizer)};
    uint64_t hash = fnv1a_words(about, sizeof about);
    for (int32_t i = 0; i < tokenizer_vocabulary_size(tokenizer); i++) {
        const uint64_t piece[] = {hash, (uint64_t)tokenizer_is_special(tokenizer, i)};
        hash = fnv1a_words(piece, sizeof piece);
    }
    return hash;
}

uint64_t tokenizer_checksum(const Tokenizer *tokenizer) { return tokenizer->checksum; }

Tokenizer *tokenizer_open(const char *path, Error *error) {
    char *file = tokenizer_file(path);
    Tokenizer tokenizer = {0};
    uint32_t checksum = 0;
    if (is_json(file))
        tokenizer.json = tokenizer_json_open(file, error);
    else
        tokenizer.llama = llama_tokenizer_open(file, error);
    const bool is_read =
        (tokenizer.json || tokenizer.llama) && crc32c_add_file(&checksum, file, error);
    free(file);
    if (!tokenizer.json && !tokenizer.llama) {
        if (is_folder(path) && error && strstr(error->message, "no such file"))
            error_set(error, "%s: expected a tokenizer.model or a tokenizer.json in this folder",
                      path);
        return NULL;
    }
    Tokenizer *result = checked_malloc(sizeof *result);
    *result = tokenizer;
    result->checksum = checksum_of_vocabulary(result, checksum);
    if (is_read) return result;
    tokenizer_close(result);
    return NULL;
}

void tokenizer_close(Tokenizer *tokenizer) {
    if (!tokenizer) return;
    llama_tokenizer_close(tokenizer->llama);
    tokenizer_json_close(tokenizer->json);
    free(tokenizer);
}

int tokenizer_vocabulary_size(const Tokenizer *tokenizer) {
    return tokenizer->json ? tokenizer_json_count(tokenizer->json)
                           : llama_tokenizer_count(tokenizer->llama);
}

int32_t tokenizer_bos(const Tokenizer *tokenizer) {
    return tokenizer->json ? tokenizer_json_bos(tokenizer->json)
                           : llama_tokenizer_bos(tokenizer->llama);
}

bool tokenizer_adds_bos(const Tokenizer *tokenizer) {
    return !tokenizer->json || tokenizer_json_adds_bos(tokenizer->json);
}

int32_t tokenizer_eos(const Tokenizer *tokenizer) {
    return tokenizer->json ? tokenizer_json_eos(tokenizer->json)
                           : llama_tokenizer_eos(tokenizer->llama);
}

int32_t tokenizer_pad(const Tokenizer *tokenizer) {
    return tokenizer->json ? tokenizer_json_pad(tokenizer->json)
                           : llama_tokenizer_unknown(tokenizer->llama);
}

const char *tokenizer_piece(const Tokenizer *tokenizer, int32_t id) {
    const char *text = tokenizer->json ? tokenizer_json_text(tokenizer->json, id)
                                       : llama_tokenizer_text(tokenizer->llama, id);
    return text ? text : "";
}

int32_t tokenizer_piece_id(const Tokenizer *tokenizer, const char *piece) {
    return tokenizer->json ? tokenizer_json_id(tokenizer->json, piece)
                           : llama_tokenizer_id(tokenizer->llama, piece);
}

bool tokenizer_is_special(const Tokenizer *tokenizer, int32_t id) {
    return tokenizer->json ? tokenizer_json_is_special(tokenizer->json, id)
                           : llama_tokenizer_is_special(tokenizer->llama, id);
}

bool tokenizer_encode(const Tokenizer *tokenizer, const char *text, size_t length, TokenList *list,
                      Error *error) {
    // Rewriting a text may make it longer, and spans are 32 bits wide.
    if (length > INT32_MAX / 8) return error_set(error, "a text of %zu bytes is too long", length);
    return tokenizer->json ? tokenizer_json_encode(tokenizer->json, text, length, list, error)
                           : llama_tokenizer_encode(tokenizer->llama, text, length, list, error);
}

DecodedText tokenizer_decode(const Tokenizer *tokenizer, const int32_t *ids, int count) {
    return tokenizer->json ? tokenizer_json_decode(tokenizer->json, ids, count)
                           : llama_tokenizer_decode(tokenizer->llama, ids, count);
}

size_t tokenizer_settled(const Tokenizer *tokenizer, const int32_t *ids, int count,
                         const DecodedText *decoded) {
    return tokenizer->json ? tokenizer_json_settled(tokenizer->json, ids, count, decoded)
                           : llama_tokenizer_settled(decoded);
}
