// rooms: eval data autograd
// CIDEr against pycocoevalcap's.
#include "eval/metrics/text/cider.h"
#include "tests/unit/eval/coco_captions.h"

#include <math.h>

static void check(const CaptionTokens *tokens, json_t *recorded, const char *name, int step) {
    CiderScores *scores = cider_scores(tokens);
    json_t *expected = json_object_get(recorded, "cider_scores");
    assert_int_equal(json_array_size(expected), (scores->count + step - 1) / step);
    for (int i = 0; i < scores->count; i += step)
        expect_near(name, scores->scores[i], json_array_get(expected, (size_t)(i / step)));
    expect_near(name, cider_corpus(scores, NULL), json_object_get(recorded, "cider"));
    cider_scores_free(scores);
}

static void recorded_sets_have_the_scores_of_pycocoevalcap(void **state) {
    (void)state;
    check_recorded_sets(check);
}

static void real_captions_have_the_scores_of_pycocoevalcap(void **state) {
    (void)state;
    check_real_captions(check);
}

static void images_count_as_often_as_they_are_drawn(void **state) {
    (void)state;
    double values[] = {1.0, 2.0, 4.0};
    const CiderScores scores = {3, values};
    const uint32_t twice[] = {2, 0, 1}, none[] = {0, 0, 0};
    assert_true(fabs(cider_corpus(&scores, NULL) - (7.0 / 3.0)) <= 1e-15);
    assert_true(fabs(cider_corpus(&scores, twice) - (2.0)) <= 1e-15);
    assert_true(fabs(cider_corpus(&scores, none) - (0.0)) <= 0.0);
}

static void one_image_alone_has_no_score(void **state) {
    (void)state;
    const char *const references[] = {"a dog runs on the beach"};
    const ImageCaptions image = {references[0], references, 1};
    CaptionTokens *tokens = caption_tokens_new(&image, 1, NULL);
    CiderScores *scores = cider_scores(tokens);
    assert_true(fabs(scores->scores[0] - (0.0)) <= 0.0);
    cider_scores_free(scores);
    caption_tokens_free(tokens);
}

static void an_image_without_references_is_refused(void **state) {
    (void)state;
    const char *const references[] = {"a dog"};
    const ImageCaptions images[] = {{"a dog", references, 1}, {"a cat", references, 0}};
    Error error = {0};
    assert_null(caption_tokens_new(images, 2, &error));
    assert_string_equal(error.message, "image 1 has no reference caption; expected one or more");
}

static void no_images_have_no_score(void **state) {
    (void)state;
    CaptionTokens *tokens = caption_tokens_new(NULL, 0, NULL);
    CiderScores *scores = cider_scores(tokens);
    assert_int_equal(scores->count, 0);
    assert_true(fabs(cider_corpus(scores, NULL) - (0.0)) <= 0.0);
    cider_scores_free(scores);
    caption_tokens_free(tokens);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(recorded_sets_have_the_scores_of_pycocoevalcap),
        cmocka_unit_test(real_captions_have_the_scores_of_pycocoevalcap),
        cmocka_unit_test(images_count_as_often_as_they_are_drawn),
        cmocka_unit_test(one_image_alone_has_no_score),
        cmocka_unit_test(an_image_without_references_is_refused),
        cmocka_unit_test(no_images_have_no_score),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
