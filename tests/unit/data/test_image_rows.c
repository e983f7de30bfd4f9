// rooms: data checkpoints autograd
// Squares that are made while rows are decoded, against the whole picture, decoded first.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoints/safetensors.h"
#include "data/images/image_rows.h"
#include "data/images/preprocess.h"
#include "tests/unit/reference_square.h"

// ---- every file, every view

static char heard[4096];

static void hear(const char *message) {
    snprintf(heard + strlen(heard), sizeof heard - strlen(heard), "%s\n", message);
}

static float *poisoned(int size) {
    const size_t count = 3 * (size_t)size * (size_t)size;
    float *numbers = malloc(count * sizeof *numbers);
    for (size_t i = 0; i < count; i++) numbers[i] = 1e30f;
    return numbers;
}

static void expect_zeros(const char *name, const float *numbers, int size) {
    for (int i = 0; i < 3 * size * size; i++)
        if (numbers[i] != 0) fail_msg("%s: %g is left of what failed", name, (double)numbers[i]);
}

static void expect_square(const char *name, const Image *image, const ImageView *view,
                          const float *numbers) {
    Image square = reference_square(image, view);
    for (int i = 0; i < 3 * view->size * view->size; i++)
        if (numbers[i] != number_of(view->normalization, square.pixels[i], i % 3))
            fail_msg("%s, %d x %d, %s to %d: number %d is %g, of level %d", name, image->width,
                     image->height, view->aspect == IMAGE_PAD ? "pad" : "square", view->size, i,
                     (double)numbers[i], square.pixels[i]);
    image_free(&square);
}

/// The same picture, message and warnings as the whole picture's. True if it is one.
static bool check_bytes(const char *name, const void *bytes, size_t size, const ImageView *view) {
    Image image;
    ImageGeometry geometry, whole_geometry;
    Error error = {0}, whole_error = {0}, readable_error = {0};
    char whole_heard[sizeof heard];
    heard[0] = 0;
    const bool whole = image_decode(bytes, size, name, &image, &whole_error);
    strcpy(whole_heard, heard);
    heard[0] = 0;
    float *numbers = poisoned(view->size), *again = poisoned(view->size);
    const bool done = image_decode_preprocess(bytes, size, name, view, numbers, &geometry, &error);
    assert_string_equal(heard, whole_heard);
    assert_int_equal(image_is_readable(bytes, size, name, &readable_error), whole);
    assert_string_equal(readable_error.message, whole_error.message);
    if (whole && !image_preprocess(&image, view, again, &whole_geometry, &whole_error))
        error_context(&whole_error, "%s", name); // too thin
    assert_int_equal(done, !whole_error.message[0]);
    assert_string_equal(error.message, whole_error.message);
    if (done) {
        expect_square(name, &image, view, numbers);
        expect_square(name, &image, view, again);
        assert_memory_equal(&geometry, &whole_geometry, sizeof geometry);
    } else {
        expect_zeros(name, numbers, view->size);
        if (whole) expect_zeros(name, again, view->size);
    }
    image_free(&image);
    free(numbers);
    free(again);
    return done;
}

static const ImageView VIEWS[] = {{IMAGE_PAD, IMAGE_NORMALIZATION_HALF, 19},
                                  {IMAGE_CENTER_CROP, IMAGE_NORMALIZATION_CLIP_TWICE, 7},
                                  {IMAGE_PAD, IMAGE_NORMALIZATION_CLIP_TWICE, 5},
                                  {IMAGE_CENTER_CROP, IMAGE_NORMALIZATION_HALF, 40},
                                  {IMAGE_PAD, IMAGE_NORMALIZATION_HALF, 1}};
enum { NUM_VIEWS = sizeof VIEWS / sizeof *VIEWS };

static const char *const RECORDED[] = {"images", "image_formats"};

