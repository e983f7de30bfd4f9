// rooms: data autograd
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "autograd/text/byte_buffer.h"
#include "data/llava_dataset.h"
#include "tests/unit/temporary_folder.h"

static Dataset *open_text(const char *text, MissingImage policy, Error *error) {
    write_text("data.json", text);
    char path[512];
    snprintf(path, sizeof path, "%s", in_folder("data.json"));
    return dataset_open(&(DatasetOptions){path, temporary_folder, policy}, error);
}

#define TURNS                                                                                      \
    "\"conversations\": [{\"from\": \"human\", \"value\": \"<image>\\nWhat is it?\"}, {\"from\": " \
    "\"gpt\", \"value\": \"A ring.\"}]"
#define TEXT_TURNS                                                                       \
    "\"conversations\": [{\"from\": \"human\", \"value\": \"Hi\"}, {\"from\": \"gpt\", " \
    "\"value\": \"Đà\"}]"

static void samples_are_read_one_by_one(void **state) {
    (void)state;
    Error error = {0};
    Dataset *dataset =
        open_text("\xef\xbb\xbf [\n {\"id\": \"a\", \"image\": \"there.png\", " TURNS "},\n"
                  "{\"id\": 17, " TEXT_TURNS "} ,{\"image\": null, " TEXT_TURNS "}]\n ",
                  MISSING_IMAGE_FAIL, &error);
    if (!dataset) fail_msg("%s", error.message);
    assert_int_equal(dataset_count(dataset), 3);
    assert_true(dataset_has_image(dataset, 0));
    assert_false(dataset_has_image(dataset, 1));
    assert_false(dataset_has_image(dataset, 2));
    assert_int_equal(dataset_word_count(dataset, 0), 6);
    assert_int_equal(dataset_word_count(dataset, 1), 2);
    Sample sample;
    assert_true(dataset_sample(dataset, 0, &sample, &error));
    assert_string_equal(sample.id, "a");
    assert_string_equal(sample.image_path, in_folder("there.png"));
    assert_int_equal(sample.turn_count, 2);
    assert_string_equal(sample.turns[0].text, "<image>\nWhat is it?");
    assert_int_equal(sample.turns[1].role, ROLE_GPT);
    sample_free(&sample);
    assert_true(dataset_sample(dataset, 1, &sample, &error));
    assert_string_equal(sample.id, "17");
    assert_null(sample.image_path);
    assert_string_equal(sample.turns[1].text, "Đà");
    sample_free(&sample);
    char where[1024];
    assert_non_null(strstr(dataset_describe(dataset, 1, "17", where, sizeof where),
                           "sample 1 (id '17', line 3)"));
    dataset_close(dataset);
}

static void lines_of_json_are_read_as_an_array_is(void **state) {
    (void)state;
    static const char *const texts[] = {
        "{\"id\": \"a\", \"image\": [\"there.png\"], " TURNS "}\n{\"id\": \"b\", " TEXT_TURNS "}\n",
        "\xef\xbb\xbf\r\n{\"id\": \"a\", \"image\": \"there.png\", " TURNS
        "}\t\r\n\r\n \r\n{\"id\": \"b\",\r\n " TEXT_TURNS "}",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        Error error = {0};
        Sample sample;
        Dataset *dataset = open_text(texts[i], MISSING_IMAGE_FAIL, &error);
        if (!dataset) fail_msg("%s", error.message);
        assert_int_equal(dataset_count(dataset), 2);
        assert_true(dataset_has_image(dataset, 0));
        assert_true(dataset_sample(dataset, 1, &sample, &error));
        assert_string_equal(sample.id, "b");
        assert_string_equal(sample.turns[1].text, "Đà");
        sample_free(&sample);
        dataset_close(dataset);
    }
}

