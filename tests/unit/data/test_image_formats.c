// rooms: data checkpoints autograd
// Files of every format and mode that Pillow reads, with the checksums of its pixels, and damaged
// ones with what must be said of them (tests/parity/record_image_formats.py).
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "checkpoints/safetensors.h"
#include "data/images/image.h"

static SafetensorsFile *recorded;

static unsigned long checksum(const Image *image) {
    return crc32(0, image->pixels, (unsigned)(image->width * image->height * 3));
}

/// Calls `check` with every file and what is expected of it; says how many there are.
static int for_each_file(void (*check)(const char *name, const StoredTensor *file,
                                       const char *expected)) {
    const char *name, *expected;
    int count = 0;
    for (int64_t i = 0; (name = safetensors_metadata_key(recorded, i, &expected)); i++) {
        const StoredTensor *file = safetensors_find(recorded, name);
        if (!file) continue; // Pillow's version
        check(name, file, expected);
        count++;
    }
    return count;
}

static const char REFUSED[] = "refused: ";

static bool is_refused(const char *expected) {
    return strncmp(expected, REFUSED, strlen(REFUSED)) == 0;
}

/// Bytes of their own size, so that a sanitizer sees reads beyond the end. The caller frees them.
static uint8_t *copy_of(const StoredTensor *file, size_t size) {
    uint8_t *bytes = malloc(size + !size);
    memcpy(bytes, file->data, size);
    return bytes;
}

static void check_outcome(const char *name, const StoredTensor *file, const char *expected) {
    Error error = {0};
    Image image;
    char outcome[128];
    uint8_t *bytes = copy_of(file, file->bytes);
    const bool done = image_decode(bytes, file->bytes, name, &image, &error);
    free(bytes);
    if (!done) {
        assert_null(image.pixels);
        if (!is_refused(expected) || !strstr(error.message, expected + strlen(REFUSED)) ||
            strncmp(error.message, name, strlen(name)) != 0)
            fail_msg("%s; expected %s", error.message, expected);
        return;
    }
    snprintf(outcome, sizeof outcome, "%d %d %lu", image.width, image.height, checksum(&image));
    image_free(&image);
    if (strcmp(outcome, expected) != 0) fail_msg("%s is %s; expected %s", name, outcome, expected);
}

static void every_format_and_mode_decodes_as_in_pillow(void **state) {
    (void)state;
    assert_true(for_each_file(check_outcome) > 250);
}

/// What is missing at the end is either missed, or was not of the picture.
static void check_cut(const char *name, const StoredTensor *file, const char *expected) {
    char outcome[128];
    if (is_refused(expected)) return;
    const size_t step = file->bytes / 97 + 1;
    for (size_t size = 0; size < file->bytes; size += step) {
        Error error = {0};
        Image image;
        uint8_t *bytes = copy_of(file, size);
        const bool done = image_decode(bytes, size, name, &image, &error);
        free(bytes);
        if (!done) {
            if (!strstr(error.message, name)) fail_msg("%s", error.message);
            assert_null(image.pixels);
            continue;
        }
        snprintf(outcome, sizeof outcome, "%d %d %lu", image.width, image.height, checksum(&image));
        image_free(&image);
        if (strcmp(outcome, expected) != 0)
            fail_msg("%s: %zu of %zu bytes are another picture", name, size, file->bytes);
    }
}

static void a_file_that_is_cut_off_is_the_same_picture_or_none(void **state) {
    (void)state;
    for_each_file(check_cut);
}

static void check_changed(const char *name, const StoredTensor *file, const char *expected) {
    (void)expected;
    uint8_t *bytes = copy_of(file, file->bytes);
    for (size_t i = 3; i < file->bytes; i += 1 + i / 16) {
        Error error = {0};
        Image image;
        bytes[i] ^= 0x11;
        const bool done = image_decode(bytes, file->bytes, name, &image, &error);
        assert_true(done == (image.pixels != NULL));
        assert_true(done || strstr(error.message, name));
        image_free(&image);
        bytes[i] ^= 0x11;
    }
    free(bytes);
}

static void changed_bytes_give_a_picture_or_an_error(void **state) {
    (void)state;
    for_each_file(check_changed);
}

static int warnings;

static void count_warning(const char *message) {
    assert_non_null(strstr(message, "values above 255 become white"));
    warnings++;
}

static int warnings_of(const char *name) {
    const StoredTensor *file = safetensors_find(recorded, name);
    Error error = {0};
    Image image;
    warnings = 0;
    image_on_warning(count_warning);
    if (!image_decode(file->data, file->bytes, name, &image, &error)) fail_msg("%s", error.message);
    image_on_warning(NULL);
    image_free(&image);
    return warnings;
}

static void grey_of_16_bits_that_turns_white_is_warned_of_once(void **state) {
    (void)state;
    assert_int_equal(warnings_of("png/grey16"), 1);
    assert_int_equal(warnings_of("tiff/grey16_little"), 1);
    assert_int_equal(warnings_of("png/grey_alpha16"), 0);
    assert_int_equal(warnings_of("tiff/rgb16_big"), 0);
}

static int set_up(void **state) {
    (void)state;
    Error error = {0};
    recorded = safetensors_open(SOURCE_DIR "/tests/parity/data/image_formats.safetensors", &error);
    if (!recorded) print_error("%s\n", error.message);
    return recorded ? 0 : -1;
}

static int clean_up(void **state) {
    (void)state;
    safetensors_close(recorded);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_format_and_mode_decodes_as_in_pillow),
        cmocka_unit_test(a_file_that_is_cut_off_is_the_same_picture_or_none),
        cmocka_unit_test(changed_bytes_give_a_picture_or_an_error),
        cmocka_unit_test(grey_of_16_bits_that_turns_white_is_warned_of_once),
    };
    return cmocka_run_group_tests(tests, set_up, clean_up);
}