/// Calls `check` with every recorded file; says how many there are.
static int for_each_file(void (*check)(const char *name, const uint8_t *bytes, size_t size)) {
    int count = 0;
    for (size_t f = 0; f < sizeof RECORDED / sizeof *RECORDED; f++) {
        char path[512];
        Error error = {0};
        snprintf(path, sizeof path, "%s/tests/parity/data/%s.safetensors", SOURCE_DIR, RECORDED[f]);
        SafetensorsFile *recorded = safetensors_open(path, &error);
        if (!recorded) fail_msg("%s", error.message);
        for (int64_t i = 0; i < safetensors_count(recorded); i++) {
            const StoredTensor *entry = safetensors_entry(recorded, i);
            if (f == 0 && !strstr(entry->name, "/file")) continue;
            check(entry->name, entry->data, entry->bytes);
            count++;
        }
        safetensors_close(recorded);
    }
    return count;
}

static void check_views(const char *name, const uint8_t *bytes, size_t size) {
    for (int v = 0; v < NUM_VIEWS; v++) check_bytes(name, bytes, size, &VIEWS[v]);
}

static void every_file_is_the_same_by_rows_and_whole(void **state) {
    (void)state;
    assert_true(for_each_file(check_views) > 300);
}

/// JPEG and PNG come by rows, of which some have been given when the end is missed.
static bool comes_by_rows(const char *name) { return strstr(name, "jpg") || strstr(name, "png"); }

static void check_cuts(const char *name, const uint8_t *bytes, size_t size) {
    const size_t step = comes_by_rows(name) ? size / 61 + 1 : size / 7 + 1;
    for (size_t cut = size; cut > 0; cut = cut > step ? cut - step : 0) {
        uint8_t *copy = malloc(cut); // of its own size, for the sanitizer
        memcpy(copy, bytes, cut);
        check_bytes(name, copy, cut, &VIEWS[cut % NUM_VIEWS]);
        free(copy);
    }
}

static void a_file_that_is_cut_off_is_the_same_by_rows_and_whole(void **state) {
    (void)state;
    for_each_file(check_cuts);
}

static void check_changes(const char *name, const uint8_t *bytes, size_t size) {
    uint8_t *copy = malloc(size);
    memcpy(copy, bytes, size);
    for (size_t i = 3; i < size; i += 1 + i / (comes_by_rows(name) ? 16 : 4)) {
        copy[i] ^= 0x15;
        check_bytes(name, copy, size, &VIEWS[i % 3 ? 2 : 1]);
        copy[i] ^= 0x15;
    }
    free(copy);
}

static void changed_bytes_are_the_same_by_rows_and_whole(void **state) {
    (void)state;
    for_each_file(check_changes);
}

// ---- sizes

static Image noise(int width, int height) {
    Image image = image_new(width, height);
    for (int i = 0; i < 3 * width * height; i++)
        image.pixels[i] = (uint8_t)(rand() >> 8 & 1 ? rand() >> 8 : 255 * (rand() >> 8 & 1));
    return image;
}

static void check_size(int width, int height, const ImageView *view) {
    Image image = noise(width, height);
    Error error = {0};
    void *bytes;
    size_t size;
    assert_true(image_encode_png(&image, &bytes, &size, &error));
    assert_true(check_bytes("png", bytes, size, view));
    free(bytes);
    assert_true(image_encode_jpeg(&image, 90, &bytes, &size, &error));
    assert_true(check_bytes("jpg", bytes, size, view));
    free(bytes);
    image_free(&image);
}

static void every_size_is_pillows_by_rows(void **state) {
    (void)state;
    static const int sides[] = {1, 2, 3, 4, 5, 7, 8, 9, 16, 17, 33, 64, 97};
    enum { NUM_SIDES = sizeof sides / sizeof *sides };
    srand(5);
    for (int i = 0; i < NUM_SIDES * NUM_SIDES; i++)
        for (int aspect = IMAGE_CENTER_CROP; aspect <= IMAGE_PAD; aspect++)
            check_size(sides[i / NUM_SIDES], sides[i % NUM_SIDES],
                       &(ImageView){(ImageAspect)aspect, (ImageNormalization)(i % 2),
                                    sides[rand() % NUM_SIDES]});
    for (int i = 0; i < 20; i++)
        check_size(1 + rand() % 200, 1 + rand() % 200,
                   &(ImageView){i % 2 ? IMAGE_PAD : IMAGE_CENTER_CROP,
                                IMAGE_NORMALIZATION_CLIP_TWICE, 1 + rand() % 90});
}

