// rooms: data autograd
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "autograd/fnv.h"
#include "autograd/text/byte_buffer.h"
#include "data/coco_annotations.h"
#include "tests/parity/data/coco_mask.h"
#include "tests/unit/shared_data.h"
#include "tests/unit/temporary_folder.h"

#define SQUARE "[[1, 1, 5, 1, 5, 5, 1, 5]]"

/// A file with one image of 8 x 6 pixels, one category and one annotation, each with these members.
static bool read_with(const char *image, const char *category, const char *annotation,
                      CocoAnnotations *out, Error *error) {
    char path[512];
    char *text =
        format_string("{\"images\": [{%s}], \"categories\": [{%s}], \"annotations\": [{%s}]}",
                      image, category, annotation);
    write_text("coco.json", text);
    free(text);
    snprintf(path, sizeof path, "%s", in_folder("coco.json"));
    return coco_annotations_read(path, out, error);
}

#define IMAGE "\"id\": 7, \"file_name\": \"7.png\", \"width\": 8, \"height\": 6"
#define CATEGORY "\"id\": 1, \"name\": \"square\""
#define ANNOTATION "\"id\": 25, \"image_id\": 7, \"category_id\": 1"

/// Pixels of the one annotation; 0 if it was left out.
static int64_t area_with(const char *image, const char *category, const char *annotation) {
    CocoAnnotations all;
    Error error = {0};
    if (!read_with(image, category, annotation, &all, &error)) fail_msg("%s", error.message);
    int64_t area = all.num_annotations ? coco_mask_area(&all.annotations[0].mask) : 0;
    coco_annotations_free(&all);
    return area;
}

static void numbers_may_be_written_as_floats_and_booleans(void **state) {
    (void)state;
    const char *plain = ANNOTATION ", \"segmentation\": " SQUARE;
    assert_int_equal(area_with(IMAGE, CATEGORY, plain), 16);
    assert_int_equal(
        area_with("\"id\": 7.0, \"file_name\": \"7.png\", \"width\": 8.0, \"height\": 6.0",
                  CATEGORY, plain),
        16);
    static const char *const none[] = {"0", "false", "0.0", "-0.0"}, *const crowd[] = {"1", "true",
                                                                                       "1.0"};
    for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
        char *text = format_string("%s, \"iscrowd\": %s", plain, none[i]);
        assert_int_equal(area_with(IMAGE, CATEGORY, text), 16);
        free(text);
    }
    for (size_t i = 0; i < sizeof crowd / sizeof *crowd; i++) {
        char *text = format_string("%s, \"iscrowd\": %s", plain, crowd[i]);
        assert_int_equal(area_with(IMAGE, CATEGORY, text), 0);
        free(text);
    }
    assert_int_equal(area_with(IMAGE, CATEGORY,
                               ANNOTATION ", \"segmentation\": {\"size\": [6.0, 8], \"counts\": "
                                          "[40, 5.0, 3]}"),
                     5);
}

static void ids_may_have_any_number_of_digits(void **state) {
    (void)state;
    CocoAnnotations all;
    Error error = {0};
    write_text(
        "coco.json",
        "{\"images\": [{\"id\": 18446744073709551616, \"file_name\": \"12345678901234567890\", "
        "\"width\": 8, \"height\": 6}, {\"id\": 18446744073709551617, \"file_name\": "
        "\"\\\"1234567890123456789\", \"width\": 8, \"height\": 6}],"
        "\"categories\": [{\"id\": -1234567890123456789012, \"name\": \"a\"}],"
        "\"annotations\": [{\"id\": 99999999999999999999, \"image_id\": 18446744073709551617, "
        "\"category_id\": -1234567890123456789012, \"segmentation\": " SQUARE "}]}");
    char path[512];
    snprintf(path, sizeof path, "%s", in_folder("coco.json"));
    if (!coco_annotations_read(path, &all, &error)) fail_msg("%s", error.message);
    assert_int_equal(all.images[0].num_annotations, 0);
    assert_int_equal(all.images[1].num_annotations, 1);
    assert_string_equal(all.images[1].id, "18446744073709551617");
    assert_string_equal(all.images[0].file_name, "12345678901234567890");
    assert_string_equal(all.images[1].file_name, "\"1234567890123456789");
    coco_annotations_free(&all);
}

