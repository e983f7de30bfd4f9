/// Reading a tokenizer.json part by part. Every failure names the file, the key and its value.
#pragma once
#include "data/tokenizers/aligned_text.h"
#include "data/tokenizers/tokenizer_json_internal.h"

#include <jansson.h>

typedef struct Reader {
    const char *path;
    /// under construction
    TokenizerJson *tokenizer;
    Error *error;
} Reader;

/// "path: key is value; expected ..."; returns false.
bool reader_refuse(const Reader *reader, const char *key, const json_t *value,
                   const char *expected);
/// An object with no other keys than those given, up to a NULL.
bool reader_knows(const Reader *reader, const char *key, const json_t *object, ...);
/// Its "type", or "" if it has none.
const char *reader_type(const json_t *object);
/// Copies the string object[name]; it must not be empty unless `may_be_empty`.
bool reader_string(const Reader *reader, const char *key, const json_t *object, const char *name,
                   bool may_be_empty, char **result);
/// object[name], or `otherwise` where it is absent or null.
bool reader_bool(const Reader *reader, const char *key, const json_t *object, const char *name,
                 bool otherwise, bool *result);

typedef bool ReadStep(Reader *reader, const char *key, const json_t *step);
/// Reads one step, or, where `value` is a "Sequence", each step of its list called `list`.
bool reader_steps(Reader *reader, const char *key, const json_t *value, const char *list,
                  ReadStep *read);

bool read_normalizers(Reader *reader, const json_t *value);
bool read_pre_tokenizers(Reader *reader, const json_t *value);
bool read_decoder(Reader *reader, const json_t *value);
/// The token that begins a sequence, or -1.
bool read_post_processor(Reader *reader, const json_t *value, int32_t *first);
/// The model with room for the added tokens, which read_added_tokens() adds. `by_id`: those of
/// tokenizer_config.json (may be NULL), which count where tokenizer.json does not have them.
bool read_model(Reader *reader, const json_t *model, const json_t *added, const json_t *by_id);
bool read_added_tokens(Reader *reader, const json_t *added, const json_t *by_id);
/// A token that is special though no list of tokens says so.
void add_special_token(TokenizerJson *tokenizer, int32_t id);
/// To be called after the last token.
void index_added_tokens(TokenizerJson *tokenizer);

/// text[begin, end) after all normalizers.
AlignedText tokenizer_json_normalize(const TokenizerJson *tokenizer, const AlignedText *text,
                                     size_t begin, size_t end);
