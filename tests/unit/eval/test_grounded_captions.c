// rooms: eval models ops checkpoints data autograd
// Grounded captions: annotations in GranD-f's form and predictions in GLaMM's.
#include "eval/annotations/grounded_captions.h"

#include "tests/unit/file_bytes.h"
#include "tests/unit/temporary_folder.h"

#define CAPTIONS                                                                            \
    "{\"images\": [{\"id\": \"b\"}, {\"id\": \"a\", \"height\": \"6\", \"width\": \"8\"}, " \
    "{\"id\": 12, \"height\": 6, \"width\": 8}], \"annotations\": ["                        \
    "{\"id\": 1, \"image_id\": \"a\", \"caption\": \"two rings\", \"labels\": [\"rings\", " \
    "\"x\"]}, "                                                                             \
    "{\"id\": 2, \"image_id\": \"b\", \"caption\": \"nothing\", \"labels\": []}, "          \
    "{\"id\": 3, \"image_id\": \"a\", \"caption\": \"again\", \"labels\": [\"y\"]}, "       \
    "{\"id\": 4, \"image_id\": 12, \"caption\": \"a star\", \"labels\": [\"star\"]}]}"
#define RUNS(counts) "{\"size\": [6, 8], \"counts\": [" counts "]}"
#define MASKS                                                                                 \
    "{\"images\": [{\"id\": \"b\"}, {\"id\": \"a\", \"height\": null}, {\"id\": 12, "         \
    "\"height\": \"6\", \"width\": 8}], \"annotations\": ["                                   \
    "{\"id\": 0, \"image_id\": \"a\", \"segmentation\": " RUNS(                               \
        "40, 5, 3") "}, "                                                                     \
                    "{\"id\": 1, \"image_id\": 12, \"segmentation\": [[1, 1, 5, 1, 5, 5, 1, " \
                    "5]]}, "                                                                  \
                    "{\"id\": 2, \"image_id\": \"a\", \"segmentation\": " RUNS("0, 7, 41") "}]}"

static bool read_texts(const char *captions, const char *masks, GroundedCaptions *out,
                       Error *error) {
    write_text("captions.json", captions);
    write_text("masks.json", masks);
    return grounded_captions_read(in_folder("captions.json"), in_folder("masks.json"), out, error);
}

static void masks_belong_to_phrases_by_their_position(void **state) {
    (void)state;
    GroundedCaptions all;
    Error error = {0};
    if (!read_texts(CAPTIONS, MASKS, &all, &error)) fail_msg("%s", error.message);
    assert_int_equal(all.count, 3);
    const GroundedCaption *b = &all.items[0], *a = &all.items[1], *number = &all.items[2];
    assert_string_equal(b->image_id, "b");
    assert_int_equal(b->num_phrases, 0);
    assert_int_equal(b->num_masks, 0);
    assert_string_equal(a->image_id, "a");
    assert_int_equal(a->num_captions, 2);
    assert_string_equal(a->captions[0], "two rings");
    assert_int_equal(a->num_phrases, 2);
    assert_string_equal(a->phrases[1], "x");
    assert_int_equal(a->num_masks, 2);
    assert_int_equal(coco_mask_area(&a->masks[0]), 5);
    assert_int_equal(coco_mask_area(&a->masks[1]), 7);
    assert_string_equal(number->image_id, "12");
    assert_int_equal(coco_mask_area(&number->masks[0]), 16);
    grounded_captions_free(&all);
}

