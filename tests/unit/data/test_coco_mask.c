// rooms: data autograd
// COCO masks: expected strings and areas were computed once with pycocotools 2.0 for these very
// bitmaps and polygons (tests/parity/record_coco_mask.py prints them).
#include "data/coco_mask.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/parity/data/coco_mask.h"
#include "tests/unit/shared_data.h"

#include <jansson.h>

static void bitmaps_survive_runs_and_strings(void **state) {
    (void)state;
    for (int trial = 0; trial < 50; trial++) {
        int height = 1 + trial % 7 * 3, width = 1 + trial % 5 * 4;
        uint8_t bitmap[400], back[400];
        for (int i = 0; i < height * width; i++)
            bitmap[i] = (uint8_t)((i * 2654435761u + (unsigned)trial * 40503u) >> 13 & 1);
        CocoMask mask = coco_mask_from_bitmap(bitmap, height, width), again;
        char *text = coco_mask_to_string(&mask);
        Error error;
        assert_true(coco_mask_from_string(text, height, width, &again, &error));
        coco_mask_to_bitmap(&again, back);
        assert_memory_equal(bitmap, back, (size_t)(height * width));
        for (int i = 0; i < height * width; i++)
            assert_int_equal(coco_mask_contains(&mask, i / width, i % width), bitmap[i]);
        assert_true(coco_mask_iou(&mask, &again) == (coco_mask_area(&mask) ? 1.0 : 0.0));
        free(text);
        coco_mask_free(&mask);
        coco_mask_free(&again);
    }
}

static void unions_and_intersections_are_those_of_the_pixels(void **state) {
    (void)state;
    uint32_t random = 5;
    for (int trial = 0; trial < 200; trial++) {
        int height = 1 + trial % 7 * 3, width = 1 + trial % 5 * 4, common = 0;
        uint8_t bitmaps[2][400], either[400];
        for (int i = 0; i < height * width; i++) {
            for (int k = 0; k < 2; k++) {
                random = random * 1664525u + 1013904223u;
                // From few and long runs to many short ones.
                uint8_t before = i ? bitmaps[k][i - 1] : (uint8_t)(random >> 9 & 1);
                bitmaps[k][i] = random >> 16 < (uint32_t)trial * 160 ? !before : before;
            }
            common += bitmaps[0][i] & bitmaps[1][i];
            either[i] = bitmaps[0][i] | bitmaps[1][i];
        }
        CocoMask a = coco_mask_from_bitmap(bitmaps[0], height, width),
                 b = coco_mask_from_bitmap(bitmaps[1], height, width),
                 both = coco_mask_union(&a, &b),
                 expected = coco_mask_from_bitmap(either, height, width);
        assert_int_equal(coco_mask_intersection(&a, &b), common);
        assert_int_equal(both.num_counts, expected.num_counts);
        assert_memory_equal(both.counts, expected.counts,
                            (size_t)both.num_counts * sizeof *both.counts);
        coco_mask_free(&a);
        coco_mask_free(&b);
        coco_mask_free(&both);
        coco_mask_free(&expected);
    }
}

static void empty_masks_and_copies_are_whole(void **state) {
    (void)state;
    CocoMask empty = coco_mask_empty(3, 5), copy = coco_mask_copy(&empty),
             both = coco_mask_union(&empty, &copy);
    assert_int_equal(coco_mask_area(&copy), 0);
    assert_int_equal(both.num_counts, 1);
    assert_int_equal(both.counts[0], 15);
    coco_mask_free(&empty);
    coco_mask_free(&copy);
    coco_mask_free(&both);
}

static void polygons_are_rasterised_as_pycocotools_does(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof recorded_polygons / sizeof *recorded_polygons; i++) {
        const RecordedPolygon *p = &recorded_polygons[i];
        CocoMask mask;
        Error error;
        assert_true(
            coco_mask_from_polygon(p->points, p->num_points, p->height, p->width, &mask, &error));
        char *text = coco_mask_to_string(&mask);
        assert_string_equal(text, p->counts);
        assert_int_equal(coco_mask_area(&mask), p->area);
        double box[4];
        coco_mask_box(&mask, box);
        for (int k = 0; k < 4; k++) assert_true(box[k] == p->box[k]);
        free(text);
        coco_mask_free(&mask);
    }
}

/// Reads runs and writes them again; returns their number in the value, lists in it included.
static int round_trip(const json_t *value) {
    const json_t *counts = json_object_get(value, "counts"), *size = json_object_get(value, "size");
    int found = 0;
    if (!json_is_string(counts)) {
        for (size_t i = 0; i < json_array_size(value); i++)
            found += round_trip(json_array_get(value, i));
        return found;
    }
    CocoMask mask;
    Error error = {0};
    if (!coco_mask_from_string(json_string_value(counts),
                               (int)json_integer_value(json_array_get(size, 0)),
                               (int)json_integer_value(json_array_get(size, 1)), &mask, &error))
        fail_msg("%s", error.message);
    char *text = coco_mask_to_string(&mask);
    assert_string_equal(text, json_string_value(counts));
    free(text);
    coco_mask_free(&mask);
    return 1;
}

static void published_masks_are_written_as_they_were_read(void **state) {
    (void)state;
    json_t *video = json_load_file(shared_data("rle/sav_000001_manual.json"), 0, NULL);
    assert_int_equal(round_trip(json_object_get(video, "masklet")), 605);
    json_decref(video);
    json_t *results = json_load_file(
        shared_data("cocoapi_results/instances_val2014_fakesegm100_results.json"), 0, NULL);
    int count = 0;
    for (size_t i = 0; i < json_array_size(results); i++)
        count += round_trip(json_object_get(json_array_get(results, i), "segmentation"));
    assert_int_equal(count, 734);
    json_decref(results);
}

static void runs_that_do_not_fill_the_image_are_refused(void **state) {
    (void)state;
    CocoMask mask;
    Error error;
    assert_false(coco_mask_from_counts((uint32_t[]){3, 4}, 2, 3, 3, &mask, &error));
    assert_non_null(strstr(error.message, "add up to 7 pixels"));
    assert_false(coco_mask_from_string("\x7f", 3, 3, &mask, &error));
    assert_false(coco_mask_from_string("oooooooooooo", 3, 3, &mask, &error));
    assert_false(coco_mask_from_polygon((double[]){0, 0, 1, 1}, 2, 3, 3, &mask, &error));
    assert_false(coco_mask_from_polygon((double[]){0, 0, 1, 1, 1e30, 4}, 3, 3, 3, &mask, &error));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bitmaps_survive_runs_and_strings),
        cmocka_unit_test(unions_and_intersections_are_those_of_the_pixels),
        cmocka_unit_test(empty_masks_and_copies_are_whole),
        cmocka_unit_test(polygons_are_rasterised_as_pycocotools_does),
        cmocka_unit_test(published_masks_are_written_as_they_were_read),
        cmocka_unit_test(runs_that_do_not_fill_the_image_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
