// rooms: eval models ops checkpoints data autograd
// COCO's figures against those of pycocotools (tests/parity/record_coco_eval.py).
#include "eval/metrics/coco_evaluation.h"

#include "data/coco_segmentation.h"
#include "tests/unit/shared_data.h"

#include <math.h>
#include <string.h>

/// Sums of some thousand terms of at most 1 in another order than numpy's.
static const double TOLERANCE = 1e-12;

typedef struct Set {
    CocoTruth *truths;
    CocoDetection *detections;
    CocoMask *masks;
    int num_truths, num_detections, num_masks, num_images, num_categories;
} Set;

static int integer(const json_t *item, const char *key) {
    return (int)json_integer_value(json_object_get(item, key));
}

static const CocoMask *read_mask(Set *set, const json_t *item) {
    CocoMask *mask = &set->masks[set->num_masks++];
    Error error = {0};
    if (!coco_runs_read(json_object_get(item, "mask"), mask, &error)) fail_msg("%s", error.message);
    return mask;
}

static void read_box(const json_t *item, double box[4]) {
    for (size_t i = 0; i < 4; i++)
        box[i] = json_number_value(json_array_get(json_object_get(item, "box"), i));
}

static Set read_set(const json_t *value) {
    const json_t *truths = json_object_get(value, "truths"),
                 *detections = json_object_get(value, "detections"), *item;
    size_t count = json_array_size(truths) + json_array_size(detections), i;
    Set set = {calloc(count + 1, sizeof(CocoTruth)),
               calloc(count + 1, sizeof(CocoDetection)),
               calloc(count + 1, sizeof(CocoMask)),
               0,
               0,
               0,
               integer(value, "images"),
               integer(value, "categories")};
    json_array_foreach((json_t *)truths, i, item) {
        CocoTruth *t = &set.truths[set.num_truths++];
        *t = (CocoTruth){.image = integer(item, "image"),
                         .category = integer(item, "category"),
                         .area = json_number_value(json_object_get(item, "area")),
                         .is_crowd = integer(item, "crowd"),
                         .mask = read_mask(&set, item)};
        read_box(item, t->box);
    }
    json_array_foreach((json_t *)detections, i, item) {
        CocoDetection *d = &set.detections[set.num_detections++];
        *d = (CocoDetection){.image = integer(item, "image"),
                             .category = integer(item, "category"),
                             .score = json_number_value(json_object_get(item, "score")),
                             .mask = read_mask(&set, item)};
        read_box(item, d->box);
    }
    return set;
}

static void free_set(Set *set) {
    for (int i = 0; i < set->num_masks; i++) coco_mask_free(&set->masks[i]);
    free(set->masks);
    free(set->truths);
    free(set->detections);
}

static void assert_figures(const json_t *expected, const double *figures) {
    assert_int_equal(json_array_size(expected), COCO_NUM_FIGURES);
    for (size_t f = 0; f < COCO_NUM_FIGURES; f++) {
        double wanted = json_number_value(json_array_get(expected, f));
        if (fabs(figures[f] - wanted) > TOLERANCE)
            fail_msg("%s is %.17g, expected %.17g", COCO_FIGURE_NAMES[f], figures[f], wanted);
    }
}

/// expected: [1 + num_categories] all categories, then each alone.
static void check_figures(const CocoEvaluation *evaluation, const Set *set, const uint32_t *times,
                          const json_t *expected) {
    assert_int_equal(json_array_size(expected), 1 + set->num_categories);
    for (int category = -1; category < set->num_categories; category++) {
        double figures[COCO_NUM_FIGURES];
        coco_evaluation_figures(evaluation, category, times, figures);
        assert_figures(json_array_get(expected, (size_t)category + 1), figures);
        for (int f = 0; f < COCO_NUM_FIGURES; f++) {
            CocoFigureOf of = {evaluation, category, (CocoFigure)f};
            double one = coco_evaluation_figure(&of, times);
            assert_true(figures[f] < 0 ? isnan(one) : one == figures[f]);
        }
    }
}

static json_t *recorded(void) {
    json_t *root = json_load_file(SOURCE_DIR "/tests/parity/data/coco_eval.json", 0, NULL);
    assert_non_null(root);
    return root;
}

static CocoEvaluation *evaluate(const Set *set, CocoOverlap overlap) {
    return coco_evaluation_new(overlap, set->truths, set->num_truths, set->detections,
                               set->num_detections, set->num_images, set->num_categories);
}

static void figures_equal_those_of_pycocotools(void **state) {
    (void)state;
    json_t *root = recorded(), *value;
    size_t i;
    json_array_foreach(json_object_get(root, "sets"), i, value) {
        Set set = read_set(value);
        for (int overlap = 0; overlap < 2; overlap++) {
            CocoEvaluation *evaluation = evaluate(&set, (CocoOverlap)overlap);
            check_figures(evaluation, &set, NULL,
                          json_object_get(value, overlap == COCO_SEGM ? "segm" : "bbox"));
            coco_evaluation_free(evaluation);
        }
        free_set(&set);
    }
    json_decref(root);
}

