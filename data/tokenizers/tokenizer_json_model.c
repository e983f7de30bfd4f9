// Vocabulary, merges and added tokens.
#include "data/tokenizers/tokenizer_json_read.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Far above the largest published vocabulary, and a table of so many entries is still small.
enum { ID_LIMIT = 1 << 24 };

/// The highest id in the vocabulary and among the added tokens, or false if one of them is not an
/// id.
static bool find_id_limit(Reader *reader, const json_t *vocabulary, const json_t *added,
                          const json_t *by_id) {
    json_int_t highest = -1;
    const char *text;
    json_t *value;
    json_object_foreach((json_t *)vocabulary, text, value) {
        if (!json_is_integer(value) || json_integer_value(value) < 0 ||
            json_integer_value(value) >= ID_LIMIT)
            return reader_refuse(reader, "an id of model.vocab", value, "an integer below 2^24");
        if (json_integer_value(value) > highest) highest = json_integer_value(value);
    }
    size_t index;
    json_array_foreach((json_t *)added, index, value) {
        const json_t *id = json_object_get(value, "id");
        if (!json_is_integer(id) || json_integer_value(id) < 0 ||
            json_integer_value(id) >= ID_LIMIT)
            return reader_refuse(reader, "added_tokens.id", id, "an integer below 2^24");
        if (json_integer_value(id) > highest) highest = json_integer_value(id);
    }
    json_object_foreach((json_t *)by_id, text, value) {
        char *end = NULL;
        const long id = strtol(text, &end, 10);
        if (end == text || *end || id < 0 || id >= ID_LIMIT)
            return error_set(reader->error,
                             "%s: added_tokens_decoder has a key \"%.40s\"; expected an id below "
                             "2^24",
                             reader->path, text);
        if (id > highest) highest = id;
    }
    reader->tokenizer->count = (int32_t)highest + 1;
    return true;
}

static bool add_tokens(Reader *reader, const json_t *vocabulary) {
    TokenizerJson *tokenizer = reader->tokenizer;
    const char *text;
    json_t *id;
    json_object_foreach((json_t *)vocabulary, text, id) {
        const int32_t number = (int32_t)json_integer_value(id);
        if (!byte_pair_encoding_add(tokenizer->encoding, text, number, true))
            return error_set(reader->error,
                             "%s: model.vocab gives %d to \"%.80s\" and to \"%.80s\"", reader->path,
                             number, text, byte_pair_encoding_text(tokenizer->encoding, number));
        tokenizer->kinds[number] = TOKEN_PRESENT;
    }
    return true;
}

/// The two parts of "a b" or ["a", "b"].
static bool merge_parts(const json_t *merge, const char **left, size_t *left_length,
                        const char **right, size_t *right_length) {
    if (json_is_string(merge)) {
        *left = json_string_value(merge);
        const char *space = strchr(*left, ' ');
        if (!space || strchr(space + 1, ' ')) return false;
        *left_length = (size_t)(space - *left);
        *right = space + 1;
        *right_length = strlen(*right);
    } else {
        const json_t *first = json_array_get(merge, 0), *second = json_array_get(merge, 1);
        if (json_array_size(merge) != 2 || !json_is_string(first) || !json_is_string(second))
            return false;
        *left = json_string_value(first);
        *left_length = strlen(*left);
        *right = json_string_value(second);
        *right_length = strlen(*right);
    }
    return *left_length > 0 && *right_length > 0 && *left_length < INT_MAX / 4 &&
           *right_length < INT_MAX / 4;
}

static bool add_merges(Reader *reader, const json_t *merges) {
    BytePairEncoding *encoding = reader->tokenizer->encoding;
    byte_pair_encoding_reserve_merges(encoding, json_array_size(merges));
    for (size_t i = 0; i < json_array_size(merges); i++) {
        const json_t *merge = json_array_get(merges, i);
        const char *left = NULL, *right = NULL;
        size_t left_length = 0, right_length = 0;
        char key[64];
        snprintf(key, sizeof key, "model.merges[%zu]", i);
        if (!merge_parts(merge, &left, &left_length, &right, &right_length))
            return reader_refuse(reader, key, merge, "\"a b\" or [\"a\", \"b\"]");
        if (!byte_pair_encoding_merge(encoding, left, left_length, right, right_length,
                                      reader->error))
            return error_context(reader->error, "%s: %s", reader->path, key);
    }
    return true;
}