typedef struct Bad {
    const char *image, *category, *annotation, *message;
} Bad;

#define SEGMENTATION(text) IMAGE, CATEGORY, ANNOTATION ", \"segmentation\": " text
static const Bad bad[] = {
    {SEGMENTATION("[[[1, 1], [5, 1], [5, 5], [1, 5], [1, 2], [2, 1]]]"),
     "annotation 0 (id 25): coordinate 1 of polygon 1 is [1,1]; expected a number"},
    {SEGMENTATION("[[1, 1, 5, 1, \"5\", 5]]"), "coordinate 5 of polygon 1 is \"5\""},
    {SEGMENTATION("[[1, 1, 5, 1, null, 5]]"), "coordinate 5 of polygon 1 is null"},
    {SEGMENTATION("[[1, 1, 5, 1, true, 5]]"), "coordinate 5 of polygon 1 is true"},
    {SEGMENTATION("[[1, 1, 5, 1, 5, 5, 1]]"), "polygon 1 is [1,1,5,1,5,5,1]; expected a list of an "
                                              "even number of coordinates"},
    {SEGMENTATION("[[1, 1, 5, 1]]"), "polygon 1 is [1,1,5,1]; expected"},
    {SEGMENTATION("["
                  "[1, 1, 5, 1, 5, 5], []]"),
     "polygon 2 is []; expected"},
    {SEGMENTATION("[1, 1, 5, 1, 5, 5]"), "polygon 1 is 1; expected a list"},
    {SEGMENTATION("[{\"x\": 1}]"), "polygon 1 is {\"x\":1}; expected a list"},
    {SEGMENTATION("[[1, 1, 1e300, 1, 5, 5]]"), "coordinate of 1e+300 is outside"},
    {SEGMENTATION("[[-900, 1, 5, 1, 5, 5]]"), "coordinate of -900 is outside"},
    {SEGMENTATION("[[1, 1, NaN, 1, 5, 5]]"), "coco.json:1: not valid JSON"},
    {SEGMENTATION("[]"), "annotation 0 (id 25): no polygon in the segmentation"},
    {SEGMENTATION("null"), "\"segmentation\" is null; expected polygons or runs"},
    {SEGMENTATION("\"x\""), "\"segmentation\" is \"x\"; expected polygons or runs"},
    {SEGMENTATION("{\"size\": [8, 6], \"counts\": [48]}"),
     "\"size\" is [8,6]; expected its image's, [6,8]"},
    {SEGMENTATION("{\"size\": [6.5, 8], \"counts\": [48]}"), "\"size\" is [6.5,8]"},
    {SEGMENTATION("{\"size\": [\"6\", 8], \"counts\": [48]}"), "\"size\" is [\"6\",8]"},
    {SEGMENTATION("{\"counts\": [48]}"), "\"size\" is missing"},
    {SEGMENTATION("{\"size\": [6, 8]}"), "\"counts\" is missing; expected a string or a list"},
    {SEGMENTATION("{\"size\": [6, 8], \"counts\": [40, \"8\"]}"), "run 2 is \"8\""},
    {SEGMENTATION("{\"size\": [6, 8], \"counts\": [40, 7.5]}"), "run 2 is 7.5"},
    {SEGMENTATION("{\"size\": [6, 8], \"counts\": [-1, 49]}"), "run 1 is -1"},
    {IMAGE, CATEGORY, ANNOTATION, "annotation 0 (id 25): \"segmentation\" is missing"},
    {IMAGE, CATEGORY, "\"image_id\": 7, \"category_id\": 1", "annotation 0: "},
    {IMAGE, CATEGORY, ANNOTATION ", \"iscrowd\": 2",
     "annotation 0 (id 25): \"iscrowd\" is 2; expected 0 or 1"},
    {IMAGE, CATEGORY, ANNOTATION ", \"iscrowd\": \"0\"", "\"iscrowd\" is \"0\""},
    {IMAGE, CATEGORY, ANNOTATION ", \"iscrowd\": null", "\"iscrowd\" is null"},
    {IMAGE, CATEGORY, ANNOTATION ", \"iscrowd\": 0.5", "\"iscrowd\" is 0.5"},
    {IMAGE, CATEGORY, ANNOTATION ", \"iscrowd\": []", "\"iscrowd\" is []"},
    {IMAGE, CATEGORY, "\"id\": 25, \"image_id\": 8, \"category_id\": 1",
     "\"image_id\" is 8, which"},
    {IMAGE, CATEGORY, "\"id\": 25, \"image_id\": 7, \"category_id\": null",
     "\"category_id\" is null"},
    {SEGMENTATION(SQUARE ", \"area\": -1"), "\"area\" is -1; expected a number of pixels"},
    {SEGMENTATION(SQUARE ", \"area\": \"9\""), "\"area\" is \"9\""},
    {SEGMENTATION(SQUARE ", \"bbox\": [1, 2, 3]"), "\"bbox\" is [1,2,3]; expected x, y, width"},
    {SEGMENTATION(SQUARE ", \"bbox\": [1, 2, 3, \"4\"]"), "\"bbox\" is [1,2,3,\"4\"]"},
    {SEGMENTATION(SQUARE ", \"bbox\": 7"), "\"bbox\" is 7"},
    {"\"id\": 7, \"file_name\": \"7.png\", \"width\": 8.5, \"height\": 6", CATEGORY, ANNOTATION,
     "the \"width\" of image 7 is 8.5; expected 1 to 32768 pixels"},
    {"\"id\": 7, \"file_name\": \"7.png\", \"width\": 8, \"height\": \"6\"", CATEGORY, ANNOTATION,
     "the \"height\" of image 7 is \"6\""},
    {"\"id\": 7, \"file_name\": \"7.png\", \"width\": true, \"height\": 6", CATEGORY, ANNOTATION,
     "the \"width\" of image 7 is true"},
    {"\"id\": 7, \"file_name\": \"7.png\", \"width\": 0, \"height\": 6", CATEGORY, ANNOTATION,
     "the \"width\" of image 7 is 0"},
    {"\"id\": 7, \"file_name\": \"7.png\", \"width\": 1e300, \"height\": 6", CATEGORY, ANNOTATION,
     "the \"width\" of image 7 is 1e300"},
    {"\"id\": 7, \"file_name\": \"7.png\", \"width\": 8", CATEGORY, ANNOTATION,
     "the \"height\" of image 7 is missing"},
    {"\"file_name\": \"7.png\"", CATEGORY, ANNOTATION, "number 1 of \"images\" is {"},
    {IMAGE, "\"id\": 1.5, \"name\": \"a\"", ANNOTATION, "number 1 of \"categories\" is {"},
};

