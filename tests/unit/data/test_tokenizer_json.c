// rooms: data autograd
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data/tokenizers/split_pattern.h"
#include "data/tokenizers/tokenizer.h"
#include "tests/unit/temporary_folder.h"

#define RECORDED SOURCE_DIR "/tests/parity/data/tokenizers"

static const char *const FAMILIES[] = {"llama_3", "qwen_2",  "smollm2",
                                       "gpt_2",   "llama_2", "mistral"};
enum { FAMILY_COUNT = sizeof FAMILIES / sizeof *FAMILIES };

static json_t *recorded(const char *name) {
    char *path = format_string("%s/%s", RECORDED, name);
    json_t *file = json_load_file(path, 0, NULL);
    if (!file) fail_msg("%s cannot be read", path);
    free(path);
    return file;
}

static json_t *recorded_of(const char *family, const char *name) {
    char *path = format_string("%s/%s", family, name);
    json_t *file = recorded(path);
    free(path);
    return file;
}

static Tokenizer *open_family(const char *family) {
    char *path = format_string("%s/%s", RECORDED, family);
    Error error = {0};
    Tokenizer *tokenizer = tokenizer_open(path, &error);
    if (!tokenizer) fail_msg("%s", error.message);
    free(path);
    return tokenizer;
}

static int hex_digit(char c) { return c <= '9' ? c - '0' : c - 'a' + 10; }

/// The recorded text's bytes, which the caller frees.
static char *text_of(const json_t *recorded_text, size_t *length) {
    const char *hex = json_string_value(json_object_get(recorded_text, "hex"));
    if (!hex) {
        *length = strlen(json_string_value(recorded_text));
        return checked_strdup(json_string_value(recorded_text));
    }
    *length = strlen(hex) / 2;
    char *bytes = checked_calloc(*length + 1, 1);
    for (size_t i = 0; i < *length; i++)
        bytes[i] = (char)(hex_digit(hex[2 * i]) << 4 | hex_digit(hex[2 * i + 1]));
    return bytes;
}

static void check_ids(const char *family, const char *text, const TokenList *list,
                      const json_t *ids) {
    for (int i = 0; i < list->count && i < (int)json_array_size(ids); i++) {
        const int expected = (int)json_integer_value(json_array_get(ids, (size_t)i));
        if (list->ids[i] != expected)
            fail_msg("%s: '%s': token %d is %d, expected %d", family, text, i, list->ids[i],
                     expected);
    }
    if (list->count != (int)json_array_size(ids))
        fail_msg("%s: '%s': %d tokens, expected %zu", family, text, list->count,
                 json_array_size(ids));
}

/// In order and without gaps from the first byte to the last.
static void check_spans(const char *family, const char *text, size_t length,
                        const TokenList *list) {
    int32_t covered = 0;
    for (int i = 0; i < list->count; i++) {
        if (list->begin[i] > covered || list->end[i] < list->begin[i] ||
            (i > 0 && list->begin[i] < list->begin[i - 1]))
            fail_msg("%s: '%s': token %d spans [%d, %d) after %d", family, text, i, list->begin[i],
                     list->end[i], covered);
        if (list->end[i] > covered) covered = list->end[i];
    }
    if (covered != (int32_t)length) fail_msg("%s: '%s': spans end at %d", family, text, covered);
}

static void check_decoding(const Tokenizer *tokenizer, const char *family, const char *text,
                           const TokenList *list, const char *expected) {
    DecodedText decoded = tokenizer_decode(tokenizer, list->ids, list->count);
    if (strcmp(decoded.text, expected) != 0)
        fail_msg("%s: '%s' is decoded as '%s', expected '%s'", family, text, decoded.text,
                 expected);
    int32_t covered = 0;
    for (int i = 0; i < decoded.count; i++) {
        assert_int_equal(decoded.begin[i], covered);
        assert_true(decoded.end[i] >= covered);
        covered = decoded.end[i];
    }
    assert_int_equal(covered, strlen(expected));
    decoded_text_free(&decoded);
}

static void check_family(const char *family, const json_t *texts) {
    json_t *cases = recorded_of(family, "expected.json");
    Tokenizer *tokenizer = open_family(family);
    assert_int_equal(json_array_size(cases), json_array_size(texts));
    for (size_t i = 0; i < json_array_size(cases); i++) {
        const json_t *expected = json_array_get(cases, i);
        const json_t *decoded = json_object_get(expected, "decoded");
        size_t length = 0;
        char *text = text_of(json_array_get(texts, i), &length);
        TokenList list = {0};
        Error error = {0};
        if (!tokenizer_encode(tokenizer, text, length, &list, &error))
            fail_msg("%s", error.message);
        check_ids(family, text, &list, json_object_get(expected, "ids"));
        check_spans(family, text, length, &list);
        if (strlen(text) == length) // a decoded text ends at its first NUL
            check_decoding(tokenizer, family, text, &list,
                           decoded ? json_string_value(decoded) : text);
        token_list_free(&list);
        free(text);
    }
    tokenizer_close(tokenizer);
    json_decref(cases);
}

