// rooms: eval models ops checkpoints data autograd
// Regions from files: pickles that Python wrote with numpy's numbers in them
// (tests/parity/record_regions.py), COCO's results, and files that nobody should have.
#include "eval/annotations/regions.h"

#include <dirent.h>

#include "eval/annotations/pickled_numbers.h"
#include "tests/unit/file_bytes.h"
#include "tests/unit/shared_data.h"
#include "tests/unit/temporary_folder.h"

#define RECORDED SOURCE_DIR "/tests/parity/data/regions/"

static Regions read_regions(const char *path, const char *images) {
    Regions regions;
    Error error = {0};
    if (!regions_read(path, images, &regions, &error)) fail_msg("%s", error.message);
    return regions;
}

/// The regions of record_regions.py, whatever their scores were written as.
static void check_recorded(const Regions *regions) {
    const ImageRegions *image = regions_find(regions, "7");
    assert_non_null(image);
    assert_int_equal(image->num_regions, 3);
    static const int positions[] = {1, 2, 0};
    static const int areas[] = {108, 4, 48};
    for (int i = 0; i < 3; i++) {
        assert_int_equal(image->regions[i].position, positions[i]);
        assert_int_equal(coco_mask_area(&image->regions[i].mask), areas[i]);
    }
    assert_true(image->regions[0].score == image->regions[1].score);
    assert_true(image->regions[2].score < image->regions[1].score);
    // In all three; in the last alone; in none.
    assert_ptr_equal(regions_at(image, 4, 5), &image->regions[0]);
    assert_ptr_equal(regions_at(image, 0, 0), &image->regions[2]);
    assert_null(regions_at(image, 0, 15));
    assert_null(regions_find(regions, "8"));
}

static void pickles_of_every_protocol_are_read(void **state) {
    (void)state;
    int count = 0;
    DIR *folder = opendir(RECORDED);
    assert_non_null(folder);
    for (struct dirent *entry; (entry = readdir(folder));) {
        char path[512];
        if (!strstr(entry->d_name, ".pkl")) continue;
        snprintf(path, sizeof path, RECORDED "%s", entry->d_name);
        Regions regions = read_regions(path, RECORDED "images.json");
        check_recorded(&regions);
        assert_int_equal(regions_find(&regions, "b")->num_regions, 0);
        double lowest = strstr(path, "integers") ? -3 : 0.25;
        assert_true(regions_find(&regions, "7")->regions[2].score == lowest);
        regions_free(&regions);
        count++;
    }
    closedir(folder);
    assert_int_equal(count, 18);
}

static void results_are_read_with_and_without_images(void **state) {
    (void)state;
    Regions regions = read_regions(RECORDED "results.json", NULL);
    check_recorded(&regions);
    assert_int_equal(regions.num_images, 1);
    regions_free(&regions);
    regions = read_regions(RECORDED "results.json", RECORDED "images.json");
    check_recorded(&regions);
    assert_int_equal(regions.num_images, 2);
    regions_free(&regions);
}

static void real_results_are_read(void **state) {
    (void)state;
    Regions regions = read_regions(
        shared_data("cocoapi_results/instances_val2014_fakesegm100_results.json"), NULL);
    int count = 0;
    for (int i = 0; i < regions.num_images; i++) count += regions.images[i].num_regions;
    assert_int_equal(regions.num_images, 99);
    assert_int_equal(count, 734);
    for (int i = 0; i < regions.num_images; i++)
        for (int k = 1; k < regions.images[i].num_regions; k++)
            assert_true(regions.images[i].regions[k - 1].score >=
                        regions.images[i].regions[k].score);
    regions_free(&regions);
}

