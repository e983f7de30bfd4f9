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

#include "data/conversation.h"
#include "data/text.h"

#define TINY_MODEL SOURCE_DIR "/checkpoints/tiny/llm"
#define SYSTEM_TOKENS 31 // <s> and the system message of vicuna_v1

static Tokenizer *tokenizer;
static bool is_llama;

/// Both kinds of test need a tokenizer; the recorded ids need Llama's.
static void need_tokenizer(void) {
    if (!tokenizer) {
        print_message("skipped: neither shared data nor " TINY_MODEL "\n");
        skip();
    }
}

static void need_llama(void) {
    need_tokenizer();
    if (!is_llama) {
        print_message("skipped: no llama2_tokenizer.model in the shared data\n");
        skip();
    }
}

static ConversationFormat format_of(ConversationTemplate kind) {
    return (ConversationFormat){.kind = kind, .visual_tokens = 64, .model_max_length = 2048};
}

static TokenSequence tokenize(ConversationFormat format, const Turn *turns, int count,
                              bool has_image) {
    TokenSequence sequence;
    Error error = {0};
    if (!conversation_tokenize(tokenizer, &format, turns, count, has_image, &sequence, &error))
        fail_msg("%s", error.message);
    return sequence;
}

static void check_case(const json_t *recorded) {
    Turn turns[8];
    int count = (int)json_array_size(json_object_get(recorded, "turns"));
    bool has_image = false;
    for (int i = 0; i < count; i++) {
        const char *text =
            json_string_value(json_array_get(json_object_get(recorded, "turns"), (size_t)i));
        turns[i] = (Turn){i % 2 ? ROLE_GPT : ROLE_HUMAN, text};
        has_image = has_image || strstr(text, "<image>");
    }
    ConversationTemplate kind;
    assert_true(conversation_template_named(
        json_string_value(json_object_get(recorded, "template")), &kind));
    TokenSequence sequence = tokenize(format_of(kind), turns, count, has_image);
    const json_t *ids = json_object_get(recorded, "ids"), *mask = json_object_get(recorded, "mask");
    assert_int_equal(sequence.count, json_array_size(ids));
    for (int i = 0; i < sequence.count; i++) {
        if (sequence.ids[i] != json_integer_value(json_array_get(ids, (size_t)i)) ||
            sequence.supervised[i] != json_integer_value(json_array_get(mask, (size_t)i)))
            fail_msg("'%s': token %d is %d, supervised %d", turns[0].text, i, sequence.ids[i],
                     sequence.supervised[i]);
    }
    assert_int_equal(sequence.length, sequence.count + (has_image ? 63 : 0));
    assert_true(!has_image || sequence.ids[sequence.image_position] == IMAGE_TOKEN);
    token_sequence_free(&sequence);
}

static void ids_and_masks_equal_llavas(void **state) {
    (void)state;
    need_llama();
    json_t *cases = json_load_file(SOURCE_DIR "/tests/parity/data/conversations.json", 0, NULL);
    assert_true(json_array_size(cases) >= 8);
    for (size_t i = 0; i < json_array_size(cases); i++) check_case(json_array_get(cases, i));
    json_decref(cases);
}

static void answers_that_speak_of_the_template_are_masked_right(void **state) {
    (void)state;
    need_tokenizer();
    // LLaVA's own search for borders gives up on these.
    const Turn turns[] = {{ROLE_HUMAN, "Say ASSISTANT: twice"},
                          {ROLE_GPT, "x ASSISTANT: y USER: z"},
                          {ROLE_HUMAN, "no"},
                          {ROLE_GPT, "a"}};
    TokenSequence sequence = tokenize(format_of(TEMPLATE_VICUNA_V1), turns, 4, false);
    int32_t supervised[256];
    int count = 0;
    for (int i = 0; i < sequence.count; i++)
        if (sequence.supervised[i]) supervised[count++] = sequence.ids[i];
    assert_int_equal(count, sequence.supervised_count);
    DecodedText text = tokenizer_decode(tokenizer, supervised, count);
    assert_string_equal(text.text, "x ASSISTANT: y USER: z a");
    assert_int_equal(supervised[count - 1], tokenizer_eos(tokenizer));
    decoded_text_free(&text);
    token_sequence_free(&sequence);
}

