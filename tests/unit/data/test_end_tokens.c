// rooms: data autograd
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "autograd/philox.h"
#include "data/end_tokens.h"
#include "tests/unit/temporary_folder.h"

#define RECORDED SOURCE_DIR "/tests/parity/data/tokenizers/"
#define TINY SOURCE_DIR "/checkpoints/tiny/llm"

static Tokenizer *open_tokenizer(const char *path) {
    Error error = {0};
    Tokenizer *tokenizer = tokenizer_open(path, &error);
    if (!tokenizer) fail_msg("%s", error.message);
    return tokenizer;
}

/// pieces: those that end an answer, in order; ends with NULL.
static void check_ends(const char *path, const char *version, const char *const *pieces) {
    Tokenizer *tokenizer = open_tokenizer(path);
    ConversationTemplate kind;
    int32_t ids[MOST_END_TOKENS];
    assert_true(conversation_template_named(version, &kind));
    int count = end_tokens_find(tokenizer, kind, ids), expected = 0;
    for (; pieces[expected]; expected++) {
        if (expected >= count) fail_msg("%s: %s does not end an answer", path, pieces[expected]);
        assert_string_equal(tokenizer_piece(tokenizer, ids[expected]), pieces[expected]);
    }
    if (count > expected)
        fail_msg("%s: %s ends an answer as well", path, tokenizer_piece(tokenizer, ids[expected]));
    tokenizer_close(tokenizer);
}

#define ENDS(...) ((const char *const[]){__VA_ARGS__, NULL})

static void an_answer_ends_with_the_tokenizers_end_and_the_templates(void **state) {
    (void)state;
    check_ends(RECORDED "llama_2", "llama_2", ENDS("</s>"));
    check_ends(RECORDED "mistral", "mistral", ENDS("</s>"));
    check_ends(RECORDED "llama_3", "llama_3", ENDS("<|eot_id|>", "<|end_of_text|>"));
    check_ends(RECORDED "qwen_2", "qwen_2", ENDS("<|im_end|>", "<|endoftext|>"));
    check_ends(RECORDED "smollm2", "smollm2", ENDS("<|im_end|>", "<|endoftext|>"));
    check_ends(RECORDED "gpt_2", "plain", ENDS("<|endoftext|>", "</s>"));
    check_ends(TINY, "vicuna_v1", ENDS("</s>"));
    check_ends(TINY, "plain", ENDS("</s>"));
}

/// A tokenizer.json with those added tokens; its configuration names <|endoftext|> as the end.
static const char *made_tokenizer(const char *added) {
    write_text("tokenizer_config.json", "{\"eos_token\": \"<|endoftext|>\"}");
    char *text = format_string(
        "{\"version\": \"1.0\", \"added_tokens\": [{\"id\": 1, \"content\": \"<|endoftext|>\", "
        "\"single_word\": false, \"lstrip\": false, \"rstrip\": false, \"normalized\": false, "
        "\"special\": true}%s], \"normalizer\": null, \"pre_tokenizer\": {\"type\": \"ByteLevel\", "
        "\"add_prefix_space\": false, \"trim_offsets\": true, \"use_regex\": true}, "
        "\"post_processor\": null, \"decoder\": {\"type\": \"ByteLevel\", \"add_prefix_space\": "
        "true, \"trim_offsets\": true, \"use_regex\": true}, \"model\": {\"type\": \"BPE\", "
        "\"dropout\": null, \"unk_token\": null, \"continuing_subword_prefix\": null, "
        "\"end_of_word_suffix\": null, \"fuse_unk\": false, \"byte_fallback\": false, \"vocab\": "
        "{\"a\": 0}, \"merges\": []}}",
        added);
    write_text("tokenizer.json", text);
    free(text);
    return temporary_folder;
}

#define ADDED(id, piece, special)                                                               \
    ", {\"id\": " id ", \"content\": \"" piece                                                  \
    "\", \"single_word\": false, \"lstrip\": false, \"rstrip\": false, \"normalized\": false, " \
    "\"special\": " special "}"

static void an_end_of_turn_that_no_file_names_ends_an_answer_if_it_is_special(void **state) {
    (void)state;
    check_ends(made_tokenizer(ADDED("2", "<|im_end|>", "true")), "plain",
               ENDS("<|endoftext|>", "<|im_end|>"));
    check_ends(made_tokenizer(ADDED("2", "<end_of_turn>", "true")), "plain",
               ENDS("<|endoftext|>", "<end_of_turn>"));
    check_ends(made_tokenizer(ADDED("2", "<|end|>", "true") ADDED("3", "<|eot_id|>", "true")),
               "plain", ENDS("<|endoftext|>", "<|eot_id|>", "<|end|>"));
    // of which a text is made
    check_ends(made_tokenizer(ADDED("2", "</s>", "false")), "plain", ENDS("<|endoftext|>"));
    check_ends(made_tokenizer(ADDED("2", "<|im_start|>", "true")), "plain", ENDS("<|endoftext|>"));
}

