// rooms: eval data autograd
// From the bytes of a word to the tokens it is made of, with every kind of tokenizer.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data/tokenizers/tokenizer.h"
#include "eval/phrases/token_spans.h"

static const char *const RECORDED[] = {"llama_2", "llama_3", "gpt_2",
                                       "qwen_2",  "smollm2", "mistral"};
enum { NUM_RECORDED = 6 };

static const char *const HARD_TEXTS[] = {
    "A small red ring.",
    " leading  blanks",
    "a 🌧️ and a 👩‍🚀, both small", // several code points, several bytes each
    "cafe\xcc\x81 nai\xcc\x88ve",              // combining marks
    "Cửa Việt\n\n\tĐà",
    "我想在apple工作1314151天～",
    "\n\n",
    "x",
};
enum { NUM_TEXTS = sizeof HARD_TEXTS / sizeof *HARD_TEXTS };

static Tokenizer *open_tokenizer(const char *path) {
    Error error = {0};
    Tokenizer *tokenizer = tokenizer_open(path, &error);
    if (!tokenizer) fail_msg("%s", error.message);
    return tokenizer;
}

static TokenList encode(const Tokenizer *tokenizer, const char *text) {
    TokenList list = {0};
    Error error = {0};
    if (!tokenizer_encode(tokenizer, text, strlen(text), &list, &error))
        fail_msg("%s", error.message);
    return list;
}

/// Every prefix of the tokens that ends with a whole character decodes to the text up to where the
/// last token's span ends: what decoding prefix by prefix gives, as attend-and-segment does it.
static void check_prefixes(const Tokenizer *tokenizer, const char *text) {
    TokenList list = encode(tokenizer, text);
    DecodedText whole = tokenizer_decode(tokenizer, list.ids, list.count);
    for (int count = 1; count <= list.count; count++) {
        DecodedText prefix = tokenizer_decode(tokenizer, list.ids, count);
        const size_t length = strlen(prefix.text);
        if (strncmp(prefix.text, whole.text, length) == 0 &&
            (int32_t)length != whole.end[count - 1])
            fail_msg("'%s': %d tokens are %zu bytes, the span ends at %d", text, count, length,
                     whole.end[count - 1]);
        decoded_text_free(&prefix);
    }
    decoded_text_free(&whole);
    token_list_free(&list);
}

/// The tokens over bytes [begin, end) leave out none that has a byte there, and each has one.
static void check_overlaps(const Tokenizer *tokenizer, const char *text) {
    TokenList list = encode(tokenizer, text);
    DecodedText decoded = tokenizer_decode(tokenizer, list.ids, list.count);
    const int32_t length = (int32_t)strlen(decoded.text);
    int *tokens = malloc(((size_t)list.count + 1) * sizeof *tokens);
    for (int32_t begin = 0; begin < length; begin++) {
        const int32_t end = begin + 1 + begin % 5 < length ? begin + 1 + begin % 5 : length;
        const int count =
            tokens_of_span(decoded.begin, decoded.end, decoded.count, begin, end, tokens);
        assert_true(count >= 1);
        int32_t covered = begin;
        for (int i = 0; i < count; i++) {
            if (decoded.begin[tokens[i]] > covered)
                fail_msg("'%s': bytes [%d, %d): %d is in no token", text, begin, end, covered);
            covered = decoded.end[tokens[i]];
        }
        assert_true(covered >= end && decoded.begin[tokens[count - 1]] < end);
    }
    free(tokens);
    decoded_text_free(&decoded);
    token_list_free(&list);
}

static void check_tokenizer(const char *path) {
    Tokenizer *tokenizer = open_tokenizer(path);
    for (int i = 0; i < NUM_TEXTS; i++) {
        check_prefixes(tokenizer, HARD_TEXTS[i]);
        check_overlaps(tokenizer, HARD_TEXTS[i]);
    }
    tokenizer_close(tokenizer);
}

static void spans_end_where_the_text_of_the_tokens_so_far_ends(void **state) {
    (void)state;
    for (int i = 0; i < NUM_RECORDED; i++) {
        char path[512];
        snprintf(path, sizeof path, SOURCE_DIR "/tests/parity/data/tokenizers/%s", RECORDED[i]);
        check_tokenizer(path);
    }
}

static void so_do_those_of_the_published_sentence_piece_model(void **state) {
    (void)state;
    const char *folder = getenv("DIFFLMM_SHARED_DATA");
    char path[512];
    snprintf(path, sizeof path, "%s/llama2_tokenizer.model",
             folder ? folder : SOURCE_DIR "/../shared/data");
    if (access(path, R_OK) != 0) skip();
    check_tokenizer(path);
}

static void a_character_of_four_byte_tokens_is_made_of_all_four(void **state) {
    (void)state;
    Tokenizer *tokenizer = open_tokenizer(SOURCE_DIR "/tests/parity/data/tokenizers/llama_2");
    int32_t ids[4];
    for (int i = 0; i < 4; i++) {
        char piece[8];
        snprintf(piece, sizeof piece, "<0x%02X>", (unsigned char)"\xf0\x9f\x90\x88"[i]);
        ids[i] = tokenizer_piece_id(tokenizer, piece);
        assert_true(ids[i] >= 0);
    }
    DecodedText decoded = tokenizer_decode(tokenizer, ids, 4);
    assert_string_equal(decoded.text, "\xf0\x9f\x90\x88");
    int tokens[4];
    assert_int_equal(tokens_of_span(decoded.begin, decoded.end, 4, 0, 4, tokens), 4);
    decoded_text_free(&decoded);
    tokenizer_close(tokenizer);
}

static void the_blank_before_a_word_is_of_its_first_token_and_of_no_other_word(void **state) {
    (void)state;
    const int32_t begin[] = {0, 1, 5, 7}, end[] = {1, 5, 7, 8}; // "A" " red" " b" "c"
    int tokens[4];
    assert_int_equal(tokens_of_span(begin, end, 4, 2, 5, tokens), 1);
    assert_int_equal(tokens[0], 1);
    assert_int_equal(tokens_of_span(begin, end, 4, 6, 8, tokens), 2);
    assert_int_equal(tokens[0], 2);
    assert_int_equal(tokens[1], 3);
    assert_int_equal(tokens_of_span(begin, end, 4, 8, 9, tokens), 0);
    assert_int_equal(tokens_of_span(begin, end, 4, 3, 3, tokens), 0);
}

static void a_token_without_text_is_of_no_word(void **state) {
    (void)state;
    const int32_t begin[] = {0, 2, 2}, end[] = {2, 2, 4}; // </s> between two halves of a word
    int tokens[3];
    assert_int_equal(tokens_of_span(begin, end, 3, 0, 4, tokens), 2);
    assert_int_equal(tokens[1], 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(spans_end_where_the_text_of_the_tokens_so_far_ends),
        cmocka_unit_test(so_do_those_of_the_published_sentence_piece_model),
        cmocka_unit_test(a_character_of_four_byte_tokens_is_made_of_all_four),
        cmocka_unit_test(the_blank_before_a_word_is_of_its_first_token_and_of_no_other_word),
        cmocka_unit_test(a_token_without_text_is_of_no_word),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