static void an_image_counted_twice_is_two_images(void **state) {
    (void)state;
    json_t *root = recorded(), *value;
    size_t i;
    json_array_foreach(json_object_get(root, "sets"), i, value) {
        Set set = read_set(value);
        for (int overlap = 0; overlap < 2; overlap++) {
            CocoEvaluation *evaluation = evaluate(&set, (CocoOverlap)overlap);
            json_t *expected =
                json_object_get(value, overlap == COCO_SEGM ? "segm_times" : "bbox_times");
            for (size_t k = 0; k < json_array_size(expected); k++) {
                uint32_t times[16];
                json_t *list = json_array_get(json_object_get(value, "times"), k);
                for (int n = 0; n < set.num_images; n++)
                    times[n] = (uint32_t)json_integer_value(json_array_get(list, (size_t)n));
                check_figures(evaluation, &set, times, json_array_get(expected, k));
            }
            coco_evaluation_free(evaluation);
        }
        free_set(&set);
    }
    json_decref(root);
}

// ---- published results against a truth that is made of them, as record_coco_eval.py makes it

/// Index of an id among the sorted ids.
static int rank_of(const json_t *results, const char *key, int64_t id, int *count) {
    static int64_t ids[1024];
    int n = 0, rank = 0;
    for (size_t i = 0; i < json_array_size(results); i++) {
        int64_t other = json_integer_value(json_object_get(json_array_get(results, i), key));
        int k = 0;
        while (k < n && ids[k] != other) k++;
        if (k < n) continue;
        ids[n++] = other;
        rank += other < id;
    }
    *count = n;
    return rank;
}

static void add_result(Set *set, const json_t *results, const json_t *item, CocoOverlap overlap) {
    CocoDetection *d = &set->detections[set->num_detections++];
    d->image = rank_of(results, "image_id", integer(item, "image_id"), &set->num_images);
    d->category =
        rank_of(results, "category_id", integer(item, "category_id"), &set->num_categories);
    d->score = json_number_value(json_object_get(item, "score"));
    if (overlap == COCO_SEGM) {
        CocoMask *mask = &set->masks[set->num_masks++];
        Error error = {0};
        if (!coco_runs_read(json_object_get(item, "segmentation"), mask, &error))
            fail_msg("%s", error.message);
        d->mask = mask;
    } else {
        for (size_t i = 0; i < 4; i++)
            d->box[i] = json_number_value(json_array_get(json_object_get(item, "bbox"), i));
    }
}

static void add_truths(Set *set, CocoOverlap overlap) {
    for (int i = 0; i < set->num_detections - 1; i += 2) {
        const CocoDetection *a = &set->detections[i], *b = a + 1;
        CocoTruth *t = &set->truths[set->num_truths++];
        *t = (CocoTruth){.image = a->image, .category = a->category, .is_crowd = i % 7 == 0};
        if (overlap == COCO_BBOX) {
            memcpy(t->box, a->box, sizeof t->box);
            t->box[2] *= .8;
            t->area = a->box[2] * a->box[3];
            continue;
        }
        bool same = a->image == b->image && a->category == b->category;
        CocoMask *mask = &set->masks[set->num_masks++];
        *mask = coco_mask_union(a->mask, same ? b->mask : a->mask);
        t->mask = mask;
        t->area = (double)coco_mask_area(mask);
    }
}

static void published_results_give_the_figures_of_pycocotools(void **state) {
    (void)state;
    const char *const files[] = {"cocoapi_results/instances_val2014_fakesegm100_results.json",
                                 "cocoapi_results/instances_val2014_fakebbox100_results.json"};
    json_t *root = recorded();
    for (int overlap = 0; overlap < 2; overlap++) {
        json_t *results = json_load_file(shared_data(files[overlap]), 0, NULL), *item;
        size_t count = json_array_size(results), i;
        Set set = {calloc(count, sizeof(CocoTruth)),
                   calloc(count, sizeof(CocoDetection)),
                   calloc(2 * count, sizeof(CocoMask)),
                   0,
                   0,
                   0,
                   0,
                   0};
        json_array_foreach(results, i, item) add_result(&set, results, item, (CocoOverlap)overlap);
        add_truths(&set, (CocoOverlap)overlap);
        CocoEvaluation *evaluation = evaluate(&set, (CocoOverlap)overlap);
        double figures[COCO_NUM_FIGURES];
        coco_evaluation_figures(evaluation, -1, NULL, figures);
        assert_figures(json_object_get(json_object_get(root, "published"),
                                       overlap == COCO_SEGM ? "segm" : "bbox"),
                       figures);
        coco_evaluation_free(evaluation);
        free_set(&set);
        json_decref(results);
    }
    json_decref(root);
}

static void nothing_at_all_has_no_figures(void **state) {
    (void)state;
    double figures[COCO_NUM_FIGURES];
    CocoEvaluation *evaluation = coco_evaluation_new(COCO_SEGM, NULL, 0, NULL, 0, 0, 0);
    coco_evaluation_figures(evaluation, -1, NULL, figures);
    for (int f = 0; f < COCO_NUM_FIGURES; f++) assert_true(figures[f] == -1);
    coco_evaluation_free(evaluation);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(figures_equal_those_of_pycocotools),
        cmocka_unit_test(an_image_counted_twice_is_two_images),
        cmocka_unit_test(published_results_give_the_figures_of_pycocotools),
        cmocka_unit_test(nothing_at_all_has_no_figures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