static void ids_and_decoded_texts_equal_those_of_the_tokenizers_package(void **state) {
    (void)state;
    json_t *texts = recorded("texts.json");
    assert_true(json_array_size(texts) > 200);
    for (int i = 0; i < FAMILY_COUNT; i++) check_family(FAMILIES[i], texts);
    json_decref(texts);
}

static void special_tokens_are_those_of_the_files(void **state) {
    (void)state;
    static const struct {
        const char *family, *bos, *eos, *pad;
        bool adds_bos;
    } cases[] = {
        {"llama_3", "<|begin_of_text|>", "<|eot_id|>", "<|eot_id|>", true},
        {"qwen_2", "", "<|im_end|>", "<|endoftext|>", false},
        {"smollm2", "<|im_start|>", "<|im_end|>", "<|endoftext|>", false},
        {"gpt_2", "<|endoftext|>", "<|endoftext|>", "<|endoftext|>", false},
        {"llama_2", "<s>", "</s>", "<unk>", true},
        {"mistral", "<s>", "</s>", "<unk>", true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Tokenizer *tokenizer = open_family(cases[i].family);
        assert_string_equal(tokenizer_piece(tokenizer, tokenizer_bos(tokenizer)), cases[i].bos);
        assert_string_equal(tokenizer_piece(tokenizer, tokenizer_eos(tokenizer)), cases[i].eos);
        assert_string_equal(tokenizer_piece(tokenizer, tokenizer_pad(tokenizer)), cases[i].pad);
        assert_int_equal(tokenizer_adds_bos(tokenizer), cases[i].adds_bos);
        assert_int_equal(tokenizer_piece_id(tokenizer, cases[i].eos), tokenizer_eos(tokenizer));
        assert_int_equal(tokenizer_piece_id(tokenizer, "no such piece"), -1);
        assert_string_equal(tokenizer_piece(tokenizer, tokenizer_vocabulary_size(tokenizer)), "");
        tokenizer_close(tokenizer);
    }
}

static void ids_of_no_token_and_broken_bytes_decode_as_in_the_library(void **state) {
    (void)state;
    Tokenizer *tokenizer = open_family("smollm2");
    const int32_t grin[] = {tokenizer_piece_id(tokenizer, "ð"), tokenizer_piece_id(tokenizer, "Ł"),
                            tokenizer_piece_id(tokenizer, "ĺ"), tokenizer_piece_id(tokenizer, "Ģ")};
    const int32_t ids[] = {1, grin[0], grin[1], -200, grin[2], grin[3], 99999, grin[0], grin[1], 2};
    DecodedText decoded = tokenizer_decode(tokenizer, ids, 10);
    assert_string_equal(decoded.text, "\xf0\x9f\x98\x80\xef\xbf\xbd");
    assert_int_equal(decoded.end[0], 0);
    assert_int_equal(decoded.end[2], 2); // a token may end within a character
    assert_int_equal(decoded.begin[4], 2);
    assert_int_equal(decoded.end[5], 4);
    assert_int_equal(decoded.end[7], 7);
    assert_int_equal(decoded.begin[8], 7); // one mark for the whole start of a character
    decoded_text_free(&decoded);
    tokenizer_close(tokenizer);
}

static void long_words_take_no_quadratic_time(void **state) {
    (void)state;
    Tokenizer *tokenizer = open_family("llama_2"); // the whole text is one word
    enum { LENGTH = 400000 };
    char *text = checked_malloc(LENGTH);
    for (int i = 0; i < LENGTH; i++) text[i] = "the red ring is "[i % 16];
    TokenList list = {0};
    Error error = {0};
    assert_true(tokenizer_encode(tokenizer, text, LENGTH, &list, &error));
    assert_true(list.count > LENGTH / 16);
    assert_int_equal(list.end[list.count - 1], LENGTH);
    token_list_free(&list);
    free(text);
    tokenizer_close(tokenizer);
}

static void a_folder_with_both_files_takes_the_sentencepiece_model(void **state) {
    (void)state;
    Error error = {0};
    write_text("tokenizer.model", "not a model");
    write_text("tokenizer.json", "{}");
    assert_null(tokenizer_open(temporary_folder, &error));
    assert_non_null(strstr(error.message, "tokenizer.model: not a SentencePiece model"));
}

// ---- refusals: the smallest file that is right, with one part of it changed

static const char MODEL[] =
    "{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1,\"ab\":2,\"</s>\":3},\"merges\":[\"a b\"]}";

static char *file_with(const char *key, const char *value) {
    static const char *const parts[][2] = {
        {"added_tokens", "[]"},
        {"normalizer", "null"},
        {"pre_tokenizer", "{\"type\":\"ByteLevel\",\"add_prefix_space\":false}"},
        {"post_processor", "null"},
        {"decoder", "{\"type\":\"ByteLevel\"}"},
        {"model", MODEL},
    };
    char *file = checked_strdup("{\"version\":\"1.0\"");
    bool placed = false;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        const bool here = strcmp(parts[i][0], key) == 0;
        char *longer = format_string("%s,\"%s\":%s", file, parts[i][0], here ? value : parts[i][1]);
        free(file);
        file = longer;
        placed = placed || here;
    }
    char *whole =
        placed ? format_string("%s}", file) : format_string("%s,\"%s\":%s}", file, key, value);
    free(file);
    return whole;
}

