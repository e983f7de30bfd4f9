// rooms: data autograd
// Tokens and masks as LLaVA's rules give them, recorded by tests/parity/check_conversations.py.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "autograd/json_file.h"
#include "data/instruction_sample.h"

typedef struct Expected {
    const json_t *beginning, *ids;
    const char *mask;
} Expected;

static int32_t expected_id(const Expected *expected, size_t i) {
    const size_t begin = json_array_size(expected->beginning);
    return (int32_t)json_integer_value(i < begin ? json_array_get(expected->beginning, i)
                                                 : json_array_get(expected->ids, i - begin));
}

static void compare(const TokenSequence *sequence, const Expected *expected, size_t number) {
    const size_t count = json_array_size(expected->beginning) + json_array_size(expected->ids);
    if ((size_t)sequence->count != count || strlen(expected->mask) != count)
        fail_msg("case %zu: %d tokens, expected %zu", number, sequence->count, count);
    for (size_t i = 0; i < count; i++) {
        if (sequence->ids[i] != expected_id(expected, i))
            fail_msg("case %zu, token %zu: id %d, expected %d", number, i, sequence->ids[i],
                     expected_id(expected, i));
        if (sequence->supervised[i] != (expected->mask[i] == '1'))
            fail_msg("case %zu, token %zu: supervised %d, expected %c", number, i,
                     sequence->supervised[i], expected->mask[i]);
    }
}

static void check_case(const Tokenizer *tokenizer, const json_t *recorded, const json_t *beginnings,
                       size_t number) {
    const char *template = json_string_value(json_object_get(recorded, "template"));
    ConversationFormat format = {.visual_tokens = 1, .model_max_length = 1 << 20};
    assert_true(conversation_template_named(template, &format.kind));
    Error error = {0};
    Sample sample;
    TokenSequence sequence = {0};
    if (!sample_read(json_incref(json_object_get(recorded, "sample")), ".", &sample, &error) ||
        !sample_tokenize(&sample, tokenizer, &format, &sequence, &error))
        fail_msg("case %zu: %s", number, error.message);
    const Expected expected = {json_object_get(beginnings, template),
                               json_object_get(recorded, "ids"),
                               json_string_value(json_object_get(recorded, "mask"))};
    compare(&sequence, &expected, number);
    token_sequence_free(&sequence);
    sample_free(&sample);
}

static void check_file(const char *tokenizer_path, const char *name) {
    Error error = {0};
    char *path = format_string(SOURCE_DIR "/tests/parity/data/%s", name);
    json_t *file = json_file_read_object(path, 0, &error);
    Tokenizer *tokenizer = file ? tokenizer_open(tokenizer_path, &error) : NULL;
    if (!tokenizer) fail_msg("%s", error.message);
    const json_t *cases = json_object_get(file, "cases"), *recorded;
    size_t number;
    json_array_foreach(cases, number, recorded)
        check_case(tokenizer, recorded, json_object_get(file, "beginnings"), number);
    assert_true(number > 200);
    tokenizer_close(tokenizer);
    json_decref(file);
    free(path);
}

static void sentence_piece_tokens_and_masks_are_llava_s(void **state) {
    (void)state;
    check_file(SOURCE_DIR "/checkpoints/tiny/llm/tokenizer.model",
               "conversations_sentence_piece.json");
}

static void byte_level_tokens_and_masks_are_by_the_same_rules(void **state) {
    (void)state;
    check_file(SOURCE_DIR "/tests/parity/data/tokenizers/llama_3", "conversations_byte_level.json");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sentence_piece_tokens_and_masks_are_llava_s),
        cmocka_unit_test(byte_level_tokens_and_masks_are_by_the_same_rules),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
