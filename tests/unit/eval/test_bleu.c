// rooms: eval data autograd
// BLEU against pycocoevalcap's.
#include "eval/metrics/text/bleu.h"
#include "tests/unit/eval/coco_captions.h"

static void check(const CaptionTokens *tokens, json_t *recorded, const char *name, int step) {
    BleuStatistics *statistics = bleu_statistics(tokens);
    json_t *expected = json_object_get(recorded, "bleu_scores"),
           *expected_whole = json_object_get(recorded, "bleu");
    double bleu[NGRAM_LONGEST];
    assert_int_equal(json_array_size(expected), (tokens->count + step - 1) / step);
    for (int i = 0; i < tokens->count; i += step) {
        bleu_sentence(&statistics[i], bleu);
        for (size_t n = 0; n < NGRAM_LONGEST; n++)
            expect_near(name, bleu[n],
                        json_array_get(json_array_get(expected, (size_t)(i / step)), n));
    }
    bleu_corpus(statistics, tokens->count, NULL, bleu);
    for (size_t n = 0; n < NGRAM_LONGEST; n++)
        expect_near(name, bleu[n], json_array_get(expected_whole, n));
    free(statistics);
}

static void recorded_sets_have_the_scores_of_pycocoevalcap(void **state) {
    (void)state;
    check_recorded_sets(check);
}

static void real_captions_have_the_scores_of_pycocoevalcap(void **state) {
    (void)state;
    check_real_captions(check);
}

static void an_image_drawn_twice_is_as_two_images(void **state) {
    (void)state;
    const char *const references[] = {"a dog on the beach", "two dogs", "a cat"};
    const ImageCaptions images[] = {{"a dog on a beach", references, 3},
                                    {"a bird", references + 2, 1},
                                    {"a dog on a beach", references, 3}};
    CaptionTokens *tokens = caption_tokens_new(images, 3, NULL);
    BleuStatistics *statistics = bleu_statistics(tokens);
    const uint32_t twice[] = {2, 1};
    double drawn[NGRAM_LONGEST], whole[NGRAM_LONGEST];
    bleu_corpus(statistics, 2, twice, drawn);
    bleu_corpus(statistics, 3, NULL, whole);
    assert_memory_equal(drawn, whole, sizeof drawn);
    free(statistics);
    caption_tokens_free(tokens);
}

static void of_two_lengths_as_close_the_shorter_counts(void **state) {
    (void)state;
    const char *const references[] = {"a b c d e f", "a b c d"};
    const ImageCaptions image = {"a b c d e", references, 2};
    CaptionTokens *tokens = caption_tokens_new(&image, 1, NULL);
    BleuStatistics *statistics = bleu_statistics(tokens);
    assert_int_equal(statistics->words, 5);
    assert_int_equal(statistics->reference_words, 4);
    free(statistics);
    caption_tokens_free(tokens);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(recorded_sets_have_the_scores_of_pycocoevalcap),
        cmocka_unit_test(real_captions_have_the_scores_of_pycocoevalcap),
        cmocka_unit_test(an_image_drawn_twice_is_as_two_images),
        cmocka_unit_test(of_two_lengths_as_close_the_shorter_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