// ---- pictures that are refused

static void a_thin_picture_is_refused_when_it_is_seen_to_be_sound(void **state) {
    (void)state;
    const ImageView view = {IMAGE_CENTER_CROP, IMAGE_NORMALIZATION_HALF, 384};
    Image thin = noise(1, 500000);
    Error error = {0};
    ImageGeometry geometry;
    void *bytes;
    size_t size;
    float *numbers = poisoned(view.size);
    assert_true(image_encode_png(&thin, &bytes, &size, &error));
    assert_false(image_decode_preprocess(bytes, size, "thin", &view, numbers, &geometry, &error));
    assert_string_equal(error.message,
                        "thin: a picture of 1 x 500000 pixels: after resizing its shortest edge: "
                        "192000000 x 384 pixels are more than the limit of 178956970");
    expect_zeros("thin", numbers, view.size);
    assert_false(
        image_decode_preprocess(bytes, size / 2, "thin", &view, numbers, &geometry, &error));
    assert_non_null(strstr(error.message, "thin: a damaged PNG image: its data end early"));
    expect_zeros("thin", numbers, view.size);
    free(bytes);
    free(numbers);
    image_free(&thin);
}

static void a_file_that_is_absent_leaves_zeros(void **state) {
    (void)state;
    const ImageView view = {IMAGE_PAD, IMAGE_NORMALIZATION_HALF, 3};
    Error error = {0};
    ImageGeometry geometry;
    float *numbers = poisoned(view.size);
    assert_false(image_read_preprocess("absent.png", &view, numbers, &geometry, &error));
    assert_non_null(strstr(error.message, "absent.png"));
    expect_zeros("absent.png", numbers, view.size);
    free(numbers);
}

// ---- what is held

/// Counts the rows and whole pictures that it is given.
typedef struct Counted {
    int rows, height, wholes;
    uint8_t row[3 * 64];
} Counted;

static void begin_counting(ImageSink *sink, int width, int height) {
    Counted *counted = sink->context;
    assert_true(width <= 64);
    counted->height = height;
    sink->row = counted->row;
}

static void count_row(ImageSink *sink) { ((Counted *)sink->context)->rows++; }

static void count_whole(ImageSink *sink, Image *image) {
    ((Counted *)sink->context)->wholes++;
    image_free(image);
}

static int files_by_rows;

static void check_rows(const char *name, const uint8_t *bytes, size_t size) {
    Counted counted = {0};
    ImageSink sink = {
        .begin = begin_counting, .put = count_row, .take = count_whole, .context = &counted};
    Error error = {0};
    const int number = image_format(bytes, size);
    if (number < 0 || !image_decode_into(bytes, size, name, &sink, &error)) return;
    const char *format = image_format_name(number);
    const bool by_rows =
        !strcmp(format, "JPEG") || (!strcmp(format, "PNG") && !strstr(name, "interlaced"));
    assert_int_equal(counted.wholes, !by_rows);
    assert_int_equal(counted.rows, counted.height);
    files_by_rows += by_rows;
}

static void jpeg_and_png_come_by_rows(void **state) {
    (void)state;
    for_each_file(check_rows);
    assert_true(files_by_rows > 40);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_file_is_the_same_by_rows_and_whole),
        cmocka_unit_test(a_file_that_is_cut_off_is_the_same_by_rows_and_whole),
        cmocka_unit_test(changed_bytes_are_the_same_by_rows_and_whole),
        cmocka_unit_test(every_size_is_pillows_by_rows),
        cmocka_unit_test(a_thin_picture_is_refused_when_it_is_seen_to_be_sound),
        cmocka_unit_test(a_file_that_is_absent_leaves_zeros),
        cmocka_unit_test(jpeg_and_png_come_by_rows),
    };
    image_on_warning(hear);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