static void what_is_no_number_is_refused_with_the_annotation_and_what_stands_there(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        CocoAnnotations all;
        Error error = {0};
        if (read_with(bad[i].image, bad[i].category, bad[i].annotation, &all, &error))
            fail_msg("case %zu is accepted: %s", i, bad[i].annotation);
        if (!strstr(error.message, bad[i].message) || strncmp(error.message, "/tmp/", 5) != 0)
            fail_msg("case %zu: %s", i, error.message);
    }
}

static void what_is_no_list_is_refused(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"[]", "expected an object"},
        {"{}", "no image in \"images\""},
        {"{\"images\": {}}", "\"images\" is {}; expected a list"},
        {"{\"images\": [3]}", "number 1 of \"images\" is 3"},
        {"{\"images\": [{" IMAGE "}]}", "no category in \"categories\""},
        {"{\"images\": [{" IMAGE "}], \"categories\": 3}", "\"categories\" is 3; expected a list"},
        {"{\"images\": [{" IMAGE "}], \"categories\": [{" CATEGORY "}], \"annotations\": \"x\"}",
         "\"annotations\" is \"x\"; expected a list"},
        {"{\"images\": [{" IMAGE "}], \"categories\": [{" CATEGORY "}], \"annotations\": [3]}",
         "annotation 0: it is 3"},
        {"\xff\xfe{", "text in UTF-16"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        CocoAnnotations all;
        Error error = {0};
        char path[512];
        write_text("coco.json", cases[i][0]);
        snprintf(path, sizeof path, "%s", in_folder("coco.json"));
        if (coco_annotations_read(path, &all, &error)) fail_msg("accepted: %s", cases[i][0]);
        if (!strstr(error.message, cases[i][1])) fail_msg("case %zu: %s", i, error.message);
    }
}