#define IMAGES "{\"images\": [{\"id\": 7, \"height\": 6, \"width\": 8}]}"
#define RUNS "\"segmentation\": {\"size\": [6, 8], \"counts\": [40, 5, 3]}"
static const struct {
    const char *name, *text, *images, *message;
} bad[] = {
    {"r.txt", "[]", NULL, "r.txt: expected COCO results (.json) or a pickle"},
    {"r.json", "{}", NULL, "r.json: expected a list of results"},
    {"r.json", "[3]", NULL, "result 0 (image missing): \"image_id\" is missing"},
    {"r.json", "[{\"image_id\": 7}]", NULL, "r.json: result 0 (image 7): \"score\" is missing"},
    {"r.json", "[{\"image_id\": 8, \"score\": 1, " RUNS "}]", IMAGES,
     "\"image_id\" is 8, which the file of images does not list"},
    {"r.json", "[{\"image_id\": 7, \"score\": 1}]", NULL, "a mask is missing; expected an object"},
    {"r.json", "[{\"image_id\": 7, \"score\": 1, \"segmentation\": [[1, 1, 5, 1, 5, 5]]}]", NULL,
     "polygons need their image's size"},
    {"r.json",
     "[{\"image_id\": 7, \"score\": 1, \"segmentation\": {\"size\": [8, 6], \"counts\": [48]}}]",
     IMAGES, "\"size\" is [8,6]; expected its image's, [6,8]"},
    {"r.json",
     "[{\"image_id\": 7, \"score\": 1, " RUNS "}, {\"image_id\": 7, \"score\": 1, "
     "\"segmentation\": {\"size\": [8, 6], \"counts\": [48]}}]",
     NULL, "result 1 (image 7): a mask of 6 x 8 pixels in an image of 8 x 6"},
    {"r.json", "[]", "{\"images\": []}", "there is no image in \"images\""},
    {"r.json", "[]", "{\"images\": [{\"id\": 7}]}", "the \"height\" of image 7 is missing"},
    {"r.pkl", "(l.", NULL, "r.pkl: a pickle has its entries in the order of a file of images"},
    {"r.pkl", "(l.", IMAGES, "a list of 0; expected a list with an entry for each of the 1 images"},
    {"r.pkl", "(lI1\na.", IMAGES,
     "r.pkl: entry 0 (image 7): an int of 0; expected a list or tuple"},
    {"r.pkl", "(l(I1\nI2\nI3\nta.", IMAGES, "[1] is an int; expected"},
    {"r.pkl", "(l(I1\n(lS'x'\nta.", IMAGES, "[2], the scores: bytes; expected numbers"},
    {"r.pkl", "(l(I1\n(l(lF.5\nata.", IMAGES, "0 masks and 1 scores"},
    {"r.pkl", "(l(I1\n(lI1\na(lF.5\nata.", IMAGES, "mask 0: a mask without 'size' and 'counts'"},
    {"r.pkl", "(l(I1\n(l(dS'size'\n(lI6\naI8\nasa(lF.5\nata.", IMAGES,
     "mask 0: a mask without 'counts'"},
    {"r.pkl", "(l(I1\n(l(dS'size'\n(lI6\nasa(lF.5\nata.", IMAGES, "'size' is not a height"},
    {"r.pkl", "(l(I1\n(l(dS'size'\n(lI6\naI8\nasS'counts'\n(lI40\naI5\naI4\nasa(lF.5\nata.", IMAGES,
     "add up to 49 pixels, expected 6 x 8"},
    {"r.pkl", "(l(I1\n(l(dS'size'\n(lI6\naI9\nasS'counts'\n(lI54\nasa(lF.5\nata.", IMAGES,
     "a mask of 9 x 6 pixels in an image of 8 x 6"},
    {"r.pkl", "(l(I1\n(l(dS'size'\n(lI6\naI8\nasS'counts'\n(lI48\nasa(lFnan\nata.", IMAGES,
     "a score of"},
    {"r.pkl", "cos\nsystem\n(S'true'\ntR.", IMAGES, "calls for 'os.system', which is refused"},
    {"r.pkl", "cnumpy\nload\n(S'x'\ntR.", IMAGES, "calls for 'numpy.load', which is refused"},
};

static void what_is_wrong_is_told_with_its_place(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        Regions regions;
        Error error = {0};
        write_text(bad[i].name, bad[i].text);
        if (bad[i].images) write_text("images.json", bad[i].images);
        assert_false(regions_read(in_folder(bad[i].name),
                                  bad[i].images ? in_folder("images.json") : NULL, &regions,
                                  &error));
        if (!strstr(error.message, bad[i].message))
            fail_msg("%zu: '%s' does not have '%s'", i, error.message, bad[i].message);
        assert_null(regions.images);
    }
}