static void a_file_of_one_object_is_one_sample(void **state) {
    (void)state;
    Error error = {0};
    Dataset *dataset = open_text("{\n " TEXT_TURNS "\n}", MISSING_IMAGE_FAIL, &error);
    if (!dataset) fail_msg("%s", error.message);
    assert_int_equal(dataset_count(dataset), 1);
    dataset_close(dataset);
}

static void a_sample_of_more_than_64_mib_is_refused_with_its_place(void **state) {
    (void)state;
    enum { MUCH = (64 << 20) + 1 };
    Error error = {0};
    char *much = malloc(MUCH + 1);
    memset(much, 'n', MUCH);
    much[MUCH] = 0;
    char *text = format_string("{" TEXT_TURNS "}\n{\"note\": \"%s\"}\n", much);
    assert_null(open_text(text, MISSING_IMAGE_FAIL, &error));
    assert_non_null(strstr(error.message, "data.json:2: sample 1 has more than 64 MiB"));
    free(text);
    free(much);
    write_text("data.json", "");
}

/// Two files below the temporary folder, the second of lines; `b` is its text.
static Dataset *open_two(const char *b, double weight, Error *error) {
    static char paths[2][512];
    write_text("a.json", "[{\"id\": \"a0\", \"image\": \"absent.png\", " TURNS
                         "}, {\"id\": \"a1\", \"image\": \"there.png\", " TURNS "}]");
    write_text("b.json", b);
    snprintf(paths[0], sizeof paths[0], "%s", in_folder("a.json"));
    snprintf(paths[1], sizeof paths[1], "%s", in_folder("b.json"));
    const DatasetFile files[] = {{paths[0], temporary_folder, 1}, {paths[1], "nowhere", weight}};
    return dataset_open_files(files, 2, MISSING_IMAGE_SKIP, error);
}

#define LINES "{\"id\": \"b0\", " TEXT_TURNS "}\n\n{\"id\": \"b1\", " TEXT_TURNS "}\n"

static void several_files_are_one_data_set(void **state) {
    (void)state;
    static const char *const ids[] = {"a1", "b0", "b1"};
    Error error = {0};
    Dataset *dataset = open_two(LINES, 0.5, &error);
    if (!dataset) fail_msg("%s", error.message);
    assert_int_equal(dataset_count(dataset), 3);
    assert_int_equal(dataset_skipped(dataset), 1);
    for (int i = 0; i < 3; i++) {
        Sample sample;
        assert_true(dataset_sample(dataset, i, &sample, &error));
        assert_string_equal(sample.id, ids[i]);
        sample_free(&sample);
        assert_int_equal(dataset_position_in_file(dataset, i), i + 1); // unique, a0 counted
    }
    char where[1024];
    dataset_describe(dataset, 2, "b1", where, sizeof where);
    assert_non_null(strstr(where, "b.json: sample 1 (id 'b1', line 3)"));
    assert_non_null(strstr(dataset_path(dataset), "a.json and 1 more file"));
    assert_int_equal(dataset_part_count(dataset), 2);
    const DatasetPart part = dataset_part(dataset, 1);
    assert_true(part.weight == 0.5);
    assert_int_equal(part.first, 1);
    assert_int_equal(part.count, 2);
    assert_int_equal(part.with_image, 0);
    assert_int_equal(dataset_part(dataset, 0).skipped, 1);
    dataset_close(dataset);
}

static uint64_t checksum_of_two(const char *b, double weight) {
    Error error = {0};
    Dataset *dataset = open_two(b, weight, &error);
    if (!dataset) fail_msg("%s", error.message);
    const uint64_t checksum = dataset_checksum(dataset);
    dataset_close(dataset);
    return checksum;
}

static void the_checksum_is_of_all_files_and_weights(void **state) {
    (void)state;
    const uint64_t checksum = checksum_of_two(LINES, 0.5);
    assert_true(checksum_of_two(LINES, 0.5) == checksum);
    assert_true(checksum_of_two(LINES, 1) != checksum);
    assert_true(checksum_of_two("{\"id\": \"c0\", " TEXT_TURNS "}\n{\"id\": \"b1\", " TEXT_TURNS
                                "}\n",
                                0.5) != checksum);
}