/// Opens a folder with the two files; `config` may be NULL. The message, "" if it opens.
static const char *opening(const char *json, const char *config) {
    static Error error;
    error = (Error){0};
    write_text("tokenizer.json", json);
    if (config)
        write_text("tokenizer_config.json", config);
    else
        unlink(in_folder("tokenizer_config.json"));
    Tokenizer *tokenizer = tokenizer_open(temporary_folder, &error);
    assert_true(!tokenizer == (*error.message != '\0'));
    assert_true(tokenizer || strstr(error.message, temporary_folder)); // which file it is
    tokenizer_close(tokenizer);
    return error.message;
}

static void expect_refusal(const char *key, const char *value, const char *part) {
    char *json = file_with(key, value);
    const char *message = opening(json, "{\"eos_token\":\"</s>\"}");
    if (!strstr(message, part)) fail_msg("%s: %s: '%s' lacks '%s'", key, value, message, part);
    free(json);
}

static void what_is_not_supported_is_refused_by_key_and_value(void **state) {
    (void)state;
    expect_refusal("new_key", "1", "the file.new_key is 1");
    expect_refusal("normalizer", "{\"type\":\"Lowercase\"}",
                   "normalizer is {\"type\":\"Lowercase\"}");
    expect_refusal(
        "normalizer",
        "{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"NFC\"},{\"type\":\"NFKD\"}]}",
        "normalizer.normalizers[1] is {\"type\":\"NFKD\"}");
    expect_refusal("normalizer",
                   "{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"a\"},\"content\":\"\"}",
                   "normalizer.pattern.String is missing");
    expect_refusal("pre_tokenizer", "{\"type\":\"Whitespace\"}",
                   "pre_tokenizer is {\"type\":\"Whitespace\"}");
    expect_refusal("pre_tokenizer",
                   "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"a\"},\"behavior\":"
                   "\"MergedWithNext\",\"invert\":false}",
                   "a behavior of Isolated or Removed");
    expect_refusal(
        "pre_tokenizer",
        "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"\\\\h\"},\"behavior\":\"Isolated\"}",
        "its '\\h' is not supported");
    expect_refusal("pre_tokenizer", "{\"type\":\"ByteLevel\",\"use_regex\":3}",
                   "pre_tokenizer.use_regex is 3");
    expect_refusal("pre_tokenizer",
                   "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"ByteLevel\"},{\"type\":"
                   "\"Digits\"}]}",
                   "pretokenizers[1]");
    expect_refusal("post_processor", "{\"type\":\"BertProcessing\"}", "post_processor is");
    expect_refusal("post_processor",
                   "{\"type\":\"TemplateProcessing\",\"single\":[{\"Sequence\":{\"id\":\"A\"}},"
                   "{\"SpecialToken\":{\"id\":\"</s>\"}}]}",
                   "the text alone or after one special token");
    expect_refusal("post_processor",
                   "{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"x\"}},"
                   "{\"Sequence\":{\"id\":\"A\"}}],\"special_tokens\":{\"x\":{\"ids\":[7]}}}",
                   "one id of the vocabulary");
    expect_refusal("decoder", "null", "decoder is null");
    expect_refusal("decoder", "{\"type\":\"Metaspace\"}", "decoder is {\"type\":\"Metaspace\"}");
    expect_refusal("model", "{\"type\":\"Unigram\"}", "model.type is \"Unigram\"");
    expect_refusal("model", "[]", "model.type is []");
    expect_refusal("model", "{\"vocab\":{}}", "no vocab or no merges");
    expect_refusal("model", "{\"vocab\":{},\"merges\":[],\"dropout\":0.1}", "model.dropout is 0.1");
    expect_refusal("model", "{\"vocab\":{},\"merges\":[],\"end_of_word_suffix\":\"</w>\"}",
                   "model.end_of_word_suffix is \"</w>\"");
}