static bool read_options(Reader *reader, const json_t *model, BytePairOptions *options) {
    static const char *const empty[] = {"dropout", "continuing_subword_prefix",
                                        "end_of_word_suffix"};
    for (size_t i = 0; i < sizeof empty / sizeof *empty; i++) {
        const json_t *value = json_object_get(model, empty[i]);
        char key[64];
        snprintf(key, sizeof key, "model.%s", empty[i]);
        const bool is_empty = !value || json_is_null(value) ||
                              (json_is_string(value) && !*json_string_value(value)) ||
                              (json_is_number(value) && json_number_value(value) == 0);
        if (!is_empty) return reader_refuse(reader, key, value, "null");
    }
    options->over_bytes = reader->tokenizer->over_bytes;
    return reader_bool(reader, "model", model, "ignore_merges", false, &options->ignore_merges) &&
           reader_bool(reader, "model", model, "byte_fallback", false, &options->byte_fallback) &&
           reader_bool(reader, "model", model, "fuse_unk", false, &options->fuse_unknown);
}

static bool check_model(Reader *reader, const json_t *model) {
    // The oldest files leave the type out.
    const json_t *type = json_object_get(model, "type");
    if (!json_is_object(model) || (type && strcmp(reader_type(model), "BPE") != 0))
        return reader_refuse(reader, "model.type", type ? type : model, "BPE");
    if (!json_is_object(json_object_get(model, "vocab")) ||
        !json_is_array(json_object_get(model, "merges")))
        return error_set(reader->error, "%s: model has no vocab or no merges", reader->path);
    return reader_knows(reader, "model", model, "type", "dropout", "unk_token",
                        "continuing_subword_prefix", "end_of_word_suffix", "fuse_unk",
                        "byte_fallback", "ignore_merges", "vocab", "merges", NULL);
}

bool read_model(Reader *reader, const json_t *model, const json_t *added, const json_t *by_id) {
    TokenizerJson *tokenizer = reader->tokenizer;
    BytePairOptions options = {0};
    if (!check_model(reader, model) || !read_options(reader, model, &options)) return false;
    const json_t *vocabulary = json_object_get(model, "vocab");
    if (!find_id_limit(reader, vocabulary, added, by_id)) return false;
    const size_t capacity =
        json_object_size(vocabulary) + json_array_size(added) + json_object_size(by_id);
    tokenizer->encoding = byte_pair_encoding_new(options, capacity, tokenizer->count);
    tokenizer->kinds = checked_calloc((size_t)tokenizer->count + 1, sizeof *tokenizer->kinds);
    if (!add_tokens(reader, vocabulary) || !add_merges(reader, json_object_get(model, "merges")))
        return false;
    const json_t *unknown = json_object_get(model, "unk_token");
    const char *text = json_string_value(unknown);
    const int32_t id = text ? byte_pair_encoding_id(tokenizer->encoding, text, strlen(text)) : -1;
    if (unknown && !json_is_null(unknown) && id < 0)
        return reader_refuse(reader, "model.unk_token", unknown, "null or a token of model.vocab");
    byte_pair_encoding_finish(tokenizer->encoding, id);
    return true;
}

// ---- added tokens

static AddedToken *new_added_token(TokenizerJson *tokenizer, int32_t id, const char *content) {
    tokenizer->added = checked_realloc(tokenizer->added, (size_t)(tokenizer->added_count + 1) *
                                                             sizeof *tokenizer->added);
    AddedToken *token = &tokenizer->added[tokenizer->added_count++];
    *token = (AddedToken){.id = id, .content = checked_strdup(content)};
    return token;
}

void add_special_token(TokenizerJson *tokenizer, int32_t id) {
    if (tokenizer->kinds[id] & TOKEN_ADDED) return;
    new_added_token(tokenizer, id, tokenizer_json_text(tokenizer, id));
    tokenizer->kinds[id] |= TOKEN_ADDED | TOKEN_SPECIAL;
}

