// rooms: eval models ops checkpoints data autograd
// Panoptic annotations: COCO's own files, and files that nobody should have.
#include "eval/annotations/panoptic.h"

#include "data/coco_annotations.h"
#include "data/images/image.h"
#include "tests/unit/shared_data.h"
#include "tests/unit/temporary_folder.h"

/// Every segment of every image has as many pixels as the file says, and contains its own mask.
static void check_areas(const char *json, const char *folder, int num_images) {
    PanopticAnnotations all;
    Error error = {0};
    if (!panoptic_annotations_read(json, &all, &error)) fail_msg("%s", error.message);
    assert_int_equal(all.num_images, num_images);
    for (int i = 0; i < all.num_images; i++) {
        PanopticMap map;
        const PanopticImage *image = &all.images[i];
        if (!panoptic_map_read_annotated(folder, image, &map, &error))
            fail_msg("%s", error.message);
        int64_t total = 0;
        for (int k = 0; k < image->num_segments; k++) {
            CocoMask mask = panoptic_map_mask(&map, &image->segments[k].id, 1);
            assert_int_equal(coco_mask_area(&mask), image->segments[k].area);
            total += coco_mask_area(&mask);
            coco_mask_free(&mask);
        }
        const uint32_t ids[] = {0};
        CocoMask nothing = panoptic_map_mask(&map, ids, 1);
        assert_int_equal(total + coco_mask_area(&nothing), (int64_t)map.height * map.width);
        coco_mask_free(&nothing);
        panoptic_map_free(&map);
    }
    panoptic_annotations_free(&all);
}

static void coco_files_agree_with_themselves(void **state) {
    (void)state;
    check_areas(shared_data("coco_panoptic/panoptic_train2017.json"),
                shared_data("coco_panoptic/panoptic_train2017"), 30);
    check_areas(shared_data("panopticapi/panoptic_examples.json"),
                shared_data("panopticapi/panoptic_examples"), 2);
}

/// The same segments in both of COCO's formats: as colours, and as runs with areas and boxes.
static void segments_are_the_same_in_the_format_of_detections(void **state) {
    (void)state;
    PanopticAnnotations panoptic;
    CocoAnnotations instances;
    Error error = {0};
    int crowds = 0;
    if (!panoptic_annotations_read(shared_data("panopticapi/panoptic_examples.json"), &panoptic,
                                   &error) ||
        !coco_annotations_read_all(shared_data("panopticapi/panoptic_coco_detection_format.json"),
                                   &instances, &error))
        fail_msg("%s", error.message);
    for (int i = 0; i < instances.num_images; i++) {
        const CocoImage *image = &instances.images[i];
        const PanopticImage *same = &panoptic.images[panoptic_find_image(&panoptic, image->id)];
        PanopticMap map;
        if (!panoptic_map_read_annotated(shared_data("panopticapi/panoptic_examples"), same, &map,
                                         &error))
            fail_msg("%s", error.message);
        assert_int_equal(image->num_annotations, same->num_segments);
        for (int k = 0; k < same->num_segments; k++) {
            const CocoAnnotation *a = &instances.annotations[image->first_annotation + k];
            CocoMask mask = panoptic_map_mask(&map, &same->segments[k].id, 1);
            double box[4];
            coco_mask_box(&mask, box);
            assert_int_equal(mask.num_counts, a->mask.num_counts);
            assert_memory_equal(mask.counts, a->mask.counts,
                                (size_t)mask.num_counts * sizeof *mask.counts);
            assert_memory_equal(box, a->box, sizeof box);
            assert_true(a->area == (double)coco_mask_area(&mask));
            assert_int_equal(a->is_crowd, same->segments[k].is_crowd);
            crowds += a->is_crowd;
            coco_mask_free(&mask);
        }
        panoptic_map_free(&map);
    }
    assert_int_equal(crowds, 3);
    coco_annotations_free(&instances);
    panoptic_annotations_free(&panoptic);
}

static void categories_are_things_and_stuff(void **state) {
    (void)state;
    PanopticAnnotations all;
    Error error = {0};
    const char *path = shared_data("coco_panoptic/panoptic_train2017.json");
    if (!panoptic_annotations_read(path, &all, &error)) fail_msg("%s", error.message);
    int things = 0;
    for (int i = 0; i < all.num_categories; i++) things += all.categories[i].is_thing;
    assert_int_equal(all.num_categories, 133);
    assert_int_equal(things, 80);
    assert_int_equal(panoptic_find_image(&all, all.images[7].id), 7);
    assert_int_equal(panoptic_find_image(&all, "0"), -1);
    panoptic_annotations_free(&all);
}

// ---- made up files

#define CATEGORIES "\"categories\": [{\"id\": 1, \"name\": \"ring\", \"isthing\": 1}]"
#define IMAGES "\"images\": [{\"id\": 7, \"file_name\": \"7.jpg\", \"height\": 2, \"width\": 3}]"
#define SEGMENT(text)                                                                             \
    "{" CATEGORIES ", " IMAGES ", \"annotations\": [{\"image_id\": 7, \"file_name\": \"7.png\", " \
    "\"segments_info\": [" text "]}]}"
#define TWO SEGMENT("{\"id\": 258, \"category_id\": 1}, {\"id\": 65539, \"category_id\": 1}")

static bool read_text(const char *text, PanopticAnnotations *out, Error *error) {
    write_text("panoptic.json", text);
    return panoptic_annotations_read(in_folder("panoptic.json"), out, error);
}