static void damaged_files_are_errors(void **state) {
    (void)state;
    expect_refusal("model", "{\"vocab\":{\"a\":-1},\"merges\":[]}", "model.vocab is -1");
    expect_refusal("model", "{\"vocab\":{\"a\":1e3},\"merges\":[]}", "model.vocab is 1000.0");
    expect_refusal("model", "{\"vocab\":{\"a\":99999999999},\"merges\":[]}",
                   "an integer below 2^24");
    expect_refusal("model", "{\"vocab\":{\"a\":0,\"b\":0},\"merges\":[]}", "gives 0 to");
    expect_refusal("model", "{\"vocab\":{\"a\":0,\"a\":1},\"merges\":[]}", "duplicate");
    expect_refusal("model", "{\"vocab\":{\"a\":0,\"b\":1},\"merges\":[\"a b\"]}",
                   "lacks the two together");
    expect_refusal("model", "{\"vocab\":{\"a\":0,\"ab\":1},\"merges\":[[\"a\",\"b\"]]}",
                   "lacks one of them");
    expect_refusal("model", "{\"vocab\":{\"a\":0},\"merges\":[\"a b c\"]}",
                   "model.merges[0] is \"a b c\"");
    expect_refusal("model", "{\"vocab\":{\"a\":0},\"merges\":[[\"a\"]]}", "model.merges[0]");
    expect_refusal("model", "{\"vocab\":{\"a\":0},\"merges\":[7]}", "model.merges[0] is 7");
    expect_refusal("model", "{\"vocab\":{\"a\":0},\"merges\":[],\"unk_token\":\"x\"}",
                   "model.unk_token is \"x\"");
    expect_refusal("added_tokens", "[{\"id\":0,\"content\":\"x\"}]", "another token has the id 0");
    expect_refusal("added_tokens", "[{\"id\":9,\"content\":\"a\"}]", "the vocabulary has it as 0");
    expect_refusal("added_tokens", "[{\"id\":9,\"content\":\"\"}]", "added_tokens[0]");
    expect_refusal("added_tokens", "[{\"content\":\"x\"}]", "added_tokens.id is missing");
    expect_refusal("added_tokens", "[{\"id\":9,\"content\":\"x\"},{\"id\":9,\"content\":\"x\"}]",
                   "each token once");
    expect_refusal("added_tokens", "[{\"id\":9,\"content\":\"x\",\"ids\":1}]",
                   "added_tokens[0].ids is 1");
    expect_refusal("added_tokens", "{}", "added_tokens is {}");
    assert_non_null(strstr(opening("{\"version\"", NULL), ":1: not valid JSON"));
    assert_non_null(strstr(opening("[]", NULL), "expected a JSON object"));
    assert_non_null(strstr(opening("", NULL), "tokenizer.json"));
}

static void the_token_that_ends_an_answer_must_be_named(void **state) {
    (void)state;
    char *json = file_with("normalizer", "null");
    assert_string_equal(opening(json, "{\"eos_token\":{\"content\":\"</s>\"}}"), "");
    assert_non_null(strstr(opening(json, NULL), "names an eos_token"));
    assert_non_null(strstr(opening(json, "{\"eos_token\":null}"), "names an eos_token"));
    assert_non_null(strstr(opening(json, "{\"eos_token\":\"<end>\"}"),
                           "tokenizer_config.json: eos_token is \"<end>\""));
    assert_non_null(strstr(opening(json, "{\"eos_token\":\"</s>\""),
                           "tokenizer_config.json:1: not valid JSON"));
    assert_non_null(strstr(
        opening(json,
                "{\"eos_token\":\"</s>\",\"added_tokens_decoder\":{\"x\":{\"content\":\"y\"}}}"),
        "a key \"x\""));
    free(json);
    json = file_with(
        "post_processor",
        "{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"</s>\"}},"
        "{\"Sequence\":{\"id\":\"A\"}}],\"special_tokens\":{\"</s>\":{\"ids\":[3]}}}");
    assert_string_equal(opening(json, "{\"eos_token\":\"</s>\"}"), "");
    assert_non_null(strstr(opening(json, "{\"eos_token\":\"</s>\",\"bos_token\":\"a\"}"),
                           "but bos_token is \"a\""));
    free(json);
}