static void a_leading_turn_of_the_model_is_passed_over(void **state) {
    (void)state;
    need_tokenizer();
    const Turn turns[] = {{ROLE_GPT, "Welcome."}, {ROLE_HUMAN, "Hi"}, {ROLE_GPT, "Hello"}};
    TokenSequence with = tokenize(format_of(TEMPLATE_VICUNA_V1), turns, 3, false);
    TokenSequence without = tokenize(format_of(TEMPLATE_VICUNA_V1), turns + 1, 2, false);
    assert_int_equal(with.count, without.count);
    assert_memory_equal(with.ids, without.ids, (size_t)with.count * sizeof *with.ids);
    token_sequence_free(&with);
    token_sequence_free(&without);
}

static void the_system_message_can_be_replaced(void **state) {
    (void)state;
    need_llama();
    const Turn turns[] = {{ROLE_HUMAN, "Hi"}, {ROLE_GPT, "Hello"}};
    ConversationFormat format = format_of(TEMPLATE_VICUNA_V1);
    TokenSequence usual = tokenize(format, turns, 2, false);
    format.system_message = "";
    TokenSequence none = tokenize(format, turns, 2, false);
    assert_int_equal(none.count, usual.count - SYSTEM_TOKENS + 1);
    DecodedText text = tokenizer_decode(tokenizer, none.ids, none.count);
    assert_string_equal(text.text, "USER: Hi ASSISTANT: Hello");
    decoded_text_free(&text);
    token_sequence_free(&usual);
    token_sequence_free(&none);
}

static void llava_v1_is_vicuna_v1_but_for_who_asks(void **state) {
    (void)state;
    need_tokenizer();
    const Turn turns[] = {{ROLE_HUMAN, "<image>\nWhat is it?"}, {ROLE_GPT, "A ring."}};
    ConversationFormat vicuna = format_of(TEMPLATE_VICUNA_V1);
    vicuna.system_message =
        "A chat between a curious human and an artificial intelligence assistant. The assistant "
        "gives helpful, detailed, and polite answers to the human's questions.";
    TokenSequence expected = tokenize(vicuna, turns, 2, true),
                  other = tokenize(format_of(TEMPLATE_VICUNA_V1), turns, 2, true),
                  sequence = tokenize(format_of(TEMPLATE_LLAVA_V1), turns, 2, true);
    assert_int_equal(sequence.count, expected.count);
    assert_memory_equal(sequence.ids, expected.ids, (size_t)expected.count * sizeof *expected.ids);
    assert_memory_equal(sequence.supervised, expected.supervised, (size_t)expected.count);
    assert_true(other.count != expected.count ||
                memcmp(other.ids, expected.ids, (size_t)expected.count * sizeof *expected.ids));
    token_sequence_free(&expected);
    token_sequence_free(&other);
    token_sequence_free(&sequence);
}

static void long_sequences_are_cut_with_the_visual_tokens_counted(void **state) {
    (void)state;
    need_tokenizer();
    const Turn turns[] = {{ROLE_HUMAN, "<image>\nWhat is it?"},
                          {ROLE_GPT, "A ring and a square and a disc."}};
    ConversationFormat format = format_of(TEMPLATE_PLAIN);
    TokenSequence whole = tokenize(format, turns, 2, true);
    assert_false(whole.truncated);
    assert_int_equal(whole.supervised_count, whole.count - 2);
    format.model_max_length = whole.length;
    TokenSequence exact = tokenize(format, turns, 2, true);
    assert_true(!exact.truncated && exact.length == whole.length);
    format.model_max_length = whole.length - 3;
    TokenSequence cut = tokenize(format, turns, 2, true);
    assert_true(cut.truncated);
    assert_int_equal(cut.length, whole.length - 3);
    assert_int_equal(cut.count, whole.count - 3);
    assert_int_equal(cut.supervised_count, whole.supervised_count - 3);
    format = format_of(TEMPLATE_VICUNA_V1);
    format.model_max_length = 66; // 64 of the image: it does not fit behind the system message
    TokenSequence blind = tokenize(format, turns, 2, true);
    assert_int_equal(blind.image_position, -1);
    assert_true(blind.truncated && blind.length == blind.count && blind.count <= 66);
    format.model_max_length = 65;
    Error error = {0};
    TokenSequence none;
    assert_false(conversation_tokenize(tokenizer, &format, turns, 2, true, &none, &error));
    assert_non_null(strstr(error.message, "model_max_length is 65"));
    token_sequence_free(&whole);
    token_sequence_free(&exact);
    token_sequence_free(&cut);
    token_sequence_free(&blind);
}