static void a_file_that_would_give_nothing_is_refused(void **state) {
    (void)state;
    Error error = {0};
    assert_null(open_two(LINES, 0.2, &error));
    assert_non_null(strstr(error.message, "b.json: of 2 samples the weight 0.2 leaves none"));
    assert_null(open_two("[]", 1, &error));
    assert_non_null(strstr(error.message, "b.json: the data set has no samples"));
    assert_null(open_two("{\"image\": \"there.png\", " TURNS "}", 1, &error));
    assert_non_null(strstr(error.message, "b.json: the images of all 1 samples are missing (the "
                                          "first: nowhere/there.png: cannot be read"));
    assert_non_null(strstr(error.message, "is nowhere the right image folder?"));
}

static void missing_images_fail_or_are_skipped_and_counted(void **state) {
    (void)state;
    Error error = {0};
    const char *text = "[{\"id\": \"x\", \"image\": \"absent.png\", " TURNS
                       "},\n{\"id\": \"y\", \"image\": \"there.png\", " TURNS "}]";
    assert_null(open_text(text, MISSING_IMAGE_FAIL, &error));
    assert_non_null(strstr(error.message, "sample 0 (id 'x', line 1): its image"));
    assert_non_null(strstr(error.message, "absent.png: cannot be read: No such file"));
    Dataset *dataset = open_text(text, MISSING_IMAGE_SKIP, &error);
    assert_int_equal(dataset_count(dataset), 1);
    assert_int_equal(dataset_skipped(dataset), 1);
    assert_int_equal(dataset_position_in_file(dataset, 0), 1);
    dataset_close(dataset);
    assert_null(open_text("[{\"image\": \"absent.png\", " TURNS "}]", MISSING_IMAGE_SKIP, &error));
    assert_non_null(strstr(error.message, "right image folder"));
}

static void files_that_are_no_images_are_found_when_the_data_set_is_opened(void **state) {
    (void)state;
    Error error = {0};
    const char *text =
        "[{\"image\": \"there.png\", " TURNS "},\n{\"id\": \"p\", \"image\": "
        "\"page.jpg\", " TURNS "},\n{\"image\": \"empty.jpg\", " TURNS
        "},\n{\"image\": \"pointer.jpg\", " TURNS "},\n{\"image\": \"there.png\", " TURNS "}]";
    write_text("page.jpg", "<!DOCTYPE html><html>");
    write_text("empty.jpg", "");
    write_text("pointer.jpg", "version https://git-lfs.github.com/spec/v1\n");
    assert_null(open_text(text, MISSING_IMAGE_FAIL, &error));
    assert_non_null(strstr(error.message, "sample 1 (id 'p', line 2): its image"));
    assert_non_null(strstr(error.message, "page.jpg: not an image that is read"));
    assert_non_null(strstr(error.message, "but an HTML page; fetch it again (and 2 more samples'"));
    Dataset *dataset = open_text(text, MISSING_IMAGE_SKIP, &error);
    if (!dataset) fail_msg("%s", error.message);
    const DatasetPart part = dataset_part(dataset, 0);
    char *formats = image_formats_text(part.formats);
    assert_string_equal(formats, "2 PNG");
    free(formats);
    assert_int_equal(part.count, 2);
    assert_int_equal(part.with_image, 2);
    assert_int_equal(part.skipped, 3);
    assert_non_null(strstr(part.skipped_because, "page.jpg: not an image"));
    assert_int_equal(dataset_position_in_file(dataset, 1), 4);
    dataset_close(dataset);
}

