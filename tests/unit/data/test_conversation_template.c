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

#include "data/conversation.h"

#define RECORDED SOURCE_DIR "/tests/parity/data/tokenizers"

static const char *const NAMES[] = {"llama_2", "llama_3", "mistral", "qwen_2", "smollm2"};

static Tokenizer *open_family(const char *name) {
    char *path = format_string("%s/%s", RECORDED, name);
    Error error = {0};
    Tokenizer *tokenizer = tokenizer_open(path, &error);
    if (!tokenizer) fail_msg("%s", error.message);
    free(path);
    return tokenizer;
}

static ConversationFormat format_named(const char *name, const char *system_message) {
    ConversationFormat format = {
        .system_message = system_message, .visual_tokens = 64, .model_max_length = 2048};
    assert_true(conversation_template_named(name, &format.kind));
    return format;
}

static int turns_of(const json_t *recorded, Turn turns[8], bool *has_image) {
    const json_t *texts = json_object_get(recorded, "turns");
    *has_image = false;
    for (size_t i = 0; i < json_array_size(texts); i++) {
        const char *text = json_string_value(json_array_get(texts, i));
        turns[i] = (Turn){i % 2 ? ROLE_GPT : ROLE_HUMAN, text};
        *has_image = *has_image || strstr(text, "<image>");
    }
    return (int)json_array_size(texts);
}

static void check_sequence(const char *name, const json_t *recorded, const char *key,
                           const TokenSequence *sequence) {
    const char *text = json_string_value(json_object_get(recorded, "text"));
    const json_t *ids = json_object_get(recorded, key);
    const bool is_whole = strcmp(key, "ids") == 0;
    for (int i = 0; i < sequence->count && i < (int)json_array_size(ids); i++) {
        const int id = (int)json_integer_value(json_array_get(ids, (size_t)i));
        const int mask =
            (int)json_integer_value(json_array_get(json_object_get(recorded, "mask"), (size_t)i));
        if (sequence->ids[i] != id || sequence->supervised[i] != (is_whole ? mask : 0))
            fail_msg("%s: '%s': %s[%d] is %d, supervised %d; expected %d, %d", name, text, key, i,
                     sequence->ids[i], sequence->supervised[i], id, mask);
    }
    assert_int_equal(sequence->count, json_array_size(ids));
}

static void check_conversation(const char *name, const Tokenizer *tokenizer,
                               const json_t *recorded) {
    Turn turns[8];
    bool has_image;
    const int count = turns_of(recorded, turns, &has_image);
    const ConversationFormat format =
        format_named(name, json_string_value(json_object_get(recorded, "system")));
    TokenSequence sequence;
    Error error = {0};
    if (!conversation_tokenize(tokenizer, &format, turns, count, has_image, &sequence, &error))
        fail_msg("%s", error.message);
    check_sequence(name, recorded, "ids", &sequence);
    assert_true(sequence.supervised_count > 0);
    token_sequence_free(&sequence);
    if (!conversation_prompt(tokenizer, &format, turns, count - 1, has_image, &sequence, &error))
        fail_msg("%s", error.message);
    check_sequence(name, recorded, "prompt_ids", &sequence);
    assert_int_equal(sequence.supervised_count, 0);
    token_sequence_free(&sequence);
}

static void conversations_equal_those_of_the_published_chat_templates(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof NAMES / sizeof *NAMES; i++) {
        char *path = format_string("%s/%s/conversations.json", RECORDED, NAMES[i]);
        json_t *cases = json_load_file(path, 0, NULL);
        assert_true(json_array_size(cases) >= 7);
        Tokenizer *tokenizer = open_family(NAMES[i]);
        for (size_t k = 0; k < json_array_size(cases); k++)
            check_conversation(NAMES[i], tokenizer, json_array_get(cases, k));
        tokenizer_close(tokenizer);
        json_decref(cases);
        free(path);
    }
}

/// The text of the supervised tokens with their special tokens, as pieces.
static char *supervised_pieces(const Tokenizer *tokenizer, const TokenSequence *sequence) {
    char *pieces = checked_strdup("");
    for (int i = 0; i < sequence->count; i++) {
        if (!sequence->supervised[i]) continue;
        char *longer = format_string("%s%s", pieces, tokenizer_piece(tokenizer, sequence->ids[i]));
        free(pieces);
        pieces = longer;
    }
    return pieces;
}

