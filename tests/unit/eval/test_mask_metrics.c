// rooms: eval models ops checkpoints data autograd
// Figures of masks and their intervals against numpy's and pycocotools'
// (tests/parity/record_mask_metrics.py), where images that count several times are repeated.
#include "autograd/error.h"
#include "autograd/philox.h"
#include "data/coco_segmentation.h"
#include "eval/metrics/average_recall.h"
#include "eval/metrics/bootstrap.h"
#include "eval/metrics/grounded_masks.h"
#include "eval/metrics/referring_iou.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

static const json_t *recorded(const char *key) {
    static json_t *root;
    if (!root) root = json_load_file(SOURCE_DIR "/tests/parity/data/mask_metrics.json", 0, NULL);
    assert_non_null(root);
    return json_object_get(root, key);
}

static double number_at(const json_t *list, size_t index) {
    const json_t *value = json_array_get(list, index);
    assert_true(json_is_number(value));
    return json_number_value(value);
}

/// Sums of some hundred numbers of at most 1 in another order.
static void assert_near(double value, double expected) {
    if (!(fabs(value - expected) <= 1e-12)) fail_msg("%.17g, expected %.17g", value, expected);
}

/// The times of one case; NULL for the first, which counts every image once.
static const uint32_t *times_at(const json_t *value, size_t index, uint32_t *times) {
    const json_t *list = json_array_get(json_object_get(value, "times"), index);
    for (size_t i = 0; i < json_array_size(list); i++) times[i] = (uint32_t)number_at(list, i);
    return index ? times : NULL;
}

// ---- grounded masks

static double number_similarity(const void *context, const char *truth, const char *prediction) {
    (void)context;
    return 1 - fabs(atof(truth) - atof(prediction)) / 4;
}

static void add_phrases(const json_t *numbers, GroundedCaption *out) {
    out->num_phrases = (int)json_array_size(numbers);
    out->phrases = checked_calloc((size_t)out->num_phrases + 1, sizeof *out->phrases);
    for (int i = 0; i < out->num_phrases; i++)
        out->phrases[i] = format_string("%g", number_at(numbers, (size_t)i));
}

static GroundedCaption grounded_image(const json_t *image, const char *phrases, const char *masks) {
    GroundedCaption out = {.image_id =
                               checked_strdup(json_string_value(json_object_get(image, "id")))};
    const json_t *list = json_object_get(image, masks);
    Error error = {0};
    add_phrases(json_object_get(image, phrases), &out);
    out.masks = checked_calloc(json_array_size(list) + 1, sizeof *out.masks);
    for (; out.num_masks < (int)json_array_size(list); out.num_masks++)
        if (!coco_runs_read(json_array_get(list, (size_t)out.num_masks), &out.masks[out.num_masks],
                            &error))
            fail_msg("%s", error.message);
    return out;
}

static void figures_of_grounded_masks_equal_numpys(void **state) {
    (void)state;
    enum { COUNT = 12 };
    const json_t *value = recorded("grounded"), *images = json_object_get(value, "images");
    GroundedCaption truths[COUNT], predictions[COUNT];
    assert_int_equal(json_array_size(images), COUNT);
    for (size_t i = 0; i < COUNT; i++) {
        truths[i] = grounded_image(json_array_get(images, i), "labels", "truths");
        predictions[i] = grounded_image(json_array_get(images, i), "phrases", "found");
    }
    GroundedMasks masks;
    Error error = {0};
    assert_true(
        grounded_masks_score(truths, predictions, COUNT, number_similarity, NULL, &masks, &error));
    for (int i = 0; i < COUNT; i++) assert_int_equal(masks.images[i].is_unequal, i == 3);
    for (size_t k = 0; k < 4; k++) {
        uint32_t times[COUNT];
        const uint32_t *t = times_at(value, k, times);
        const json_t *expected = json_array_get(json_object_get(value, "figures"), k);
        assert_near(grounded_masks_ap50(&masks, t), number_at(expected, 0));
        assert_near(grounded_masks_mean_iou(&masks, t), number_at(expected, 1));
        assert_near(grounded_masks_recall(&masks, t), number_at(expected, 2));
    }
    grounded_masks_free(&masks);
    for (int i = 0; i < COUNT; i++) {
        grounded_caption_free(&truths[i]);
        grounded_caption_free(&predictions[i]);
    }
}

static CocoMask whole_mask(int height, int width) {
    CocoMask mask;
    Error error = {0};
    assert_true(coco_mask_from_counts((uint32_t[]){0, (uint32_t)(height * width)}, 2, height, width,
                                      &mask, &error));
    return mask;
}