/// Of samples without a system message those are left out that come before the one that has one.
static void samples_that_are_left_out_do_not_move_the_first_beyond_plain(void **state) {
    (void)state;
    Error error = {0};
    Dataset *dataset = open_text(
        "[{\"image\": \"absent.png\", " TURNS "}, {" TEXT_TURNS "}, {\"image\": \"absent.png\", "
        "\"system\": \"s\", " TURNS "}, {\"system\": \"s\", " TEXT_TURNS "}]",
        MISSING_IMAGE_SKIP, &error);
    if (!dataset) fail_msg("%s", error.message);
    assert_int_equal(dataset_count(dataset), 2);
    assert_int_equal(dataset_first_beyond_plain(dataset), 1);
    dataset_close(dataset);
}

/// The checksum where only `present` exists of the images a.png and b.png.
static uint64_t checksum_with(const char *present) {
    Error error = {0};
    write_text(present, "GIF89a");
    Dataset *dataset =
        open_text("[{\"image\": \"a.png\", " TURNS "}, {\"image\": \"b.png\", " TURNS "}]",
                  MISSING_IMAGE_SKIP, &error);
    if (!dataset) fail_msg("%s", error.message);
    assert_int_equal(dataset_count(dataset), 1);
    uint64_t checksum = dataset_checksum(dataset);
    dataset_close(dataset);
    unlink(in_folder(present));
    return checksum;
}

static void machines_that_each_miss_another_image_do_not_have_the_same_data(void **state) {
    (void)state;
    assert_true(checksum_with("a.png") == checksum_with("a.png"));
    assert_true(checksum_with("a.png") != checksum_with("b.png"));
}

static void ids_and_other_keys_mean_nothing(void **state) {
    (void)state;
    Error error = {0};
    Dataset *dataset =
        open_text("[{\"id\": 18446744073709551617, \"images\": [], \"video\": null, \"score\": "
                  "99999999999999999999, " TEXT_TURNS "}, {\"id\": 123456789012, " TEXT_TURNS "}]",
                  MISSING_IMAGE_FAIL, &error);
    if (!dataset) fail_msg("%s", error.message);
    Sample sample;
    assert_true(dataset_sample(dataset, 0, &sample, &error));
    sample_free(&sample);
    assert_true(dataset_sample(dataset, 1, &sample, &error));
    assert_string_equal(sample.id, "123456789012");
    sample_free(&sample);
    dataset_close(dataset);
}

static void what_samples_hold_is_cut_in_messages(void **state) {
    (void)state;
    char base64[5000];
    memset(base64, 'A', sizeof base64 - 1);
    base64[sizeof base64 - 1] = 0;
    static const char *const formats[] = {
        "[{\"id\": \"%s\"}]",
        "[{\"image\": \"%s\", " TURNS "}]",
        "[{\"conversations\": [{\"from\": \"%s\", \"value\": \"\"}]}]",
        "[{\"id\": %s}]",
        "%s",
    };
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        Error error = {0};
        char *text = format_string(formats[i], base64);
        if (open_text(text, MISSING_IMAGE_FAIL, &error)) fail_msg("accepted: case %zu", i);
        if (strlen(error.message) > 500 || strchr(error.message, '\n'))
            fail_msg("case %zu: %s", i, error.message);
        free(text);
    }
}

typedef struct Bad {
    const char *text;
    const char *message;
} Bad;