#define IMAGE_A "{\"images\": [{\"id\": \"a\"}], \"annotations\": "
#define CAPTION_A IMAGE_A "[{\"image_id\": \"a\", \"caption\": \"x\", \"labels\": [\"y\"]}]}"
static const struct {
    const char *captions, *masks, *message;
} bad[] = {
    {"{}", MASKS, "captions.json: there is no image"},
    {"{\"images\": [3]}", MASKS, "number 1 of \"images\" is 3; expected an \"id\""},
    {"{\"images\": [{\"id\": 3}, {\"id\": 3}]}", MASKS, "image id 3 occurs twice"},
    {IMAGE_A "[]}", MASKS, "captions.json: image a has no caption"},
    {IMAGE_A "[{\"image_id\": \"b\"}]}", MASKS, "annotation 0: \"image_id\" is \"b\", which"},
    {IMAGE_A "[{\"image_id\": \"a\"}]}", MASKS, "image a: \"caption\" is missing"},
    {IMAGE_A "[{\"image_id\": \"a\", \"caption\": \"x\", \"labels\": [\"y\", 2]}]}", MASKS,
     "image a: number 2 of \"labels\" is 2; expected a string"},
    {CAPTION_A, "{\"images\": [{\"id\": \"b\"}]}",
     "masks.json: number 1 of \"images\" has the id \"b\", of which there is no caption"},
    {CAPTION_A, IMAGE_A "[{\"image_id\": \"b\"}]}",
     "annotation 0: \"image_id\" is \"b\", of which"},
    {CAPTION_A, IMAGE_A "[{\"id\": 9, \"image_id\": \"a\"}]}",
     "annotation 0 (id 9), image a: \"segmentation\" is missing"},
    {CAPTION_A,
     IMAGE_A "[{\"id\": 9, \"image_id\": \"a\", \"segmentation\": [[1, 1, 2, 2, 1, 2]]}]}",
     "polygons, but \"images\" does not tell"},
    {CAPTION_A,
     IMAGE_A "[{\"id\": 9, \"image_id\": \"a\", \"segmentation\": " RUNS("40, 5, 4") "}]}",
     "add up to 49 pixels, expected 6 x 8"},
    {CAPTION_A,
     IMAGE_A "[{\"image_id\": \"a\", \"segmentation\": " RUNS(
         "48") "}, {\"image_id\": \"a\", "
               "\"segmentation\": {\"size\": [1, 1], \"counts\": [1]}}]}",
     "annotation 1 (id missing), image a: a mask of 1 x 1 pixels; the image's first is 8 x 6"},
    {CAPTION_A,
     "{\"images\": [{\"id\": \"a\", \"height\": 8, \"width\": \"6\"}], \"annotations\": "
     "[{\"image_id\": \"a\", \"segmentation\": " RUNS("48") "}]}",
     "\"size\" is [6,8]; expected its image's, [8,6]"},
};

static void what_is_wrong_is_told_with_its_place(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        GroundedCaptions all;
        Error error = {0};
        assert_false(read_texts(bad[i].captions, bad[i].masks, &all, &error));
        if (!strstr(error.message, bad[i].message))
            fail_msg("%zu: '%s' does not have '%s'", i, error.message, bad[i].message);
        assert_null(all.items);
    }
}

// ---- predictions

static GroundedCaption read_prediction(const char *name) {
    GroundedCaption caption;
    Error error = {0};
    if (!grounded_caption_read(in_folder(name), &caption, &error)) fail_msg("%s", error.message);
    return caption;
}

static void a_prediction_survives_its_file(void **state) {
    (void)state;
    char *captions[] = {"A \"ring\" é"}, *phrases[] = {"A ring", "sand"};
    CocoMask masks[] = {coco_mask_empty(6, 8), coco_mask_empty(6, 8)};
    MaskPoint points[] = {{7, 5}, {0, 1}};
    GroundedCaption written = {"sa_1", captions, 1, phrases, 2, masks, 2, points, 2}, empty = {0};
    Error error = {0};
    masks[0].counts = realloc(masks[0].counts, 3 * sizeof(uint32_t));
    memcpy(masks[0].counts, (uint32_t[]){40, 5, 3}, 3 * sizeof(uint32_t));
    masks[0].num_counts = 3;
    assert_true(grounded_caption_write(in_folder("x.json"), &written, &error));
    GroundedCaption read = read_prediction("x.json");
    assert_string_equal(read.image_id, "sa_1");
    assert_string_equal(read.captions[0], captions[0]);
    assert_string_equal(read.phrases[1], "sand");
    assert_int_equal(read.num_masks, 2);
    assert_int_equal(coco_mask_area(&read.masks[0]), 5);
    assert_true(coco_mask_contains(&read.masks[0], 4, 6) == coco_mask_contains(masks, 4, 6));
    assert_int_equal(read.points[0].x, 7);
    assert_int_equal(read.points[1].y, 1);
    grounded_caption_free(&read);

    empty.image_id = "none";
    assert_true(grounded_caption_write(in_folder("none.json"), &empty, &error));
    read = read_prediction("none.json");
    assert_string_equal(read.captions[0], "");
    assert_int_equal(read.num_phrases + read.num_masks + read.num_points, 0);
    grounded_caption_free(&read);

    phrases[1] = "\xff";
    assert_false(grounded_caption_write(in_folder("y.json"), &written, &error));
    assert_non_null(strstr(error.message, "not UTF-8"));
    assert_int_equal(files_in_folder(), 2);
    coco_mask_free(&masks[0]);
    coco_mask_free(&masks[1]);
}