static void masks_of_another_size_are_an_error(void **state) {
    (void)state;
    char *phrases[] = {"1"};
    CocoMask small = whole_mask(2, 3), large = whole_mask(4, 3);
    GroundedCaption truth = {.image_id = "sa_1",
                             .phrases = phrases,
                             .num_phrases = 1,
                             .masks = &small,
                             .num_masks = 1},
                    prediction = truth;
    GroundedMasks masks;
    Error error = {0};
    prediction.masks = &large;
    assert_false(
        grounded_masks_score(&truth, &prediction, 1, number_similarity, NULL, &masks, &error));
    assert_non_null(
        strstr(error.message, "image sa_1: predicted masks of 3 x 4 pixels, true ones of 3 x 2"));
    coco_mask_free(&small);
    coco_mask_free(&large);
}

static void empty_masks_and_absent_phrases_count_nothing(void **state) {
    (void)state;
    CocoMask empty = coco_mask_empty(2, 3);
    char *phrases[] = {"1"};
    GroundedCaption with = {.image_id = "a",
                            .phrases = phrases,
                            .num_phrases = 1,
                            .masks = &empty,
                            .num_masks = 1},
                    without = {.image_id = "a"};
    GroundedMasks masks;
    Error error = {0};
    assert_true(grounded_masks_score(&with, &with, 1, number_similarity, NULL, &masks, &error));
    assert_true(grounded_masks_recall(&masks, NULL) == 0);
    assert_true(grounded_masks_mean_iou(&masks, NULL) == 0);
    assert_true(grounded_masks_ap50(&masks, NULL) == 0);
    grounded_masks_free(&masks);
    assert_true(
        grounded_masks_score(&without, &without, 1, number_similarity, NULL, &masks, &error));
    assert_true(grounded_masks_recall(&masks, NULL) == 0);
    assert_true(isnan(grounded_masks_ap50(&masks, NULL)));
    grounded_masks_free(&masks);
    assert_true(grounded_masks_score(NULL, NULL, 0, number_similarity, NULL, &masks, &error));
    assert_true(isnan(grounded_masks_mean_iou(&masks, NULL)));
    grounded_masks_free(&masks);
    coco_mask_free(&empty);
}

// ---- referring expressions

static void figures_of_referring_expressions_equal_numpys(void **state) {
    (void)state;
    const json_t *value = recorded("referring"), *list = json_object_get(value, "overlaps");
    ReferringOverlap items[64];
    size_t count = json_array_size(list);
    assert_true(count <= 64);
    for (size_t i = 0; i < count; i++) {
        const json_t *row = json_array_get(list, i);
        items[i] = (ReferringOverlap){(int)number_at(row, 0), (int64_t)number_at(row, 1),
                                      (int64_t)number_at(row, 2)};
    }
    for (size_t k = 0; k < 4; k++) {
        uint32_t times[64];
        const uint32_t *t = times_at(value, k, times);
        const json_t *expected = json_array_get(json_object_get(value, "figures"), k);
        ReferringOverlaps all = {items, (int)count, REFERRING_EXACT, 0};
        assert_near(referring_giou(&all, t), number_at(expected, 0));
        assert_near(referring_ciou(&all, t), number_at(expected, 1));
        static const double thresholds[] = {.5, .7, .9};
        for (size_t p = 0; p < 3; p++) {
            all.threshold = thresholds[p];
            assert_near(referring_precision(&all, t), number_at(expected, 2 + p));
        }
        all.rule = REFERRING_AS_LISA;
        assert_near(referring_giou(&all, t), number_at(expected, 5));
        assert_near(referring_ciou(&all, t), number_at(expected, 6));
    }
}