static const Bad bad[] = {
    {"[]", "no samples"},
    {" ", "expected an array of samples"},
    {"{}", "sample 0 (id '', line 1): \"conversations\" is missing"},
    {"[\n\n", "data.json:3: not valid JSON: expected a sample, { ... }, but the file ends here"},
    {"[{" TEXT_TURNS "}", "the file ends here"},
    {"[{" TEXT_TURNS "}\n{", "data.json:2: not valid JSON: expected ',' or ']'"},
    {"[{" TEXT_TURNS "},]", "expected a sample"},
    {"[{" TEXT_TURNS "}] x", "nothing after the array"},
    {"[1]", "expected a sample"},
    {"[{" TEXT_TURNS "},\n{\"id\": \"a\",\n \"image\": }]",
     "data.json:3: not valid JSON, in sample 1"},
    {"[{\"id\": \"a\", \"id\": \"b\", " TEXT_TURNS "}]", "duplicate"},
    {"[{\"id\": \"a\xff\", " TEXT_TURNS "}]", "unable to decode"},
    {"[{\"id\": \"a\\u0000\", " TEXT_TURNS "}]", "a NUL character (\\u0000)"},
    {"[{\"id\": \"a\\ud83d\", " TEXT_TURNS "}]", "invalid Unicode"},
    {"[{\"id\": \"a\"}]", "sample 0 (id 'a', line 1): \"conversations\" is missing"},
    {"[{\"image\": [\"a\", \"b\"], " TURNS "}]",
     "is a list of 2; expected the name of one image file"},
    {"[{\"image\": 3, " TURNS "}]", "\"image\" is no text; expected the name of one image file"},
    {"[{\"image\": \"\", " TURNS "}]", "\"image\" is empty; expected the name of one image file"},
    {"[{\"image\": \"data:image/png;base64,AAAA\", " TURNS "}]", "is a picture in base64"},
    {"[{\"image\": \"https://example.org/a.png\", " TURNS "}]", "is an address in the web"},
    {"[{\"id\": \"s\", \"images\": [\"a.png\", \"b.png\"], " TURNS "}]",
     "sample 0 (id 's', line 1): \"images\" is a list of 2; expected the name of one image file"},
    {"[{\"images\": \"there.png\", " TEXT_TURNS "}]", "no turn has <image>"},
    {"[{\"video\": \"there.mp4\", " TEXT_TURNS "}]", "the key \"video\" is not known"},
    {"[{\"id\": \"s\", " TURNS "}]",
     "sample 0 (id 's', line 1): turn 1 has <image>, but the sample names no image"},
    {"[{\"image\": null, " TURNS "}]", "turn 1 has <image>, but the sample names no image"},
    {"[{\"conversations\": [{\"from\": \"human\", \"value\": \"Hi\"}, {\"from\": \"gpt\", "
     "\"value\": "
     "\"a <image>\"}]}]",
     "turn 2 has <image>, but the sample names no image"},
    {"{" TEXT_TURNS "}\n\n{" TEXT_TURNS ",\n",
     "data.json:4: not valid JSON, in sample 1 (from line 3 on): "},
    {"{" TEXT_TURNS "}\n\n{" TEXT_TURNS, "the file ends within it (cut off?)"},
    {"{" TEXT_TURNS "}\n{\"id\": 3}\n", "sample 1 (id '3', line 2): \"conversations\" is missing"},
    {"{" TEXT_TURNS "} {" TEXT_TURNS "}\n",
     "data.json:1: not valid JSON: expected the line's end after a sample"},
    {"{" TEXT_TURNS "},\n{" TEXT_TURNS "}\n", "expected the line's end after a sample"},
    {"{" TEXT_TURNS "}\n[]", "data.json:2: not valid JSON: expected a sample, { ... }"},
    {"\xff\xfe[\1", "text in UTF-16; expected UTF-8"},
    {"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 2\n", "git lfs pull"},
    {"[{\"conversations\": []}]", "at least one turn"},
    {"[{\"conversations\": [{\"from\": \"human\"}]}]", "turn 1: expected {\"from\""},
    {"[{\"conversations\": [3]}]", "turn 1: expected {\"from\""},
    {"[\n{\"id\": \"q\", \"conversations\": [{\"from\": \"bing\", \"value\": \"x\"}]}]",
     "sample 0 (id 'q', line 2): turn 1 is from 'bing'; expected 'human' or 'gpt'"},
    {"[{\"image\": \"there.png\", " TEXT_TURNS "}]", "no turn has <image>"},
};