static void answers_are_learned_with_the_token_that_ends_them(void **state) {
    (void)state;
    static const char *const expected[][2] = {
        {"llama_2", "▁red.▁</s>▁yes.▁</s>"},         {"llama_3", "red.<|eot_id|>yes.<|eot_id|>"},
        {"mistral", "▁red.</s>▁yes.</s>"},           {"qwen_2", "red.<|im_end|>yes.<|im_end|>"},
        {"smollm2", "red.<|im_end|>yes.<|im_end|>"},
    };
    const Turn turns[] = {{ROLE_HUMAN, "<image>\nColour?"},
                          {ROLE_GPT, "red."},
                          {ROLE_HUMAN, "Sure?"},
                          {ROLE_GPT, "yes."}};
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        Tokenizer *tokenizer = open_family(expected[i][0]);
        const ConversationFormat format = format_named(expected[i][0], NULL);
        TokenSequence sequence;
        Error error = {0};
        assert_true(conversation_tokenize(tokenizer, &format, turns, 4, true, &sequence, &error));
        char *pieces = supervised_pieces(tokenizer, &sequence);
        assert_string_equal(pieces, expected[i][1]);
        free(pieces);
        token_sequence_free(&sequence);
        tokenizer_close(tokenizer);
    }
}

static void an_empty_system_message_is_left_out(void **state) {
    (void)state;
    Tokenizer *tokenizer = open_family("smollm2");
    const Turn turns[] = {{ROLE_HUMAN, "Hi"}};
    const ConversationFormat format = format_named("smollm2", "");
    TokenSequence sequence;
    Error error = {0};
    assert_true(conversation_prompt(tokenizer, &format, turns, 1, false, &sequence, &error));
    DecodedText text = tokenizer_decode(tokenizer, sequence.ids, sequence.count);
    assert_string_equal(text.text, "user\nHi\nassistant\n");
    decoded_text_free(&text);
    token_sequence_free(&sequence);
    tokenizer_close(tokenizer);
}

/// `plain` and vicuna_v1 begin with a token of the tokenizer's own only where it puts one there
/// itself.
static void tokenizers_without_a_first_token_get_none(void **state) {
    (void)state;
    const Turn turns[] = {{ROLE_HUMAN, "<image>\nColour?"}, {ROLE_GPT, "red."}};
    static const char *const names[] = {"qwen_2", "llama_3"};
    for (int i = 0; i < 2; i++) {
        Tokenizer *tokenizer = open_family(names[i]);
        const ConversationFormat format = format_named("plain", NULL);
        TokenSequence sequence;
        Error error = {0};
        assert_true(conversation_tokenize(tokenizer, &format, turns, 2, true, &sequence, &error));
        assert_int_equal(sequence.image_position, i);
        assert_int_equal(sequence.supervised_count, sequence.count - 1 - i);
        assert_true(i == 0 || sequence.ids[0] == tokenizer_bos(tokenizer));
        token_sequence_free(&sequence);
        tokenizer_close(tokenizer);
    }
}

static void another_models_template_is_refused(void **state) {
    (void)state;
    static const char *const cases[][3] = {
        {"smollm2", "llama_3", "needs a token <|start_header_id|>"},
        {"llama_3", "qwen_2", "needs a token <|im_start|>"},
        {"qwen_2", "mistral", "begins with a bos_token"},
    };
    const Turn turns[] = {{ROLE_HUMAN, "Hi"}, {ROLE_GPT, "Hello"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Tokenizer *tokenizer = open_family(cases[i][0]);
        const ConversationFormat format = format_named(cases[i][1], NULL);
        TokenSequence sequence;
        Error error = {0};
        assert_false(conversation_tokenize(tokenizer, &format, turns, 2, false, &sequence, &error));
        assert_non_null(strstr(error.message, cases[i][2]));
        error = (Error){0};
        assert_false(conversation_prompt(tokenizer, &format, turns, 1, false, &sequence, &error));
        assert_non_null(strstr(error.message, cases[i][2]));
        tokenizer_close(tokenizer);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(conversations_equal_those_of_the_published_chat_templates),
        cmocka_unit_test(answers_are_learned_with_the_token_that_ends_them),
        cmocka_unit_test(an_empty_system_message_is_left_out),
        cmocka_unit_test(tokenizers_without_a_first_token_get_none),
        cmocka_unit_test(another_models_template_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