static const struct {
    const char *pickle, *message;
} bad_numbers[] = {
#define FLOAT32 "cnumpy\ndtype\n(S'f4'\ntR(I3\nS'<'\ntb"
#define ARRAY(state) \
    "cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR(" state "tb."
    {ARRAY("I1\n(I2\nt" FLOAT32 "I00\nS'abcd'\n"), "an array of 1 numbers with a shape of 2"},
    {ARRAY("I1\n(I1\nt" FLOAT32 "I00\nS'abc'\n"), "an array of 3 bytes with numbers of 4"},
    {ARRAY("I1\n(I-1\nt" FLOAT32 "I00\nS'abcd'\n"), "a shape that is none"},
    {ARRAY("I1\n(I4294967295\nI4294967295\nI4294967295\nt" FLOAT32 "I00\nS'abcd'\n"),
     "a shape that is none"},
    {ARRAY("I1\n(I1\nt" FLOAT32 "I00\nI5\n"), "an object; expected numbers"},
    {ARRAY("I1\nI1\n" FLOAT32 "I00\nS'abcd'\n"), "an object; expected numbers"},
    {ARRAY("I1\n"), "an object; expected numbers"},
    {ARRAY("I1\n(I1\nt"
           "cnumpy\ndtype\n(S'O8'\ntR"
           "I00\nS'abcdefgh'\n"),
     "type 'O8'"},
    {ARRAY("I1\n(I1\nt"
           "cnumpy\ndtype\n(tR"
           "I00\nS'abcdefgh'\n"),
     "type 'unknown'"},
    {"cnumpy.core.multiarray\nscalar\n(" FLOAT32 "S'ab'\ntR.", "2 bytes with numbers of 4"},
    {"cnumpy.core.multiarray\nscalar\n(tR.", "an object; expected numbers"},
    {"(lS'x'\na.", "number 0: bytes; expected numbers"},
    {"N.", "None; expected numbers"},
};

static void what_is_no_number_is_refused(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof bad_numbers / sizeof *bad_numbers; i++) {
        Error error = {0};
        double *numbers;
        int64_t count;
        size_t used, size = strlen(bad_numbers[i].pickle);
        Pickle *pickle =
            pickle_read(bad_numbers[i].pickle, size, PICKLED_NUMBER_GLOBALS, &used, &error);
        if (!pickle) fail_msg("%zu: %s", i, error.message);
        assert_false(pickled_numbers(pickle_root(pickle), &numbers, &count, &error));
        if (!strstr(error.message, bad_numbers[i].message))
            fail_msg("%zu: '%s' does not have '%s'", i, error.message, bad_numbers[i].message);
        pickle_close(pickle);
    }
}

static void damaged_pickles_are_errors(void **state) {
    (void)state;
    uint32_t random = 1;
    FileBytes images = file_bytes_read(RECORDED "images.json");
    static const char *const files[] = {"float32_5.pkl", "float32_2.pkl", "scalars_4.pkl",
                                        "scalars_0.pkl"};
    file_bytes_write(&images, in_folder("images.json"));
    for (int trial = 0; trial < 800; trial++) {
        char path[512];
        snprintf(path, sizeof path, RECORDED "%s", files[trial % 4]);
        FileBytes bytes = file_bytes_read(path);
        file_bytes_mutate(&bytes, &random);
        file_bytes_write(&bytes, in_folder("r.pkl"));
        Regions regions;
        Error error = {0};
        if (regions_read(in_folder("r.pkl"), in_folder("images.json"), &regions, &error))
            regions_free(&regions);
        else
            assert_true(*error.message);
        file_bytes_free(&bytes);
    }
    file_bytes_free(&images);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pickles_of_every_protocol_are_read),
        cmocka_unit_test(results_are_read_with_and_without_images),
        cmocka_unit_test(real_results_are_read),
        IN_FOLDER(what_is_wrong_is_told_with_its_place),
        cmocka_unit_test(what_is_no_number_is_refused),
        IN_FOLDER(damaged_pickles_are_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