static void data_sets_that_are_not_valid_say_where_and_what_was_expected(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        Error error = {0};
        if (open_text(bad[i].text, MISSING_IMAGE_FAIL, &error))
            fail_msg("accepted: %s", bad[i].text);
        if (!strstr(error.message, bad[i].message) ||
            !strstr(error.message, in_folder("data.json")))
            fail_msg("case %zu: %s", i, error.message);
    }
    Error error = {0};
    assert_null(open_text("", MISSING_IMAGE_FAIL, &error));
    assert_non_null(strstr(error.message, "empty"));
    assert_null(dataset_open(
        &(DatasetOptions){"/nonexistent.json", temporary_folder, MISSING_IMAGE_FAIL}, &error));
    assert_non_null(strstr(error.message, "/nonexistent.json"));
    assert_null(dataset_open(
        &(DatasetOptions){temporary_folder, temporary_folder, MISSING_IMAGE_FAIL}, &error));
}

/// Writes the text over the beginning of the file, whose other bytes stay, or becomes the whole of
/// it.
static void rewrite(const char *text, bool cut) {
    int descriptor = open(in_folder("data.json"), O_WRONLY | (cut ? O_TRUNC : 0));
    assert_true(descriptor >= 0);
    assert_int_equal(write(descriptor, text, strlen(text)), strlen(text));
    assert_int_equal(close(descriptor), 0);
}

static void a_file_that_changes_while_it_is_open_is_an_error(void **state) {
    (void)state;
    static const char text[] = "[{\"id\": \"a\", " TEXT_TURNS "},{\"id\": \"b\", " TEXT_TURNS "}]";
    Error error = {0};
    Sample sample;
    Dataset *dataset = open_text(text, MISSING_IMAGE_FAIL, &error);
    if (!dataset) fail_msg("%s", error.message);
    rewrite("[{\"id\": \"x\"", false); // of the same length
    assert_false(dataset_sample(dataset, 0, &sample, &error));
    assert_non_null(strstr(error.message, "data.json: the file was changed while it was in use: "
                                          "sample 0 is no longer what it was"));
    assert_true(dataset_sample(dataset, 1, &sample, &error));
    assert_string_equal(sample.id, "b");
    sample_free(&sample);
    rewrite("[]", true);
    assert_false(dataset_sample(dataset, 1, &sample, &error));
    assert_non_null(strstr(error.message, "data.json: the file was changed while it was in use: it "
                                          "has become shorter"));
    rewrite(text, true); // what it was
    assert_true(dataset_sample(dataset, 0, &sample, &error));
    sample_free(&sample);
    dataset_close(dataset);
}

/// An array of text-only samples, of which every third is longer than the pieces in which a file is
/// read.
static char *long_text(int count) {
    ByteBuffer text = {0};
    for (int i = 0; i < count; i++) {
        byte_buffer_print(&text, "%s{\"id\": %d, \"note\": \"", i ? ",\n" : "[", i);
        for (int k = 0; k < (i % 3 == 2 ? 1500000 : 400000 + i); k++)
            byte_buffer_put_byte(&text, 'n');
        byte_buffer_print(&text, "\", " TEXT_TURNS "}");
    }
    byte_buffer_put_text(&text, "]");
    return byte_buffer_take(&text);
}

static void samples_may_be_longer_than_the_pieces_that_are_read(void **state) {
    (void)state;
    enum { COUNT = 9 };
    Error error = {0};
    char *text = long_text(COUNT), where[1024], expected[64];
    Dataset *dataset = open_text(text, MISSING_IMAGE_FAIL, &error);
    if (!dataset) fail_msg("%s", error.message);
    assert_int_equal(dataset_count(dataset), COUNT);
    for (int i = COUNT - 1; i >= 0; i--) {
        Sample sample;
        if (!dataset_sample(dataset, i, &sample, &error)) fail_msg("%s", error.message);
        assert_int_equal(atoi(sample.id), i);
        sample_free(&sample);
        snprintf(expected, sizeof expected, "sample %d (id '', line %d)", i, i + 1);
        assert_non_null(strstr(dataset_describe(dataset, i, NULL, where, sizeof where), expected));
    }
    dataset_close(dataset);
    text[strlen(text) - 1] = '\0';
    assert_null(open_text(text, MISSING_IMAGE_FAIL, &error));
    assert_non_null(strstr(error.message, "data.json:9: not valid JSON: expected ',' or ']'"));
    free(text);
}

