// The steps around the model, as the `tokenizers` package writes them.
#include "data/tokenizers/tokenizer_json_read.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// GPT-2's: contractions, words, numbers and other runs, each with the space before it; white space
// but for that space.
static const char BYTE_LEVEL_PATTERN[] =
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

static const char TOO_MANY_STEPS[] = "at most 16 steps";

// ---- normalizers

static bool read_normalizer(Reader *reader, const char *key, const json_t *value) {
    TokenizerJson *tokenizer = reader->tokenizer;
    if (tokenizer->normalizer_count == MAX_STEPS)
        return reader_refuse(reader, key, value, TOO_MANY_STEPS);
    Normalizer *normalizer = &tokenizer->normalizers[tokenizer->normalizer_count++];
    const char *type = reader_type(value);
    if (strcmp(type, "NFC") == 0) {
        normalizer->kind = NORMALIZER_NFC;
        return reader_knows(reader, key, value, "type", NULL);
    }
    if (strcmp(type, "Prepend") == 0) {
        normalizer->kind = NORMALIZER_PREPEND;
        return reader_knows(reader, key, value, "type", "prepend", NULL) &&
               reader_string(reader, key, value, "prepend", true, &normalizer->content);
    }
    normalizer->kind = NORMALIZER_REPLACE;
    if (strcmp(type, "Replace") != 0)
        return reader_refuse(reader, key, value, "a type of NFC, Prepend, Replace or Sequence");
    char pattern[256];
    snprintf(pattern, sizeof pattern, "%s.pattern", key);
    return reader_knows(reader, key, value, "type", "pattern", "content", NULL) &&
           reader_string(reader, pattern, json_object_get(value, "pattern"), "String", false,
                         &normalizer->pattern) &&
           reader_string(reader, key, value, "content", true, &normalizer->content);
}

bool read_normalizers(Reader *reader, const json_t *value) {
    return reader_steps(reader, "normalizer", value, "normalizers", read_normalizer);
}

// ---- pre-tokenizers

static PreTokenizer *next_pre_tokenizer(Reader *reader, const char *key, const json_t *value,
                                        PreTokenizerKind kind) {
    TokenizerJson *tokenizer = reader->tokenizer;
    if (tokenizer->pre_tokenizer_count == MAX_STEPS) {
        reader_refuse(reader, key, value, TOO_MANY_STEPS);
        return NULL;
    }
    PreTokenizer *step = &tokenizer->pre_tokenizers[tokenizer->pre_tokenizer_count++];
    step->kind = kind;
    return step;
}

static bool add_pattern(Reader *reader, const char *key, const json_t *value, const char *pattern,
                        bool is_literal, bool drops_gaps, bool drops_matches) {
    PreTokenizer *step = next_pre_tokenizer(reader, key, value, PRE_TOKENIZER_SPLIT);
    if (!step) return false;
    step->drops_gaps = drops_gaps;
    step->drops_matches = drops_matches;
    step->pattern = split_pattern_new(pattern, is_literal, reader->error);
    return step->pattern ||
           error_context(reader->error, "%s: %s: the pattern cannot be used", reader->path, key);
}

static bool read_split(Reader *reader, const char *key, const json_t *value) {
    if (!reader_knows(reader, key, value, "type", "pattern", "behavior", "invert", NULL))
        return false;
    const json_t *pattern = json_object_get(value, "pattern");
    const char *regex = json_string_value(json_object_get(pattern, "Regex"));
    const char *literal = json_string_value(json_object_get(pattern, "String"));
    if (!regex == !literal || json_object_size(pattern) != 1)
        return reader_refuse(reader, key, value, "a pattern with \"Regex\" or \"String\"");
    bool invert = false;
    if (!reader_bool(reader, key, value, "invert", false, &invert)) return false;
    const json_t *given = json_object_get(value, "behavior");
    const char *behavior = json_is_string(given) ? json_string_value(given) : "";
    const bool removes = strcmp(behavior, "Removed") == 0;
    if (!removes && strcmp(behavior, "Isolated") != 0)
        return reader_refuse(reader, key, value, "a behavior of Isolated or Removed");
    return add_pattern(reader, key, value, regex ? regex : literal, !regex, removes && invert,
                       removes && !invert);
}