static void further_tokens_come_from_tokenizer_config(void **state) {
    (void)state;
    char *json = file_with("normalizer", "null");
    write_text("tokenizer.json", json);
    write_text("tokenizer_config.json",
               "{\"added_tokens_decoder\":{\"7\":{\"content\":\"<x>\",\"special\":true}}}");
    write_text("special_tokens_map.json", "{\"eos_token\":\"</s>\"}");
    Error error = {0};
    Tokenizer *tokenizer = tokenizer_open(temporary_folder, &error);
    if (!tokenizer) fail_msg("%s", error.message);
    assert_int_equal(tokenizer_vocabulary_size(tokenizer), 8);
    TokenList list = {0};
    assert_true(tokenizer_encode(tokenizer, "ab<x>ba</s>?", 12, &list, &error));
    const int32_t expected[] = {2, 7, 1, 0, 3}; // what has no token is left out
    assert_int_equal(list.count, 5);
    assert_memory_equal(list.ids, expected, sizeof expected);
    token_list_free(&list);
    tokenizer_close(tokenizer);
    free(json);
}

// ---- patterns

static void expect_pattern_error(const char *pattern, const char *part) {
    Error error = {0};
    assert_null(split_pattern_new(pattern, false, &error));
    if (!strstr(error.message, part)) fail_msg("%s: '%s' lacks '%s'", pattern, error.message, part);
}

static void patterns_mean_what_oniguruma_reads(void **state) {
    (void)state;
    expect_pattern_error("a(", "not a regular expression");
    expect_pattern_error("[a[b]]", "'[b' within [ ]");
    expect_pattern_error("[a&&b]", "'&&' within [ ]");
    expect_pattern_error("[^\\S]", "'\\S' within [ ]");
    expect_pattern_error("\\C", "'\\C'");
    expect_pattern_error("a\\", "not supported");
    expect_pattern_error("\\pL", "'\\p'");
    expect_pattern_error("(*UTF)a", "group '(*UT'");
    expect_pattern_error("(?C1)a", "group '(?C1'");
    expect_pattern_error("(?m)a", "group '(?m)'");
    expect_pattern_error("a{1,3}+", "'{1,3}+'");
    expect_pattern_error("", "0 bytes");
    Error error = {0};
    SplitMatcher *matcher = split_matcher_new();
    size_t begin = 0, end = 0;
    SplitPattern *spaces = split_pattern_new("[\\s]+|x*", false, &error);
    assert_non_null(spaces);
    const char text[] =
        "ab\xe1\xa0\x8e\xe3\x80\x80\xc2\x85y"; // U+180E is no white space, U+3000 and U+0085 are
    assert_int_equal(split_pattern_next(spaces, matcher, text, strlen(text), 0, &begin, &end),
                     SPLIT_FOUND);
    assert_int_equal(begin, 5);
    assert_int_equal(end, 10);
    assert_int_equal(split_pattern_next(spaces, matcher, text, strlen(text), end, &begin, &end),
                     SPLIT_NONE);
    split_pattern_free(spaces);
    SplitPattern *explosive = split_pattern_new("(?:\\s|\\s\\s)+\\d", false, &error);
    char run[400];
    memset(run, ' ', sizeof run);
    assert_int_equal(split_pattern_next(explosive, matcher, run, sizeof run, 0, &begin, &end),
                     SPLIT_GAVE_UP);
    split_pattern_free(explosive);
    SplitPattern *literal = split_pattern_new("\\s[", true, &error);
    assert_int_equal(split_pattern_next(literal, matcher, "a \\s[ ", 6, 0, &begin, &end),
                     SPLIT_FOUND);
    assert_int_equal(begin, 2);
    split_pattern_free(literal);
    split_matcher_free(matcher);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids_and_decoded_texts_equal_those_of_the_tokenizers_package),
        cmocka_unit_test(special_tokens_are_those_of_the_files),
        cmocka_unit_test(ids_of_no_token_and_broken_bytes_decode_as_in_the_library),
        cmocka_unit_test(long_words_take_no_quadratic_time),
        IN_FOLDER(a_folder_with_both_files_takes_the_sentencepiece_model),
        IN_FOLDER(what_is_not_supported_is_refused_by_key_and_value),
        IN_FOLDER(damaged_files_are_errors),
        IN_FOLDER(the_token_that_ends_an_answer_must_be_named),
        IN_FOLDER(further_tokens_come_from_tokenizer_config),
        cmocka_unit_test(patterns_mean_what_oniguruma_reads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