static bool read_added_token(Reader *reader, const char *key, const json_t *value, int32_t id) {
    TokenizerJson *tokenizer = reader->tokenizer;
    const char *content = json_string_value(json_object_get(value, "content"));
    if (!content || !*content)
        return reader_refuse(reader, key, value, "a content that is not empty");
    if (!reader_knows(reader, key, value, "id", "content", "single_word", "lstrip", "rstrip",
                      "normalized", "special", NULL))
        return false;
    const char *there = byte_pair_encoding_text(tokenizer->encoding, id);
    const int32_t known = byte_pair_encoding_id(tokenizer->encoding, content, strlen(content));
    if (known != id && (known >= 0 || there))
        return error_set(reader->error, "%s: %s: \"%.80s\" is to be token %d, but %s %d",
                         reader->path, key, content, id,
                         known >= 0 ? "the vocabulary has it as" : "another token has the id",
                         known >= 0 ? known : id);
    if (!there) byte_pair_encoding_add(tokenizer->encoding, content, id, false);
    AddedToken *token = new_added_token(tokenizer, id, content);
    bool special = false;
    if (!reader_bool(reader, key, value, "special", false, &special) ||
        !reader_bool(reader, key, value, "single_word", false, &token->single_word) ||
        !reader_bool(reader, key, value, "lstrip", false, &token->strips_left) ||
        !reader_bool(reader, key, value, "rstrip", false, &token->strips_right) ||
        !reader_bool(reader, key, value, "normalized", !special, &token->normalized))
        return false;
    tokenizer->kinds[id] |= (uint8_t)(TOKEN_PRESENT | TOKEN_ADDED | (special ? TOKEN_SPECIAL : 0));
    return true;
}

static bool is_added(const TokenizerJson *tokenizer, const json_t *token) {
    const char *content = json_string_value(json_object_get(token, "content"));
    const int32_t id = content ? tokenizer_json_id(tokenizer, content) : -1;
    return id >= 0 && tokenizer->kinds[id] & TOKEN_ADDED;
}

bool read_added_tokens(Reader *reader, const json_t *added, const json_t *by_id) {
    if (added && !json_is_null(added) && !json_is_array(added))
        return reader_refuse(reader, "added_tokens", added, "a list");
    char key[64];
    for (size_t i = 0; i < json_array_size(added); i++) {
        const json_t *token = json_array_get(added, i);
        snprintf(key, sizeof key, "added_tokens[%zu]", i);
        if (is_added(reader->tokenizer, token))
            return reader_refuse(reader, key, token, "each token once");
        if (!read_added_token(reader, key, token,
                              (int32_t)json_integer_value(json_object_get(token, "id"))))
            return false;
    }
    const char *id;
    json_t *token;
    json_object_foreach((json_t *)by_id, id, token) {
        if (is_added(reader->tokenizer, token)) continue;
        snprintf(key, sizeof key, "added_tokens_decoder.%.20s", id);
        if (!read_added_token(reader, key, token, (int32_t)strtol(id, NULL, 10))) return false;
    }
    return true;
}

static int by_first_byte_then_length(const void *left, const void *right) {
    const AddedToken *a = *(AddedToken *const *)left, *b = *(AddedToken *const *)right;
    const int first_a = (unsigned char)*a->content, first_b = (unsigned char)*b->content;
    if (first_a != first_b) return first_a - first_b;
    return (a->length < b->length) - (a->length > b->length);
}

static void index_tokens(const TokenizerJson *tokenizer, bool normalized, AddedTokenSet *set) {
    set->tokens = checked_malloc((size_t)(tokenizer->added_count + 1) * sizeof *set->tokens);
    int count = 0;
    for (int i = 0; i < tokenizer->added_count; i++) {
        const AddedToken *token = &tokenizer->added[i];
        if (token->normalized == normalized && token->length > 0) set->tokens[count++] = token;
    }
    qsort(set->tokens, (size_t)count, sizeof *set->tokens, by_first_byte_then_length);
    for (int byte = 0, i = 0; byte <= 256; byte++) {
        while (i < count && (unsigned char)*set->tokens[i]->content < byte) i++;
        set->first[byte] = i;
    }
}

void index_added_tokens(TokenizerJson *tokenizer) {
    for (int i = 0; i < tokenizer->added_count; i++) {
        AddedToken *token = &tokenizer->added[i];
        if (token->normalized && tokenizer->normalizer_count > 0) {
            // Such a token is looked for in normalized text, so in its normalized form.
            AlignedText content = aligned_text_of(token->content, strlen(token->content));
            AlignedText normal = tokenizer_json_normalize(tokenizer, &content, 0, content.length);
            if (normal.length != content.length ||
                memcmp(normal.bytes, content.bytes, normal.length) != 0)
                tokenizer->kinds[token->id] |= TOKEN_REWRITTEN;
            free(token->content);
            token->content = format_string("%.*s", (int)normal.length, normal.bytes);
            aligned_text_free(&content);
            aligned_text_free(&normal);
        }
        token->length = strlen(token->content);
    }
    index_tokens(tokenizer, false, &tokenizer->verbatim);
    index_tokens(tokenizer, true, &tokenizer->normalized);
}