static bool read_byte_level(Reader *reader, const char *key, const json_t *value) {
    if (!reader_knows(reader, key, value, "type", "add_prefix_space", "trim_offsets", "use_regex",
                      NULL))
        return false;
    bool adds_space = false, splits = false;
    if (!reader_bool(reader, key, value, "add_prefix_space", true, &adds_space) ||
        !reader_bool(reader, key, value, "use_regex", true, &splits))
        return false;
    PreTokenizer *step = next_pre_tokenizer(reader, key, value, PRE_TOKENIZER_BYTES);
    if (!step) return false;
    step->adds_space = adds_space;
    reader->tokenizer->over_bytes = true;
    return !splits || add_pattern(reader, key, value, BYTE_LEVEL_PATTERN, false, false, false);
}

static bool read_metaspace(Reader *reader, const char *key, const json_t *value) {
    if (!reader_knows(reader, key, value, "type", "replacement", "prepend_scheme", "split",
                      "add_prefix_space", "str_rep", NULL))
        return false;
    PreTokenizer *step = next_pre_tokenizer(reader, key, value, PRE_TOKENIZER_METASPACE);
    bool adds_space = false;
    if (!step || !reader_string(reader, key, value, "replacement", false, &step->replacement) ||
        !reader_bool(reader, key, value, "split", true, &step->splits) ||
        !reader_bool(reader, key, value, "add_prefix_space", true, &adds_space))
        return false;
    step->prepend = adds_space ? PREPEND_ALWAYS : PREPEND_NEVER; // before there were schemes
    const json_t *given = json_object_get(value, "prepend_scheme");
    if (!given) return true;
    static const char *const schemes[] = {"always", "first", "never"}; // as PrependScheme
    for (int i = 0; i < 3; i++) {
        if (json_is_string(given) && strcmp(json_string_value(given), schemes[i]) == 0) {
            step->prepend = (PrependScheme)i;
            return true;
        }
    }
    return reader_refuse(reader, key, value, "a prepend_scheme of always, first or never");
}

static bool read_pre_tokenizer(Reader *reader, const char *key, const json_t *value) {
    const char *type = reader_type(value);
    if (reader->tokenizer->over_bytes)
        return reader_refuse(reader, key, value, "nothing after ByteLevel");
    if (strcmp(type, "Split") == 0) return read_split(reader, key, value);
    if (strcmp(type, "ByteLevel") == 0) return read_byte_level(reader, key, value);
    if (strcmp(type, "Metaspace") == 0) return read_metaspace(reader, key, value);
    if (strcmp(type, "Digits") != 0)
        return reader_refuse(reader, key, value,
                             "a type of Split, Digits, ByteLevel, Metaspace or Sequence");
    bool individual = false;
    return reader_knows(reader, key, value, "type", "individual_digits", NULL) &&
           reader_bool(reader, key, value, "individual_digits", false, &individual) &&
           add_pattern(reader, key, value, individual ? "\\p{N}" : "\\p{N}+", false, false, false);
}

bool read_pre_tokenizers(Reader *reader, const json_t *value) {
    return reader_steps(reader, "pre_tokenizer", value, "pretokenizers", read_pre_tokenizer);
}

// ---- decoder

static bool read_replace_decoder(Reader *reader, const char *key, const json_t *value) {
    TokenizerJson *tokenizer = reader->tokenizer;
    const json_t *content = json_object_get(value, "content");
    if (tokenizer->visible_space || !json_is_string(content) ||
        strcmp(json_string_value(content), " ") != 0)
        return reader_refuse(reader, key, value, "one Replace, by a space");
    return reader_knows(reader, key, value, "type", "pattern", "content", NULL) &&
           reader_string(reader, key, json_object_get(value, "pattern"), "String", false,
                         &tokenizer->visible_space);
}