static void deep_nesting_is_an_error(void **state) {
    (void)state;
    char *text = malloc(200001);
    memcpy(text, "[{\"a\":", 6);
    memset(text + 6, '[', 199994);
    text[200000] = '\0';
    Error error = {0};
    assert_null(open_text(text, MISSING_IMAGE_FAIL, &error));
    assert_non_null(strstr(error.message, "not valid JSON"));
    free(text);
}

static void the_shared_photographs_are_a_valid_data_set(void **state) {
    (void)state;
    const char *shared = getenv("DIFFLMM_SHARED_DATA");
    char photos[256], path[512];
    snprintf(photos, sizeof photos, "%s/photos", shared ? shared : SOURCE_DIR "/../shared/data");
    if (access(photos, F_OK) != 0) {
        print_message("skipped: no photographs at %s\n", photos);
        skip();
    }
    static const char *const names[] = {"llava_pretrain.json", "llava_instruct.json"};
    for (int i = 0; i < 2; i++) {
        Error error = {0};
        snprintf(path, sizeof path, "%s/%s", photos, names[i]);
        Dataset *dataset =
            dataset_open(&(DatasetOptions){path, photos, MISSING_IMAGE_FAIL}, &error);
        if (!dataset) fail_msg("%s", error.message);
        assert_true(dataset_count(dataset) > 5);
        for (int64_t k = 0; k < dataset_count(dataset); k++) {
            Sample sample;
            if (!dataset_sample(dataset, k, &sample, &error)) fail_msg("%s", error.message);
            assert_true((sample.image_path != NULL) == dataset_has_image(dataset, k));
            sample_free(&sample);
        }
        dataset_close(dataset);
    }
}

static int make_folder(void **state) {
    if (make_temporary_folder(state) != 0) return -1;
    write_text("there.png", "\x89PNG\r\n\x1a\n");
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(samples_are_read_one_by_one),
        cmocka_unit_test(lines_of_json_are_read_as_an_array_is),
        cmocka_unit_test(a_file_of_one_object_is_one_sample),
        cmocka_unit_test(a_sample_of_more_than_64_mib_is_refused_with_its_place),
        cmocka_unit_test(several_files_are_one_data_set),
        cmocka_unit_test(the_checksum_is_of_all_files_and_weights),
        cmocka_unit_test(a_file_that_would_give_nothing_is_refused),
        cmocka_unit_test(missing_images_fail_or_are_skipped_and_counted),
        cmocka_unit_test(files_that_are_no_images_are_found_when_the_data_set_is_opened),
        cmocka_unit_test(samples_that_are_left_out_do_not_move_the_first_beyond_plain),
        cmocka_unit_test(machines_that_each_miss_another_image_do_not_have_the_same_data),
        cmocka_unit_test(ids_and_other_keys_mean_nothing),
        cmocka_unit_test(what_samples_hold_is_cut_in_messages),
        cmocka_unit_test(data_sets_that_are_not_valid_say_where_and_what_was_expected),
        cmocka_unit_test(a_file_that_changes_while_it_is_open_is_an_error),
        cmocka_unit_test(samples_may_be_longer_than_the_pieces_that_are_read),
        cmocka_unit_test(deep_nesting_is_an_error),
        cmocka_unit_test(the_shared_photographs_are_a_valid_data_set),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_temporary_folder);
}
