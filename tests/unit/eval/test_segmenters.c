// rooms: eval models ops checkpoints data autograd
// From a point to a mask: every segmenter behind the one interface.
#include "eval/annotations/panoptic.h"
#include "eval/segmenters/segmenter.h"
#include "models/sam/sam.h"
#include "ops/kernels.h"
#include "tests/unit/recorded.h"
#include "tests/unit/temporary_folder.h"

#include <math.h>
#include <sys/stat.h>

static Image picture_of(int width, int height) {
    Image picture = image_new(width, height);
    for (int i = 0; i < 3 * width * height; i++) picture.pixels[i] = (uint8_t)(i * 7 % 251);
    return picture;
}

static Segments segment_at(Segmenter *segmenter, int row, int column, const float *heat) {
    Error error = {0};
    Segments segments;
    const SegmentPrompt prompt = {.point = {row, column}, .heat = heat};
    if (!segmenter->segment(segmenter, &prompt, &segments, &error)) fail_msg("%s", error.message);
    return segments;
}

static void the_true_mask_is_the_smallest_that_contains_the_point(void **state) {
    (void)state;
    uint8_t large[16] = {1, 1, 1, 1, 1, 1, 1, 1}, small[16] = {1, 1};
    CocoMask masks[] = {coco_mask_from_bitmap(large, 4, 4), coco_mask_from_bitmap(small, 4, 4)};
    Segmenter *truth = segmenter_truth();
    Segments segments;
    Error error;
    SegmentPrompt prompt = {.point = {0, 1}, .truth = masks, .num_truth = 2};
    assert_true(truth->segment(truth, &prompt, &segments, &error));
    assert_int_equal(segments.count, 1);
    assert_int_equal(coco_mask_area(&segments.items[0].mask), 2);
    segments_free(&segments);
    prompt.point.column = 2;
    assert_true(truth->segment(truth, &prompt, &segments, &error));
    assert_int_equal(coco_mask_area(&segments.items[0].mask), 8);
    segments_free(&segments);
    prompt.point.row = 3;
    assert_true(truth->segment(truth, &prompt, &segments, &error));
    assert_int_equal(segments.count, 0);
    truth->close(truth);
    for (int i = 0; i < 2; i++) coco_mask_free(&masks[i]);
}

static void the_region_of_the_highest_score_at_the_point_is_taken(void **state) {
    (void)state;
    Error error = {0};
    write_text("regions.json",
               "[{\"image_id\": 7, \"score\": 0.4, \"segmentation\": {\"size\": [4, 4], "
               "\"counts\": [0, 16]}},"
               "{\"image_id\": 7, \"score\": 0.9, \"segmentation\": {\"size\": [4, 4], "
               "\"counts\": [0, 4, 12]}}]");
    Segmenter *regions = segmenter_regions(in_folder("regions.json"), NULL, &error);
    if (!regions) fail_msg("%s", error.message);
    Image picture = picture_of(4, 4), wider = picture_of(5, 4);
    assert_true(regions->see(regions, &picture, "7", &error));
    Segments segments = segment_at(regions, 2, 0, NULL); // the first column is the better one's
    assert_int_equal(coco_mask_area(&segments.items[0].mask), 4);
    assert_true(segments.items[0].score == 0.9);
    segments_free(&segments);
    segments = segment_at(regions, 2, 1, NULL);
    assert_int_equal(coco_mask_area(&segments.items[0].mask), 16);
    segments_free(&segments);
    // an image that the file does not know has no region
    assert_true(regions->see(regions, &picture, "8", &error));
    segments = segment_at(regions, 2, 1, NULL);
    assert_int_equal(segments.count, 0);
    assert_false(regions->see(regions, &wider, "7", &error));
    assert_non_null(strstr(error.message, "regions.json"));
    assert_non_null(strstr(error.message, "image 7"));
    regions->close(regions);
    assert_null(segmenter_regions(in_folder("nothing.json"), NULL, &error));
    image_free(&picture);
    image_free(&wider);
}