// ---- what is settled of a text

static void check_settled(const char *path, int rounds) {
    enum { LENGTH = 24 };
    Tokenizer *tokenizer = open_tokenizer(path);
    int pieces = tokenizer_vocabulary_size(tokenizer), held = 0, whole = 0;
    for (int round = 0; round < rounds; round++) {
        float draws[2 * LENGTH];
        int32_t ids[LENGTH];
        size_t settled[LENGTH + 1];
        char *begun[LENGTH + 1];
        philox_uniform(17, (uint64_t)round, 0, draws, 2 * LENGTH);
        // half of them from the beginning of the vocabulary, where bytes are
        for (int i = 0; i < LENGTH; i++)
            ids[i] = (int32_t)(draws[2 * i] * (float)(draws[2 * i + 1] < 0.6f ? 260 : pieces));
        for (int n = 0; n <= LENGTH; n++) {
            DecodedText decoded = tokenizer_decode(tokenizer, ids, n);
            settled[n] = tokenizer_settled(tokenizer, ids, n, &decoded);
            begun[n] = checked_strdup(decoded.text);
            assert_true(settled[n] <= strlen(begun[n]));
            held += settled[n] < strlen(begun[n]);
            whole += settled[n] == strlen(begun[n]);
            for (int before = 0; before < n; before++)
                if (strncmp(begun[before], decoded.text, settled[before]) != 0)
                    fail_msg("%s: '%.*s' was settled behind %d tokens and is '%s' behind %d", path,
                             (int)settled[before], begun[before], before, decoded.text, n);
            decoded_text_free(&decoded);
        }
        for (int n = 0; n <= LENGTH; n++) free(begun[n]);
    }
    assert_true(held > 0 && whole > 0);
    tokenizer_close(tokenizer);
}

static void what_is_settled_of_a_text_stays_whatever_tokens_follow(void **state) {
    (void)state;
    static const char *const TOKENIZERS[] = {RECORDED "llama_3", RECORDED "qwen_2",
                                             RECORDED "smollm2", RECORDED "gpt_2",
                                             RECORDED "llama_2", TINY};
    for (size_t i = 0; i < sizeof TOKENIZERS / sizeof *TOKENIZERS; i++)
        check_settled(TOKENIZERS[i], 300);
}

static void words_are_settled_at_once(void **state) {
    (void)state;
    static const char *const TOKENIZERS[] = {RECORDED "smollm2", RECORDED "llama_2", TINY};
    for (size_t i = 0; i < sizeof TOKENIZERS / sizeof *TOKENIZERS; i++) {
        Tokenizer *tokenizer = open_tokenizer(TOKENIZERS[i]);
        TokenList list = {0};
        Error error;
        assert_true(tokenizer_encode(tokenizer, "a ring on the sand.", 19, &list, &error));
        for (int n = 0; n <= list.count; n++) {
            DecodedText decoded = tokenizer_decode(tokenizer, list.ids, n);
            assert_int_equal(tokenizer_settled(tokenizer, list.ids, n, &decoded),
                             strlen(decoded.text));
            decoded_text_free(&decoded);
        }
        token_list_free(&list);
        tokenizer_close(tokenizer);
    }
}

static void a_character_of_four_bytes_is_settled_when_it_is_whole(void **state) {
    (void)state;
    static const char *const TOKENIZERS[] = {RECORDED "smollm2", RECORDED "llama_2", TINY};
    static const char TEXT[] = "a \xf0\x9f\x9c\x82 \xe2\x98\x83 b";
    for (size_t i = 0; i < sizeof TOKENIZERS / sizeof *TOKENIZERS; i++) {
        Tokenizer *tokenizer = open_tokenizer(TOKENIZERS[i]);
        TokenList list = {0};
        Error error;
        int held = 0;
        assert_true(tokenizer_encode(tokenizer, TEXT, strlen(TEXT), &list, &error));
        for (int n = 0; n <= list.count; n++) {
            DecodedText decoded = tokenizer_decode(tokenizer, list.ids, n);
            size_t settled = tokenizer_settled(tokenizer, list.ids, n, &decoded);
            assert_memory_equal(decoded.text, TEXT, settled);
            held += settled < strlen(decoded.text);
            decoded_text_free(&decoded);
        }
        assert_true(held >= 3);
        token_list_free(&list);
        tokenizer_close(tokenizer);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_answer_ends_with_the_tokenizers_end_and_the_templates),
        cmocka_unit_test(an_end_of_turn_that_no_file_names_ends_an_answer_if_it_is_special),
        cmocka_unit_test(what_is_settled_of_a_text_stays_whatever_tokens_follow),
        cmocka_unit_test(words_are_settled_at_once),
        cmocka_unit_test(a_character_of_four_bytes_is_settled_when_it_is_whole),
    };
    return cmocka_run_group_tests(tests, make_temporary_folder, remove_temporary_folder);
}