static void overlaps_count_pixels(void **state) {
    (void)state;
    CocoMask truth, prediction, empty = coco_mask_empty(4, 5);
    Error error = {0};
    assert_true(coco_mask_from_counts((uint32_t[]){3, 9, 8}, 3, 4, 5, &truth, &error));
    assert_true(coco_mask_from_counts((uint32_t[]){7, 10, 3}, 3, 4, 5, &prediction, &error));
    ReferringOverlap overlap = referring_overlap(2, &truth, &prediction);
    assert_int_equal(overlap.image, 2);
    assert_int_equal(overlap.intersection, 5);
    assert_int_equal(overlap.union_area, 14);
    // No prediction is an empty one.
    overlap = referring_overlap(0, &truth, NULL);
    assert_int_equal(overlap.intersection, 0);
    assert_int_equal(overlap.union_area, 9);
    overlap = referring_overlap(0, &empty, NULL);
    assert_true(referring_iou_of(&overlap, REFERRING_EXACT) == 0);
    assert_true(referring_iou_of(&overlap, REFERRING_AS_LISA) == 1);
    ReferringOverlaps none = {NULL, 0, REFERRING_EXACT, .5}, nothing = {&overlap, 1, 0, .5};
    assert_true(isnan(referring_giou(&none, NULL)));
    assert_true(isnan(referring_precision(&none, NULL)));
    assert_true(isnan(referring_ciou(&nothing, NULL)));
    coco_mask_free(&truth);
    coco_mask_free(&prediction);
    coco_mask_free(&empty);
}

static void sums_of_pixels_do_not_overflow(void **state) {
    (void)state;
    const ReferringOverlap huge = {0, 1 << 29, 1 << 30};
    const uint32_t times[] = {4000000};
    ReferringOverlaps all = {&huge, 1, REFERRING_EXACT, .5};
    assert_true(referring_ciou(&all, times) == 0.5);
}

// ---- panoptic narratives

static void average_recall_equals_numpys(void **state) {
    (void)state;
    const json_t *value = recorded("narratives"), *list = json_object_get(value, "phrases");
    PhraseOverlap items[64];
    size_t count = json_array_size(list);
    assert_true(count <= 64);
    for (size_t i = 0; i < count; i++) {
        const json_t *row = json_array_get(list, i);
        items[i] = (PhraseOverlap){(int)number_at(row, 0), number_at(row, 1),
                                   number_at(row, 2) == 1, number_at(row, 3) == 1};
    }
    for (size_t k = 0; k < 2; k++) {
        uint32_t times[64];
        const uint32_t *t = times_at(value, k, times);
        const json_t *expected = json_array_get(json_object_get(value, "figures"), k);
        for (int subset = 0; subset < NUM_PHRASE_SUBSETS; subset++) {
            const json_t *pair = json_array_get(expected, (size_t)subset);
            PhraseOverlaps all = {items, (int)count, (PhraseSubset)subset};
            assert_near(average_recall(&all, t), number_at(pair, 0));
            // A hundred thousand terms.
            assert_true(fabs(average_recall_published(&all, t) - number_at(pair, 1)) < 1e-10);
            // Each rectangle is a step wide; the last one is missing.
            assert_true(fabs(average_recall_published(&all, t) - average_recall(&all, t)) <= 2e-5);
        }
    }
    PhraseOverlaps none = {items, 0, PHRASES_ALL};
    assert_true(isnan(average_recall(&none, NULL)));
    assert_true(isnan(average_recall_published(&none, NULL)));
}

// ---- bootstrap

typedef struct Sample {
    double values[64];
    int count;
} Sample;

static double mean_of(const void *context, const uint32_t *times) {
    const Sample *sample = context;
    double sum = 0;
    int64_t count = 0;
    for (int i = 0; i < sample->count; i++) {
        sum += (times ? times[i] : 1) * sample->values[i];
        count += times ? times[i] : 1;
    }
    return sum / (double)count;
}

static Sample sample_of(const json_t *list) {
    Sample sample = {.count = (int)json_array_size(list)};
    for (int i = 0; i < sample.count; i++) sample.values[i] = number_at(list, (size_t)i);
    return sample;
}

static void intervals_equal_numpys_of_the_same_resamples(void **state) {
    (void)state;
    const json_t *value = recorded("bootstrap"), *ends = json_object_get(value, "interval");
    Sample a = sample_of(json_object_get(value, "a")), b = sample_of(json_object_get(value, "b"));
    BootstrapOptions options = BOOTSTRAP_DEFAULTS;
    options.seed = (uint64_t)json_integer_value(json_object_get(value, "seed"));
    options.resamples = (int)json_integer_value(json_object_get(value, "resamples"));
    for (int r = 0; r < 3; r++) {
        uint32_t times[64];
        const json_t *expected = json_array_get(json_object_get(value, "times"), (size_t)r);
        bootstrap_times(options.seed, r, a.count, times);
        for (int i = 0; i < a.count; i++)
            assert_int_equal(times[i], (uint32_t)number_at(expected, (size_t)i));
    }
    Interval interval = bootstrap_interval(mean_of, &a, a.count, &options);
    assert_near(interval.estimate, mean_of(&a, NULL));
    assert_near(interval.low, number_at(ends, 0));
    assert_near(interval.high, number_at(ends, 1));
    assert_int_equal(interval.resamples, options.resamples);
    ends = json_object_get(value, "difference");
    Interval difference = bootstrap_difference(mean_of, &a, mean_of, &b, a.count, &options);
    assert_near(difference.estimate, mean_of(&a, NULL) - mean_of(&b, NULL));
    assert_near(difference.low, number_at(ends, 0));
    assert_near(difference.high, number_at(ends, 1));
    // What both systems share does not widen the interval of their difference.
    assert_true(difference.high - difference.low < (interval.high - interval.low) / 4);
}

