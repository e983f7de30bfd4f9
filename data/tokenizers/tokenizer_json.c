// Opens tokenizer.json. Every object names the keys it knows; another key, or a value that would
// need what is not here, ends the reading with its name, because a token sequence that is nearly
// right trains a model that is quietly wrong.
#include "data/tokenizers/tokenizer_json.h"
#include "autograd/json_file.h"
#include "data/tokenizers/tokenizer_json_read.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/// The file of that name in the folder of `path`; NULL with `*found` false if there is none.
static json_t *load_beside(const char *path, const char *name, char **file, bool *found,
                           Error *error) {
    const char *slash = strrchr(path, '/');
    *file = format_string("%.*s%s", slash ? (int)(slash + 1 - path) : 0, path, name);
    *found = access(*file, F_OK) == 0;
    return *found ? json_file_read_object(*file, JSON_REJECT_DUPLICATES, error) : NULL;
}

/// The files that lie beside tokenizer.json, as far as they are there.
typedef struct Settings {
    /// tokenizer_config.json
    json_t *config;
    /// special_tokens_map.json
    json_t *map;
    char *config_path;
    char *map_path;
} Settings;

static bool load_settings(const char *path, Settings *settings, Error *error) {
    bool found = false;
    settings->config =
        load_beside(path, "tokenizer_config.json", &settings->config_path, &found, error);
    if (found && !settings->config) return false;
    settings->map =
        load_beside(path, "special_tokens_map.json", &settings->map_path, &found, error);
    return !found || settings->map;
}

static void settings_free(Settings *settings) {
    json_decref(settings->config);
    json_decref(settings->map);
    free(settings->config_path);
    free(settings->map_path);
}

/// The id of the token called `name` ("eos_token"), -1 if neither file names it.
static bool read_named_token(const Reader *reader, const Settings *settings, const char *name,
                             int32_t *id) {
    const json_t *value = json_object_get(settings->config, name);
    const char *path = settings->config_path;
    if (!value || json_is_null(value)) {
        value = json_object_get(settings->map, name);
        path = settings->map_path;
    }
    *id = -1;
    if (!value || json_is_null(value)) return true;
    const json_t *content = json_is_object(value) ? json_object_get(value, "content") : value;
    const char *text = json_string_value(content);
    *id = text ? tokenizer_json_id(reader->tokenizer, text) : -1;
    if (*id >= 0) return true;
    const Reader other = {path, reader->tokenizer, reader->error};
    return reader_refuse(&other, name, value, "a token of tokenizer.json");
}

static bool read_named_tokens(const Reader *reader, const Settings *settings, int32_t first) {
    TokenizerJson *tokenizer = reader->tokenizer;
    int32_t unknown = -1;
    if (!read_named_token(reader, settings, "bos_token", &tokenizer->bos) ||
        !read_named_token(reader, settings, "eos_token", &tokenizer->eos) ||
        !read_named_token(reader, settings, "pad_token", &tokenizer->pad) ||
        !read_named_token(reader, settings, "unk_token", &unknown))
        return false;
    if (tokenizer->eos < 0)
        return error_set(reader->error,
                         "%s: neither tokenizer_config.json nor special_tokens_map.json beside it "
                         "names an eos_token; expected the text of the token that ends an answer",
                         reader->path);
    const int32_t named[] = {tokenizer->bos, tokenizer->eos, tokenizer->pad, unknown};
    for (int i = 0; i < 4; i++) {
        if (named[i] >= 0) add_special_token(tokenizer, named[i]);
    }
    if (tokenizer->pad < 0) tokenizer->pad = unknown >= 0 ? unknown : tokenizer->eos;
    if (first >= 0 && tokenizer->bos >= 0 && first != tokenizer->bos)
        return error_set(reader->error,
                         "%s: post_processor puts \"%s\" before a text, but bos_token is \"%s\"; "
                         "expected the same",
                         reader->path, quote(tokenizer_json_text(tokenizer, first)).text,
                         quote(tokenizer_json_text(tokenizer, tokenizer->bos)).text);
    if (first >= 0) tokenizer->bos = first;
    tokenizer->adds_bos = first >= 0;
    return true;
}

static bool read_file(Reader *reader, const json_t *file, const Settings *settings) {
    const json_t *added = json_object_get(file, "added_tokens");
    const json_t *by_id = json_object_get(settings->config, "added_tokens_decoder");
    int32_t first = -1;
    // Truncation and padding are the caller's in transformers as well.
    if (!reader_knows(reader, "the file", file, "version", "truncation", "padding", "added_tokens",
                      "normalizer", "pre_tokenizer", "post_processor", "decoder", "model", NULL) ||
        !read_normalizers(reader, json_object_get(file, "normalizer")) ||
        !read_pre_tokenizers(reader, json_object_get(file, "pre_tokenizer")) ||
        !read_model(reader, json_object_get(file, "model"), added, by_id) ||
        !read_added_tokens(reader, added, by_id) ||
        !read_decoder(reader, json_object_get(file, "decoder")) ||
        !read_post_processor(reader, json_object_get(file, "post_processor"), &first) ||
        !read_named_tokens(reader, settings, first))
        return false;
    index_added_tokens(reader->tokenizer);
    return true;
}

TokenizerJson *tokenizer_json_open(const char *path, Error *error) {
    Settings settings = {0};
    TokenizerJson *tokenizer = NULL;
    json_t *file = json_file_read_object(path, JSON_REJECT_DUPLICATES, error);
    if (file && load_settings(path, &settings, error)) {
        tokenizer = checked_calloc(1, sizeof *tokenizer);
        Reader reader = {path, tokenizer, error};
        if (!read_file(&reader, file, &settings)) {
            tokenizer_json_close(tokenizer);
            tokenizer = NULL;
        }
    }
    settings_free(&settings);
    json_decref(file);
    return tokenizer;
}

void tokenizer_json_close(TokenizerJson *tokenizer) {
    if (!tokenizer) return;
    byte_pair_encoding_free(tokenizer->encoding);
    for (int i = 0; i < tokenizer->added_count; i++) free(tokenizer->added[i].content);
    for (int i = 0; i < tokenizer->normalizer_count; i++) {
        free(tokenizer->normalizers[i].pattern);
        free(tokenizer->normalizers[i].content);
    }
    for (int i = 0; i < tokenizer->pre_tokenizer_count; i++) {
        split_pattern_free(tokenizer->pre_tokenizers[i].pattern);
        free(tokenizer->pre_tokenizers[i].replacement);
    }
    free(tokenizer->added);
    free(tokenizer->verbatim.tokens);
    free(tokenizer->normalized.tokens);
    free(tokenizer->kinds);
    free(tokenizer->visible_space);
    free(tokenizer);
}

int tokenizer_json_count(const TokenizerJson *tokenizer) { return tokenizer->count; }
int32_t tokenizer_json_bos(const TokenizerJson *tokenizer) { return tokenizer->bos; }
int32_t tokenizer_json_eos(const TokenizerJson *tokenizer) { return tokenizer->eos; }
int32_t tokenizer_json_pad(const TokenizerJson *tokenizer) { return tokenizer->pad; }
bool tokenizer_json_adds_bos(const TokenizerJson *tokenizer) { return tokenizer->adds_bos; }

const char *tokenizer_json_text(const TokenizerJson *tokenizer, int32_t id) {
    return byte_pair_encoding_text(tokenizer->encoding, id);
}

int32_t tokenizer_json_id(const TokenizerJson *tokenizer, const char *text) {
    return byte_pair_encoding_id(tokenizer->encoding, text, strlen(text));
}