static void text_that_mentions_an_image_stays_text_without_one(void **state) {
    (void)state;
    need_tokenizer();
    const Turn turns[] = {{ROLE_HUMAN, "What does <image> mean?"},
                          {ROLE_GPT, "<image> is a mark."}};
    TokenSequence sequence = tokenize(format_of(TEMPLATE_VICUNA_V1), turns, 2, false);
    assert_int_equal(sequence.image_position, -1);
    for (int i = 0; i < sequence.count; i++) assert_true(sequence.ids[i] >= 0);
    token_sequence_free(&sequence);
}

static void a_prompt_is_the_start_of_its_training_sample(void **state) {
    (void)state;
    need_tokenizer();
    const Turn turns[] = {{ROLE_HUMAN, "<image>\nWhat is it?"},
                          {ROLE_GPT, "A ring."},
                          {ROLE_HUMAN, "Sure?"},
                          {ROLE_GPT, "Yes."}};
    const Turn unmarked[] = {{ROLE_HUMAN, "What is it?"}};
    for (int kind = TEMPLATE_PLAIN; kind <= TEMPLATE_LLAVA_V1; kind++) {
        ConversationFormat format = format_of((ConversationTemplate)kind);
        int count = kind == TEMPLATE_PLAIN ? 2 : 4;
        TokenSequence sample = tokenize(format, turns, count, true), prompt, short_prompt, marked;
        Error error = {0};
        assert_true(
            conversation_prompt(tokenizer, &format, turns, count - 1, true, &prompt, &error));
        assert_memory_equal(prompt.ids, sample.ids, (size_t)prompt.count * sizeof *prompt.ids);
        assert_int_equal(prompt.supervised_count, 0);
        assert_true(sample.supervised[prompt.count]);
        assert_true(
            conversation_prompt(tokenizer, &format, unmarked, 1, true, &short_prompt, &error));
        assert_true(conversation_prompt(tokenizer, &format, turns, 1, true, &marked, &error));
        assert_int_equal(short_prompt.count, marked.count);
        assert_memory_equal(short_prompt.ids, marked.ids,
                            (size_t)marked.count * sizeof *marked.ids);
        token_sequence_free(&sample);
        token_sequence_free(&prompt);
        token_sequence_free(&short_prompt);
        token_sequence_free(&marked);
    }
}

static void expect_refusal(const Turn *turns, int count, bool has_image, const char *part) {
    Error error = {0};
    assert_false(conversation_check(turns, count, has_image, &error));
    if (!strstr(error.message, part)) fail_msg("'%s' not in: %s", part, error.message);
}

static void conversations_out_of_order_say_what_was_expected(void **state) {
    (void)state;
    const Turn twice[] = {{ROLE_HUMAN, "a"}, {ROLE_HUMAN, "b"}};
    const Turn images[] = {
        {ROLE_HUMAN, "<image> a"}, {ROLE_GPT, "b"}, {ROLE_HUMAN, "<image>"}, {ROLE_GPT, "c"}};
    const Turn wrong[] = {{ROLE_HUMAN, "a"}, {ROLE_GPT, "<image>"}};
    expect_refusal(twice, 2, false, "turn 2 is from 'human'; expected 'gpt'");
    expect_refusal(twice, 1, false, "at least one turn");
    expect_refusal(NULL, 0, false, "at least one turn");
    expect_refusal(images, 4, true, "2 turns have <image>");
    expect_refusal(wrong, 2, true, "expected it in a human turn");
    expect_refusal(images + 2, 1, true, "at least one turn");
    const Turn unmarked[] = {{ROLE_HUMAN, "a"}, {ROLE_GPT, "b"}};
    expect_refusal(unmarked, 2, true, "no turn has <image>");
    ConversationTemplate kind;
    assert_false(conversation_template_named("llama_1", &kind));
}