/// The percentile interval of the mean of n normal numbers covers the true mean as often as
/// Student's t with n - 1 degrees of freedom is within 1.96 * sqrt((n - 1) / n): for n = 50, 0.942.
static void intervals_cover_the_true_mean_as_often_as_they_should(void **state) {
    (void)state;
    enum { EXPERIMENTS = 1000, N = 50 };
    BootstrapOptions options = {.resamples = 400, .level = 0.95, .seed = 9};
    int covered = 0;
    omp_set_num_threads(1); // the means of 50 numbers are no work to share
    for (uint64_t i = 0; i < EXPERIMENTS; i++) {
        float numbers[N];
        Sample sample = {.count = N};
        philox_normal(77, i, 0, numbers, N);
        for (int k = 0; k < N; k++) sample.values[k] = 3 + numbers[k];
        Interval interval = bootstrap_interval(mean_of, &sample, N, &options);
        covered += interval.low <= 3 && interval.high >= 3;
    }
    omp_set_num_threads(omp_get_num_procs());
    // Four standard errors of a share of 0.942, and 0.005 for the number of resamples.
    const double tolerance = 4 * sqrt(0.942 * 0.058 / EXPERIMENTS) + 0.005;
    if (fabs((double)covered / EXPERIMENTS - 0.942) > tolerance) fail_msg("covered: %d", covered);
}

static void resamples_draw_every_image_equally(void **state) {
    (void)state;
    enum { N = 7, RESAMPLES = 20000 };
    int64_t drawn[N] = {0};
    for (int r = 0; r < RESAMPLES; r++) {
        uint32_t times[N], total = 0;
        bootstrap_times(1, r, N, times);
        for (int i = 0; i < N; i++) drawn[i] += times[i], total += times[i];
        assert_int_equal(total, N);
    }
    // Each is binomial with 140,000 draws and probability 1/7: five standard deviations.
    for (int i = 0; i < N; i++)
        assert_true(fabs((double)drawn[i] - RESAMPLES) < 5 * sqrt(RESAMPLES * 6. / 7));
}

static double mean_where_the_first_counts(const void *context, const uint32_t *times) {
    return times && !times[0] ? NAN : mean_of(context, times);
}

static double nothing(const void *context, const uint32_t *times) {
    (void)context, (void)times;
    return NAN;
}

static void resamples_without_the_figure_are_left_out(void **state) {
    (void)state;
    Sample sample = {{1, 2, 3, 4}, 4};
    Interval interval =
        bootstrap_interval(mean_where_the_first_counts, &sample, 4, &BOOTSTRAP_DEFAULTS);
    // (3/4)^4 of the resamples are without the first image: 316, give or take 5 * 14.7.
    assert_in_range(interval.resamples, 684 - 74, 684 + 74);
    assert_true(interval.low >= 1 && interval.high < 4);
    interval = bootstrap_interval(nothing, NULL, 4, &BOOTSTRAP_DEFAULTS);
    assert_true(isnan(interval.estimate) && isnan(interval.low) && isnan(interval.high));
    assert_int_equal(interval.resamples, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(figures_of_grounded_masks_equal_numpys),
        cmocka_unit_test(masks_of_another_size_are_an_error),
        cmocka_unit_test(empty_masks_and_absent_phrases_count_nothing),
        cmocka_unit_test(figures_of_referring_expressions_equal_numpys),
        cmocka_unit_test(overlaps_count_pixels),
        cmocka_unit_test(sums_of_pixels_do_not_overflow),
        cmocka_unit_test(average_recall_equals_numpys),
        cmocka_unit_test(intervals_equal_numpys_of_the_same_resamples),
        cmocka_unit_test(intervals_cover_the_true_mean_as_often_as_they_should),
        cmocka_unit_test(resamples_draw_every_image_equally),
        cmocka_unit_test(resamples_without_the_figure_are_left_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
