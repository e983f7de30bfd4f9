// rooms: eval data autograd
// English text in tokens: what spaCy 3.8's tokenizer gives for these texts, one after another.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "autograd/error.h"
#include "eval/phrases/english_tokens.h"
#include "eval/phrases/noun_chunk_weights.h"
#include "eval/phrases/special_cases.h"

static NounChunkWeights weights;
static EnglishTokenizer *tokenizer;

static int open_tokenizer(void **state) {
    (void)state;
    noun_chunk_weights_read(&weights, noun_chunk_data,
                            (size_t)(noun_chunk_data_end - noun_chunk_data));
    tokenizer = english_tokenizer_new(&weights.rules);
    return 0;
}

static int close_tokenizer(void **state) {
    (void)state;
    english_tokenizer_free(tokenizer);
    noun_chunk_weights_free(&weights);
    return 0;
}

/// `expected`: the tokens with '|' between them.
static void expect_tokens(const char *text, const char *expected) {
    EnglishTokens tokens = english_tokens(tokenizer, text, strlen(text));
    char *joined = checked_calloc(2 * strlen(text) + 2, 1);
    for (size_t i = 0; i < tokens.count; i++) {
        if (i) strcat(joined, "|");
        strncat(joined, text + tokens.begin[i], tokens.end[i] - tokens.begin[i]);
    }
    assert_string_equal(joined, expected);
    free(joined);
    english_tokens_free(&tokens);
}

static void punctuation_is_cut_from_both_ends_of_a_word(void **state) {
    (void)state;
    expect_tokens("(\"Hello!\") he said...", "(|\"|Hello|!|\"|)|he|said|...");
    expect_tokens("\xe2\x80\x9cquoted\xe2\x80\x9d \xe2\x80\x94 a",
                  "\xe2\x80\x9c|quoted|\xe2\x80\x9d|\xe2\x80\x94|a");
    expect_tokens("1990s' 10% 5'9\" #1 @home", "1990s|'|10|%|5'9|\"|#|1|@home");
}

static void hyphens_and_slashes_cut_a_word_in_its_inside(void **state) {
    (void)state;
    expect_tokens("A red-and-white t-shirt, isn't it?",
                  "A|red|-|and|-|white|t|-|shirt|,|is|n't|it|?");
    expect_tokens("a/b and/or c=d e<f", "a|/|b|and/or|c|=|d|e|<|f");
    expect_tokens("3-5 2+2 x-ray 4x4 10cm.", "3|-|5|2|+|2|x|-|ray|4x4|10|cm|.");
    expect_tokens("end.Start a,b,c", "end|.|Start|a|,|b|,|c");
}

static void contractions_are_cut_by_the_list(void **state) {
    (void)state;
    expect_tokens("He can't; they're the dog's.", "He|ca|n't|;|they|'re|the|dog|'s|.");
    expect_tokens("cannot gonna I'm Im I'd've", "can|not|gon|na|I|'m|I|m|I|'d|'ve");
    expect_tokens("U.S. Mr. Smith's :-(", "U.S.|Mr.|Smith|'s|:-(");
}

static void units_money_times_and_addresses_are_known(void **state) {
    (void)state;
    expect_tokens("It costs $5.50 (or 20km/h) at 3:30 p.m.",
                  "It|costs|$|5.50|(|or|20|km/h|)|at|3:30|p.m.");
    expect_tokens("See www.example.com/a-b, or mail a.b@c.org.",
                  "See|www.example.com/a-b|,|or|mail|a.b@c.org|.");
}

static void white_space_of_more_than_a_blank_is_a_token(void **state) {
    (void)state;
    expect_tokens("two  blanks\n\nand \tmore ", "two| |blanks|\n\n|and|\t|more");
    expect_tokens("a \xc2\xa0x", "a|\xc2\xa0|x");
    expect_tokens("  ", "  ");
    expect_tokens("", "");
}

static void words_of_other_scripts_stay_whole(void **state) {
    (void)state;
    expect_tokens("cafe\xcc\x81 \xc4\x90\xc3\xa0 \xe6\x88\x91\xe6\x83\xb3",
                  "cafe\xcc\x81|\xc4\x90\xc3\xa0|\xe6\x88\x91\xe6\x83\xb3");
}

static void a_word_without_end_is_one_token(void **state) {
    (void)state;
    enum { LENGTH = 1 << 20 };
    char *text = checked_malloc(LENGTH);
    memset(text, '(', LENGTH);
    EnglishTokens tokens = english_tokens(tokenizer, text, LENGTH);
    assert_int_equal(tokens.count, 1);
    assert_int_equal(tokens.end[0], LENGTH);
    english_tokens_free(&tokens);
    free(text);
}

static void special_cases_are_found_by_their_whole_word(void **state) {
    (void)state;
    static const char lines[] = "can't\t2 3\na.\t2\n";
    SpecialCases cases = {0};
    special_cases_read(&cases, lines, sizeof lines - 1);
    const SpecialCase *found = special_cases_find(&cases, "can't", 5);
    assert_non_null(found);
    assert_int_equal(found->num_tokens, 2);
    assert_int_equal(found->token_size[1], 3);
    assert_null(special_cases_find(&cases, "can't", 4));
    assert_null(special_cases_find(&cases, "a", 1));
    special_cases_free(&cases);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(punctuation_is_cut_from_both_ends_of_a_word),
        cmocka_unit_test(hyphens_and_slashes_cut_a_word_in_its_inside),
        cmocka_unit_test(contractions_are_cut_by_the_list),
        cmocka_unit_test(units_money_times_and_addresses_are_known),
        cmocka_unit_test(white_space_of_more_than_a_blank_is_a_token),
        cmocka_unit_test(words_of_other_scripts_stay_whole),
        cmocka_unit_test(a_word_without_end_is_one_token),
        cmocka_unit_test(special_cases_are_found_by_their_whole_word),
    };
    return cmocka_run_group_tests(tests, open_tokenizer, close_tokenizer);
}