static void predictions_may_be_nested_and_without_an_id(void **state) {
    (void)state;
    write_text("sa_7.json", "{\"sa_7.jpg\": {\"caption\": \"c\", \"phrases\": [\"p\"], "
                            "\"pred_masks\": [" RUNS("40, 5, 3") "]}}");
    GroundedCaption read = read_prediction("sa_7.json");
    assert_string_equal(read.image_id, "sa_7");
    assert_int_equal(read.num_phrases, 1);
    assert_int_equal(read.num_masks, 1);
    grounded_caption_free(&read);
}

static const struct {
    const char *text, *message;
} bad_predictions[] = {
    {"[]", "p.json: expected a JSON object"},
    {"{\"image_id\": \"a\"}", "p.json: \"caption\" is missing; expected a string"},
    {"{\"image_id\": [], \"caption\": \"\"}", "\"image_id\" is []"},
    {"{\"caption\": \"\", \"phrases\": \"x\"}", "\"phrases\" is \"x\"; expected a list"},
    {"{\"caption\": \"\", \"pred_masks\": [1]}",
     "number 1 of \"pred_masks\": a mask is 1; expected"},
    {"{\"caption\": \"\", \"pred_masks\": [{\"size\": [0, 4]}]}", "\"size\" is [0,4]; expected"},
    {"{\"caption\": \"\", \"pred_masks\": [{\"size\": [99999, 4]}]}", "\"size\" is [99999,4]"},
    {"{\"caption\": \"\", \"pred_masks\": [{\"size\": [2, 4], \"counts\": \"!\"}]}",
     "number 1 of \"pred_masks\": run 0 of a compressed mask"},
    {"{\"caption\": \"\", \"pred_masks\": [" RUNS("48") "], \"points\": [[1, 2], [3, 4]]}",
     "2 \"points\" and 1 \"pred_masks\""},
    {"{\"caption\": \"\", \"pred_masks\": [" RUNS("48") "], \"points\": [[1, -2]]}",
     "number 1 of \"points\" is [1,-2]"},
};

static void damaged_predictions_are_refused(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof bad_predictions / sizeof *bad_predictions; i++) {
        GroundedCaption caption;
        Error error = {0};
        write_text("p.json", bad_predictions[i].text);
        assert_false(grounded_caption_read(in_folder("p.json"), &caption, &error));
        if (!strstr(error.message, bad_predictions[i].message))
            fail_msg("%zu: '%s' does not have '%s'", i, error.message, bad_predictions[i].message);
    }
}

static void no_damage_leads_astray(void **state) {
    (void)state;
    uint32_t random = 1;
    for (int trial = 0; trial < 400; trial++) {
        FileBytes captions = {0}, masks = {0};
        file_bytes_put(&captions, CAPTIONS, strlen(CAPTIONS));
        file_bytes_put(&masks, MASKS, strlen(MASKS));
        file_bytes_mutate(trial % 2 ? &captions : &masks, &random);
        file_bytes_write(&captions, in_folder("captions.json"));
        file_bytes_write(&masks, in_folder("masks.json"));
        GroundedCaptions all;
        Error error = {0};
        if (grounded_captions_read(in_folder("captions.json"), in_folder("masks.json"), &all,
                                   &error))
            grounded_captions_free(&all);
        else
            assert_true(*error.message);
        file_bytes_free(&captions);
        file_bytes_free(&masks);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        IN_FOLDER(masks_belong_to_phrases_by_their_position),
        IN_FOLDER(what_is_wrong_is_told_with_its_place),
        IN_FOLDER(a_prediction_survives_its_file),
        IN_FOLDER(predictions_may_be_nested_and_without_an_id),
        IN_FOLDER(damaged_predictions_are_refused),
        IN_FOLDER(no_damage_leads_astray),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