/// A PNG with these ids.
static void write_map(const char *name, int height, int width, const uint32_t *ids) {
    Error error = {0};
    Image image = image_new(width, height);
    for (int i = 0; i < height * width; i++)
        for (int c = 0; c < 3; c++) image.pixels[3 * i + c] = (uint8_t)(ids[i] >> (8 * c));
    assert_true(image_write_png(in_folder(name), &image, &error));
    image_free(&image);
}

static void colours_are_ids(void **state) {
    (void)state;
    const uint32_t ids[] = {0, 258, 258, 65539, 65539, 258};
    PanopticAnnotations all;
    PanopticMap map;
    Error error = {0};
    write_map("7.png", 2, 3, ids);
    assert_true(read_text(TWO, &all, &error));
    if (!panoptic_map_read_annotated(temporary_folder, &all.images[0], &map, &error))
        fail_msg("%s", error.message);
    assert_memory_equal(map.ids, ids, sizeof ids);
    assert_int_equal(panoptic_map_at(&map, 1, 0), 65539);
    CocoMask both = panoptic_map_mask(&map, (const uint32_t[]){258, 65539}, 2);
    assert_int_equal(coco_mask_area(&both), 5);
    assert_false(coco_mask_contains(&both, 0, 0));
    coco_mask_free(&both);
    panoptic_map_free(&map);
    panoptic_annotations_free(&all);
}

static void expect_map_error(const PanopticImage *image, const char *message) {
    PanopticMap map;
    Error error = {0};
    assert_false(panoptic_map_read_annotated(temporary_folder, image, &map, &error));
    if (!strstr(error.message, message)) fail_msg("'%s' lacks '%s'", error.message, message);
    assert_null(map.ids);
}

static void maps_that_differ_from_the_annotations_are_refused(void **state) {
    (void)state;
    PanopticAnnotations all;
    Error error = {0};
    assert_true(read_text(TWO, &all, &error));
    expect_map_error(&all.images[0], "7.png");
    write_map("7.png", 2, 3, (const uint32_t[]){0, 258, 258, 0, 0, 0});
    expect_map_error(&all.images[0],
                     "7.png: no pixel has segment 65539, which the annotations of image 7 list");
    write_map("7.png", 2, 3, (const uint32_t[]){258, 258, 258, 65539, 9, 0});
    expect_map_error(&all.images[0], "row 1, column 1 has segment 9, which the annotations of "
                                     "image 7 do not list");
    write_map("7.png", 3, 2, (const uint32_t[]){258, 258, 258, 65539, 0, 0});
    expect_map_error(&all.images[0], "2 x 3 pixels; expected its image's, 3 x 2");
    write_text("7.png", "no picture");
    expect_map_error(&all.images[0], "7.png");
    panoptic_annotations_free(&all);
}

static const struct {
    const char *text, *message;
} bad[] = {
    {"[]", "panoptic.json: expected a JSON object"},
    {"{" IMAGES "}", "there is no category"},
    {"{" CATEGORIES "}", "there is no image"},
    {"{\"categories\": 3}", "\"categories\" is 3; expected a list"},
    {"{\"categories\": [{\"id\": 1, \"name\": \"x\", \"isthing\": 2}], " IMAGES "}",
     "category 1: \"isthing\" is 2; expected 0 or 1"},
    {"{\"categories\": [{\"id\": 1, \"name\": \"x\"}], " IMAGES "}", "\"isthing\" is missing"},
    {"{\"categories\": [{\"id\": 1, \"isthing\": 1}], " IMAGES "}", "number 1 of \"categories\""},
    {"{" CATEGORIES
     ", \"images\": [{\"id\": 7, \"file_name\": \"a\", \"height\": 0, \"width\": 3}]}",
     "the \"height\" of image 7 is 0; expected 1 to 32768"},
    {"{" CATEGORIES ", " IMAGES ", \"annotations\": [{\"image_id\": 8}]}",
     "annotation 0: \"image_id\" is 8, which \"images\" does not list"},
    {"{" CATEGORIES ", " IMAGES ", \"annotations\": [{\"image_id\": 7}]}",
     "image 7: \"file_name\" is missing"},
    {SEGMENT("{\"id\": 0, \"category_id\": 1}"),
     "image 7, segment 0: \"id\" is 0; expected 1 to 16777215"},
    {SEGMENT("{\"id\": 16777216, \"category_id\": 1}"), "expected 1 to 16777215"},
    {SEGMENT("{\"id\": \"5\", \"category_id\": 1}"), "\"id\" is \"5\"; expected 1"},
    {SEGMENT("{\"id\": 5, \"category_id\": 2}"), "\"category_id\" is 2, which"},
    {SEGMENT("{\"id\": 5, \"category_id\": 1, \"area\": -3}"), "\"area\" is -3"},
    {SEGMENT("{\"id\": 5, \"category_id\": 1, \"iscrowd\": 3}"), "\"iscrowd\" is 3"},
    {SEGMENT("{\"id\": 5, \"category_id\": 1}, {\"id\": 5, \"category_id\": 1}"),
     "segment 1: segment id 5 occurs twice"},
    {SEGMENT("7"), "segment 0: \"id\" is missing"},
};

static void what_is_wrong_is_told_with_its_place(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        PanopticAnnotations all;
        Error error = {0};
        assert_false(read_text(bad[i].text, &all, &error));
        if (!strstr(error.message, bad[i].message))
            fail_msg("%zu: '%s' does not have '%s'", i, error.message, bad[i].message);
        assert_null(all.images);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(coco_files_agree_with_themselves),
        cmocka_unit_test(segments_are_the_same_in_the_format_of_detections),
        cmocka_unit_test(categories_are_things_and_stuff),
        IN_FOLDER(colours_are_ids),
        IN_FOLDER(maps_that_differ_from_the_annotations_are_refused),
        IN_FOLDER(what_is_wrong_is_told_with_its_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