static void a_panoptic_map_gives_the_segment_under_the_point(void **state) {
    (void)state;
    Error error = {0};
    Image map = image_new(4, 4), picture = picture_of(4, 4);
    memset(map.pixels, 0, 4 * 4 * 3);
    for (int i = 0; i < 4; i++) map.pixels[3 * i] = 5; // the first row
    assert_int_equal(mkdir(in_folder("maps"), 0777), 0);
    assert_true(image_write_png(in_folder("maps/000000000042.png"), &map, &error));
    Segmenter *regions = segmenter_regions(in_folder("maps"), NULL, &error);
    assert_non_null(regions);
    assert_true(regions->see(regions, &picture, "42", &error));
    Segments segments = segment_at(regions, 0, 3, NULL);
    assert_int_equal(coco_mask_area(&segments.items[0].mask), 4);
    segments_free(&segments);
    segments = segment_at(regions, 3, 3, NULL); // void is a region, as published
    assert_int_equal(coco_mask_area(&segments.items[0].mask), 12);
    segments_free(&segments);
    assert_false(regions->see(regions, &picture, "43", &error));
    assert_non_null(strstr(error.message, "000000000043.png"));
    regions->close(regions);
    image_free(&map);
    image_free(&picture);
}

static void sam_gives_its_last_mask_first_and_takes_maps_as_well(void **state) {
    (void)state;
    Error error = {0};
    Device *device = ops_cpu_open(1);
    const char *path = RECORDED_FOLDER "sam_transformers";
    Segmenter *points = segmenter_sam(path, device, SAM_PROMPT_POINT, &error);
    if (!points) fail_msg("%s", error.message);
    Image picture;
    assert_true(image_read(RECORDED_FOLDER "sam_transformers/image.png", &picture, &error));
    assert_true(points->see(points, &picture, "1", &error));
    Segments segments = segment_at(points, picture.height / 2, picture.width / 3, NULL);

    Sam *sam = sam_load(path, device, FLOAT32, &error);
    Image resized;
    assert_true(image_resize_longest_side(&picture, sam->config.image_size, &resized, &error));
    SamImage *seen = sam_encode(sam, resized.pixels, sam_frame(sam, picture.width, picture.height));
    const float point[1][2] = {{(float)(picture.width / 3), (float)(picture.height / 2)}};
    SamMasks masks = sam_predict(
        sam, seen, &(SamPrompt){.num_points = 1, .points = point, .labels = (int[]){1}}, true);
    assert_int_equal(segments.count, masks.count);
    for (int i = 0; i < masks.count; i++) {
        int from = masks.count - 1 - i;
        size_t pixels = (size_t)picture.width * (size_t)picture.height;
        CocoMask mask = coco_mask_from_bitmap(masks.masks + (size_t)from * pixels, picture.height,
                                              picture.width);
        assert_int_equal(coco_mask_area(&mask), coco_mask_area(&segments.items[i].mask));
        assert_int_equal(coco_mask_intersection(&mask, &segments.items[i].mask),
                         coco_mask_area(&mask));
        assert_true(segments.items[i].score == (double)masks.iou[from]);
        coco_mask_free(&mask);
    }
    segments_free(&segments);

    // a map that is high nowhere has an empty box, and gives masks all the same
    Segmenter *maps = segmenter_sam(path, device, SAM_PROMPT_MASK, &error);
    float *heat = checked_calloc((size_t)picture.width * (size_t)picture.height, sizeof *heat);
    assert_true(maps->see(maps, &picture, "1", &error));
    segments = segment_at(maps, 0, 0, heat);
    assert_int_equal(segments.count, masks.count);
    double nowhere = segments.items[0].score;
    segments_free(&segments);
    for (int y = 0; y < picture.height / 2; y++) heat[y * picture.width + y] = 0.0002f;
    segments = segment_at(maps, 0, 0, heat);
    assert_true(isfinite(segments.items[0].score) && segments.items[0].score != nowhere);
    segments_free(&segments);
    free(heat);
    maps->close(maps);
    points->close(points);
    sam_masks_free(&masks);
    sam_image_free(seen);
    sam_free(sam);
    image_free(&resized);
    image_free(&picture);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_true_mask_is_the_smallest_that_contains_the_point),
        IN_FOLDER(the_region_of_the_highest_score_at_the_point_is_taken),
        IN_FOLDER(a_panoptic_map_gives_the_segment_under_the_point),
        cmocka_unit_test(sam_gives_its_last_mask_first_and_takes_maps_as_well),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