/// One of ByteLevel, or, in this order, Replace, ByteFallback, Fuse and Strip.
static bool read_decoder_step(Reader *reader, const char *key, const json_t *value) {
    TokenizerJson *tokenizer = reader->tokenizer;
    const char *type = reader_type(value);
    if (strcmp(type, "ByteLevel") == 0 && tokenizer->over_bytes)
        return reader_knows(reader, key, value, "type", "add_prefix_space", "trim_offsets",
                            "use_regex", NULL);
    if (!tokenizer->over_bytes) {
        if (strcmp(type, "Replace") == 0) return read_replace_decoder(reader, key, value);
        if (strcmp(type, "Fuse") == 0) return true;
        if (strcmp(type, "ByteFallback") == 0) return tokenizer->decodes_fallback = true;
        const json_t *content = json_object_get(value, "content");
        if (strcmp(type, "Strip") == 0 && json_is_string(content) &&
            strcmp(json_string_value(content), " ") == 0 &&
            json_integer_value(json_object_get(value, "start")) == 1 &&
            json_integer_value(json_object_get(value, "stop")) == 0)
            return tokenizer->strips_first_space = true;
    }
    return reader_refuse(reader, key, value,
                         tokenizer->over_bytes
                             ? "ByteLevel, as its pre_tokenizer has it"
                             : "Replace, ByteFallback, Fuse and a Strip of one leading space");
}

bool read_decoder(Reader *reader, const json_t *value) {
    if (!value || json_is_null(value)) return reader_refuse(reader, "decoder", value, "a decoder");
    if (!reader_steps(reader, "decoder", value, "decoders", read_decoder_step)) return false;
    return reader->tokenizer->over_bytes || reader->tokenizer->visible_space ||
           reader_refuse(reader, "decoder", value, "a Replace of the visible space");
}

// ---- post-processor

typedef struct Template {
    /// first: a step is read with it
    Reader reader;
    int32_t first;
} Template;

static bool read_template(Reader *reader, const char *key, const json_t *value) {
    Template *template = (Template *)reader;
    const json_t *single = json_object_get(value, "single");
    const size_t count = json_array_size(single);
    const json_t *text = json_object_get(json_array_get(single, count ? count - 1 : 0), "Sequence");
    if (count < 1 || count > 2 || !text)
        return reader_refuse(reader, key, value,
                             "a \"single\" of the text alone or after one special token");
    if (count == 1) return true;
    const char *name = json_string_value(
        json_object_get(json_object_get(json_array_get(single, 0), "SpecialToken"), "id"));
    const json_t *ids =
        json_object_get(json_object_get(json_object_get(value, "special_tokens"), name), "ids");
    const json_t *id = json_array_get(ids, 0);
    if (!name || json_array_size(ids) != 1 || !json_is_integer(id) || json_integer_value(id) < 0 ||
        json_integer_value(id) >= reader->tokenizer->count ||
        !reader->tokenizer->kinds[json_integer_value(id)])
        return reader_refuse(reader, key, value, "one id of the vocabulary for its special token");
    template->first = (int32_t)json_integer_value(id);
    return true;
}

static bool read_processor(Reader *reader, const char *key, const json_t *value) {
    const char *type = reader_type(value);
    if (strcmp(type, "ByteLevel") == 0) return true; // changes offsets alone
    if (strcmp(type, "TemplateProcessing") == 0) return read_template(reader, key, value);
    return reader_refuse(reader, key, value, "a type of TemplateProcessing, ByteLevel or Sequence");
}

bool read_post_processor(Reader *reader, const json_t *value, int32_t *first) {
    Template template = {*reader, -1};
    const bool done =
        reader_steps(&template.reader, "post_processor", value, "processors", read_processor);
    *first = template.first;
    return done;
}