static void white_space_is_pythons(void **state) {
    (void)state;
    const char *text = " \t\u3000\u00a0x y\u2009z\n\u2028";
    const char *stripped = text;
    assert_int_equal(word_count(text), 3);
    assert_int_equal(strip_space(&stripped, strlen(text)), strlen("x y\u2009z"));
    assert_int_equal(*stripped, 'x');
    stripped = "  ";
    assert_int_equal(strip_space(&stripped, 2), 0);
    assert_int_equal(word_count("\u2026 a\u200bb"),
                     2); // neither an ellipsis nor a zero-width space is white
}

static int open_tokenizer(void **state) {
    (void)state;
    char path[512];
    const char *folder = getenv("DIFFLMM_SHARED_DATA");
    snprintf(path, sizeof path, "%s/llama2_tokenizer.model",
             folder ? folder : SOURCE_DIR "/../shared/data");
    is_llama = access(path, F_OK) == 0;
    Error error = {0};
    if (is_llama || access(TINY_MODEL "/tokenizer.model", F_OK) == 0) {
        tokenizer = tokenizer_open(is_llama ? path : TINY_MODEL, &error);
        if (!tokenizer) print_error("%s\n", error.message);
        return tokenizer ? 0 : -1;
    }
    return 0;
}

static int close_tokenizer(void **state) {
    (void)state;
    tokenizer_close(tokenizer);
    return 0;
}

static void a_question_that_does_not_fit_is_refused(void **state) {
    (void)state;
    const Turn turn = {ROLE_HUMAN, "<image>\nWhat is it?"};
    ConversationFormat format = format_of(TEMPLATE_VICUNA_V1);
    Error error = {0};
    TokenSequence prompt;
    if (!conversation_prompt(tokenizer, &format, &turn, 1, true, &prompt, &error))
        fail_msg("%s", error.message);
    const int length = prompt.length;
    token_sequence_free(&prompt);
    format.model_max_length = length;
    assert_true(conversation_prompt(tokenizer, &format, &turn, 1, true, &prompt, &error));
    assert_int_equal(prompt.length, length);
    token_sequence_free(&prompt);
    for (int shorter = format.visual_tokens + 2; shorter < length; shorter++) {
        format.model_max_length = shorter;
        error = (Error){0};
        assert_false(conversation_prompt(tokenizer, &format, &turn, 1, true, &prompt, &error));
        assert_non_null(strstr(error.message, "data.model_max_length"));
        assert_true(error.is_configuration);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids_and_masks_equal_llavas),
        cmocka_unit_test(answers_that_speak_of_the_template_are_masked_right),
        cmocka_unit_test(a_leading_turn_of_the_model_is_passed_over),
        cmocka_unit_test(the_system_message_can_be_replaced),
        cmocka_unit_test(llava_v1_is_vicuna_v1_but_for_who_asks),
        cmocka_unit_test(long_sequences_are_cut_with_the_visual_tokens_counted),
        cmocka_unit_test(text_that_mentions_an_image_stays_text_without_one),
        cmocka_unit_test(a_prompt_is_the_start_of_its_training_sample),
        cmocka_unit_test(conversations_out_of_order_say_what_was_expected),
        cmocka_unit_test(white_space_is_pythons),
        cmocka_unit_test(a_question_that_does_not_fit_is_refused),
    };
    return cmocka_run_group_tests(tests, open_tokenizer, close_tokenizer);
}
