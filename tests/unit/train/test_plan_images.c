#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/images/image.h"
#include "tests/unit/temporary_folder.h"
#include "train/plan/plan_images.h"

#define TURNS                                                                                 \
    "\"conversations\": [{\"from\": \"human\", \"value\": \"<image>\"}, {\"from\": \"gpt\", " \
    "\"value\": \"a\"}]"

static void write_samples(const char *const *images, int count) {
    FILE *file = fopen(in_folder("data.json"), "w");
    assert_non_null(file);
    for (int i = 0; i < count; i++)
        fprintf(file, "%s{\"id\": \"s%d\", \"image\": \"%s\", " TURNS "}\n", i ? "," : "[", i,
                images[i]);
    fputs("]", file);
    assert_int_equal(fclose(file), 0);
}

static void write_picture(const char *name) {
    Error error = {0};
    Image image = image_new(9, 7);
    memset(image.pixels, 77, 9 * 7 * 3);
    if (!image_write_png(in_folder(name), &image, &error)) fail_msg("%s", error.message);
    image_free(&image);
}

/// What is printed of the data set; the caller frees it.
static char *review(int64_t *bad) {
    static char data[512], folder[512];
    char *text = NULL;
    size_t size = 0;
    Error error = {0};
    snprintf(data, sizeof data, "data.train=%s", in_folder("data.json"));
    snprintf(folder, sizeof folder, "data.image_folder=%s", temporary_folder);
    const char *settings[] = {data, folder, "data.eval=null", "data.eval_image_folder=null",
                              "data.missing_image=fail"};
    Config *config = config_load(SOURCE_DIR "/configs/tiny_stage1.yaml", settings, 5, &error);
    if (!config) fail_msg("%s", error.message);
    FILE *out = open_memstream(&text, &size);
    const bool ok = plan_check_images(config, out, NULL, bad, &error);
    fclose(out);
    if (!ok) fail_msg("%s", error.message);
    config_free(config);
    return text;
}

static void every_image_that_cannot_be_used_is_named_once_in_the_samples_order(void **state) {
    (void)state;
    static const char *const images[] = {"good.png", "cut.gif", "good.png",     "absent.jpg",
                                         "page.jpg", "cut.gif", "pointer.webp", "good.png"};
    static const char *const expected[] = {"sample 1 (id 's1', line 2): ",
                                           "cut.gif: a damaged GIF image: its data end early",
                                           "sample 3 (id 's3', line 4): ",
                                           "absent.jpg: cannot be read: No such file",
                                           "sample 4 (id 's4', line 5): ",
                                           "page.jpg: not an image that is read",
                                           "sample 6 (id 's6', line 7): ",
                                           "pointer.webp: a git-lfs pointer",
                                           "data.json: 4 of 5 images cannot be used\n"};
    int64_t bad;
    write_picture("good.png");
    write_text("cut.gif", "GIF89a");
    write_text("page.jpg", "<html>");
    write_text("pointer.webp", "version https://git-lfs.github.com/spec/v1\n");
    write_samples(images, 8);
    char *text = review(&bad), *at = text;
    assert_int_equal(bad, 4);
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        at = strstr(at, expected[i]);
        if (!at) fail_msg("'%s' is not where it should be in:\n%s", expected[i], text);
    }
    assert_null(strstr(text, "sample 5"));
    free(text);
}

static void images_that_can_all_be_used_are_counted(void **state) {
    (void)state;
    static const char *const images[] = {"good.png", "good.png"};
    int64_t bad;
    write_picture("good.png");
    write_samples(images, 2);
    char *text = review(&bad);
    assert_int_equal(bad, 0);
    assert_non_null(strstr(text, "data.json: 0 of 1 images cannot be used\n"));
    free(text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        IN_FOLDER(every_image_that_cannot_be_used_is_named_once_in_the_samples_order),
        IN_FOLDER(images_that_can_all_be_used_are_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