static void a_file_without_annotations_still_names_categories(void **state) {
    (void)state;
    CocoAnnotations all;
    Error error = {0};
    char path[512];
    write_text("coco.json",
               "\xef\xbb\xbf{\"images\": [{" IMAGE "}], \"categories\": [{" CATEGORY "}]}");
    snprintf(path, sizeof path, "%s", in_folder("coco.json"));
    assert_true(coco_annotations_read(path, &all, &error));
    assert_int_equal(all.num_annotations, 0);
    assert_string_equal(all.category_names[0], "square");
    coco_annotations_free(&all);
}

static void crowds_areas_and_boxes_are_read_where_they_are_wanted(void **state) {
    (void)state;
    CocoAnnotations all;
    Error error = {0};
    // The annotations stand before what they refer to, and image 7 has two of them.
    write_text("coco.json",
               "{\"annotations\": [{" ANNOTATION ", \"segmentation\": " SQUARE
               ", \"iscrowd\": 1, \"area\": 9.5, \"bbox\": [1, 2, 3.5, 4]}, {"
               "\"image_id\": 10, \"category_id\": 3, \"segmentation\": " SQUARE "}, {" ANNOTATION
               ", \"segmentation\": " SQUARE "}], \"images\": [{" IMAGE
               "}, {\"id\": 10, \"file_name\": \"\", \"width\": 8, \"height\": 6}],"
               "\"categories\": [{" CATEGORY "}, {\"id\": 3, \"name\": \"x\"}]}");
    if (!coco_annotations_read_all(in_folder("coco.json"), &all, &error))
        fail_msg("%s", error.message);
    assert_int_equal(all.num_annotations, 3);
    assert_string_equal(all.category_ids[1], "3");
    assert_int_equal(all.images[1].first_annotation, 2);
    const CocoAnnotation *a = all.annotations;
    assert_true(a[0].is_crowd && a[0].area == 9.5 && a[0].box[2] == 3.5);
    assert_true(!a[1].is_crowd && a[1].area == 16 && a[1].box[0] == 1 && a[1].box[2] == 4);
    assert_int_equal(a[2].category, 1);
    coco_annotations_free(&all);
    assert_true(coco_annotations_read(in_folder("coco.json"), &all, &error));
    assert_int_equal(all.num_annotations, 2);
    coco_annotations_free(&all);
}

static void images_are_ordered_by_number_or_else_by_text(void **state) {
    (void)state;
    CocoImage images[] = {{.id = "10"}, {.id = "9"}, {.id = "-10"}, {.id = "100"}, {.id = "-9"}};
    CocoAnnotations all = {.images = images, .num_images = 5};
    int places[5];
    coco_order_images(&all, places);
    assert_memory_equal(places, ((int[]){3, 2, 0, 4, 1}), sizeof places);
    images[4].id = "b";
    coco_order_images(&all, places);
    assert_memory_equal(places, ((int[]){1, 3, 0, 2, 4}), sizeof places);
}

static void real_annotations_have_the_masks_of_pycocotools(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof recorded_instances / sizeof *recorded_instances; i++) {
        CocoAnnotations all;
        ByteBuffer text = {0};
        Error error = {0};
        if (!coco_annotations_read_all(shared_data(recorded_instances[i].name), &all, &error))
            fail_msg("%s", error.message);
        for (int k = 0; k < all.num_annotations; k++) {
            char *counts = coco_mask_to_string(&all.annotations[k].mask);
            byte_buffer_print(&text, "%s\n", counts);
            free(counts);
        }
        assert_int_equal(all.num_annotations, recorded_instances[i].count);
        assert_true(fnv1a(text.data, text.size) == recorded_instances[i].hash);
        byte_buffer_free(&text);
        coco_annotations_free(&all);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_may_be_written_as_floats_and_booleans),
        cmocka_unit_test(ids_may_have_any_number_of_digits),
        cmocka_unit_test(what_is_no_number_is_refused_with_the_annotation_and_what_stands_there),
        cmocka_unit_test(what_is_no_list_is_refused),
        cmocka_unit_test(real_annotations_have_the_masks_of_pycocotools),
        cmocka_unit_test(crowds_areas_and_boxes_are_read_where_they_are_wanted),
        cmocka_unit_test(images_are_ordered_by_number_or_else_by_text),
        cmocka_unit_test(a_file_without_annotations_still_names_categories),
    };
    return cmocka_run_group_tests(tests, make_temporary_folder, remove_temporary_folder);
}
