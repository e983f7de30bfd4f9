// rooms: data checkpoints autograd
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "checkpoints/safetensors.h"
#include "data/images/image.h"
#include "data/images/preprocess.h"
#include "data/images/resize.h"
#include "tests/unit/reference_square.h"
#include "tests/unit/temporary_folder.h"

static SafetensorsFile *recorded;

/// Calls `check` with every recorded tensor whose name begins with `prefix` and ends with `suffix`,
/// and its partner whose name ends with `partner` instead.
static void for_each_pair(const char *prefix, const char *suffix, const char *partner,
                          void (*check)(const char *, const StoredTensor *, const StoredTensor *)) {
    int count = 0;
    for (int64_t i = 0; i < safetensors_count(recorded); i++) {
        const StoredTensor *entry = safetensors_entry(recorded, i);
        size_t length = strlen(entry->name), end = strlen(suffix);
        if (strncmp(entry->name, prefix, strlen(prefix)) != 0 ||
            strcmp(entry->name + length - end, suffix) != 0)
            continue;
        char name[256];
        snprintf(name, sizeof name, "%.*s%s", (int)(length - end), entry->name, partner);
        const StoredTensor *other = safetensors_find(recorded, name);
        assert_non_null(other);
        check(entry->name, entry, other);
        count++;
    }
    assert_true(count >= 4);
}

static void expect_pixels(const char *name, const Image *image, const StoredTensor *expected) {
    if (image->height != expected->shape[0] || image->width != expected->shape[1])
        fail_msg("%s: %d x %d", name, image->width, image->height);
    const uint8_t *pixels = expected->data;
    for (size_t i = 0; i < expected->bytes; i++) {
        if (image->pixels[i] != pixels[i])
            fail_msg("%s: byte %zu is %d, expected %d", name, i, image->pixels[i], pixels[i]);
    }
}

static Image image_of(const StoredTensor *entry) {
    return (Image){(int)entry->shape[1], (int)entry->shape[0], (uint8_t *)entry->data};
}

static void check_decode(const char *name, const StoredTensor *file, const StoredTensor *pixels) {
    Error error = {0};
    Image image;
    if (!image_decode(file->data, file->bytes, name, &image, &error)) fail_msg("%s", error.message);
    expect_pixels(name, &image, pixels);
    image_free(&image);
}

static void pictures_decode_as_pillow_does(void **state) {
    (void)state;
    for_each_pair("decode/", "/file", "/pixels", check_decode);
}

/// Where a PNG's last chunk of pixels ends, its checksum not counted; for a JPEG the end of the
/// file.
static size_t end_of_pixels(const uint8_t *bytes, size_t size) {
    size_t end = size;
    if (bytes[0] != 0x89) return size;
    for (size_t at = 8; at + 12 <= size;) {
        const size_t length = (size_t)bytes[at] << 24 | (size_t)bytes[at + 1] << 16 |
                              (size_t)bytes[at + 2] << 8 | bytes[at + 3];
        if (!memcmp(bytes + at + 4, "IDAT", 4)) end = at + 8 + length;
        at += 12 + length;
    }
    return end;
}

static void check_cut(const char *name, const StoredTensor *file, const StoredTensor *pixels) {
    const size_t whole = end_of_pixels(file->data, file->bytes);
    for (size_t size = 0; size < file->bytes; size++) {
        uint8_t *bytes =
            malloc(size + 1); // of its own size, so that a sanitizer sees reads beyond the end
        memcpy(bytes, file->data, size);
        Error error = {0};
        Image image;
        if (size >= whole && image_decode(bytes, size, name, &image, &error)) {
            expect_pixels(name, &image, pixels);
            image_free(&image);
            free(bytes);
            continue;
        }
        if (image_decode(bytes, size, name, &image, &error))
            fail_msg("%s: %zu of %zu bytes", name, size, file->bytes);
        if (!strstr(error.message, name)) fail_msg("%s", error.message);
        assert_null(image.pixels);
        free(bytes);
    }
}

static void a_picture_cut_off_before_its_last_pixel_is_an_error(void **state) {
    (void)state;
    for_each_pair("decode/", "/file", "/pixels", check_cut);
}

static int warnings;

static void count_warning(const char *message) {
    assert_non_null(strstr(message, "decode/"));
    if (strstr(message, "a grey image of 16 bits")) return;
    assert_non_null(strstr(message, "damaged behind its last pixel"));
    warnings++;
}

/// Without its end, with a wrong checksum of the last pixels, and with one of what follows.
static void check_damaged_end(const char *name, const StoredTensor *file,
                              const StoredTensor *pixels) {
    const size_t end = end_of_pixels(file->data, file->bytes);
    const struct {
        size_t size, changed;
    } cases[] = {{end + 4, 0}, {end, 0}, {file->bytes, end}, {file->bytes, file->bytes - 1}};
    if (end == file->bytes) return;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint8_t *bytes = malloc(cases[i].size);
        Error error = {0};
        Image image;
        memcpy(bytes, file->data, cases[i].size);
        if (cases[i].changed) bytes[cases[i].changed] ^= 0x11;
        const int before = warnings;
        if (!image_decode(bytes, cases[i].size, name, &image, &error))
            fail_msg("case %zu: %s", i, error.message);
        expect_pixels(name, &image, pixels);
        assert_int_equal(warnings, before + 1);
        image_free(&image);
        free(bytes);
    }
}

static void damage_behind_the_last_pixel_is_a_warning(void **state) {
    (void)state;
    image_on_warning(count_warning);
    for_each_pair("decode/", "/file", "/pixels", check_damaged_end);
    image_on_warning(NULL);
    assert_true(warnings >= 8);
}

static void check_changed(const char *name, const StoredTensor *file, const StoredTensor *pixels) {
    (void)pixels;
    uint8_t *bytes = malloc(file->bytes);
    memcpy(bytes, file->data, file->bytes);
    for (size_t i = 3; i < file->bytes; i += 1 + i / 64) {
        Error error = {0};
        Image image;
        bytes[i] ^= 0x11;
        bool decoded = image_decode(bytes, file->bytes, name, &image, &error);
        assert_true(decoded == (image.pixels != NULL));
        assert_true(decoded || strstr(error.message, name));
        image_free(&image);
        bytes[i] ^= 0x11;
    }
    free(bytes);
}

static void changed_bytes_give_a_picture_or_an_error(void **state) {
    (void)state;
    for_each_pair("decode/", "/file", "/pixels", check_changed);
}

static void check_resize(const char *name, const StoredTensor *from, const StoredTensor *to) {
    const Image image = image_of(from);
    ResizeFilter filter = strstr(name, "bicubic") ? RESIZE_BICUBIC : RESIZE_BILINEAR;
    Image result = image_resize(&image, (int)to->shape[1], (int)to->shape[0], filter);
    expect_pixels(name, &result, to);
    image_free(&result);
}

static void resizing_equals_pillow_byte_for_byte(void **state) {
    (void)state;
    for_each_pair("resize/", "/from", "/to", check_resize);
}

/// The numbers of a picture's square; the caller frees them.
static float *square_of(const Image *image, const ImageView *view, ImageGeometry *geometry) {
    Error error = {0};
    float *numbers = malloc((size_t)(view->size * view->size * 3) * sizeof *numbers);
    if (!image_preprocess(image, view, numbers, geometry, &error)) fail_msg("%s", error.message);
    return numbers;
}

static void check_square(const char *name, const StoredTensor *from, const StoredTensor *to) {
    const Image image = image_of(from);
    const uint8_t *levels = to->data;
    ImageView view = {strstr(name, "/pad/") ? IMAGE_PAD : IMAGE_CENTER_CROP,
                      IMAGE_NORMALIZATION_HALF, (int)to->shape[0]};
    ImageGeometry geometry;
    float *numbers = square_of(&image, &view, &geometry);
    for (size_t i = 0; i < to->bytes; i++)
        if (numbers[i] != number_of(view.normalization, levels[i], (int)(i % 3)))
            fail_msg("%s: number %zu is %g, of level %d", name, i, (double)numbers[i], levels[i]);
    free(numbers);
}

static void squares_equal_llava_and_clip_image_processor(void **state) {
    (void)state;
    for_each_pair("square/", "/from", "/to", check_square);
}

static void check_float(const char *name, const StoredTensor *from, const StoredTensor *to) {
    float *result = malloc(to->bytes);
    resize_bicubic_float(from->data, (int)from->shape[0], (int)from->shape[1], result,
                         (int)to->shape[0], (int)to->shape[1]);
    const float *expected = to->data;
    // 16 products of values up to 3.5 and weights up to 1, summed in another order.
    for (int64_t i = 0; i < to->numel; i++) {
        if (fabsf(result[i] - expected[i]) > 16 * 3.5f * 0x1p-23f)
            fail_msg("%s: element %lld is %g, expected %g", name, (long long)i, (double)result[i],
                     (double)expected[i]);
    }
    free(result);
}

static void float_bicubic_equals_pytorch(void **state) {
    (void)state;
    for_each_pair("float/", "/from", "/to", check_float);
}

/// A black picture with one white block: its centre must land where the geometry says.
static void check_geometry(int width, int height, int size, ImageAspect aspect, double x,
                           double y) {
    const ImageView view = {aspect, IMAGE_NORMALIZATION_HALF, size};
    Image image = image_new(width, height);
    memset(image.pixels, 0, (size_t)width * (size_t)height * 3);
    for (int j = -8; j < 8; j++)
        for (int i = -8; i < 8; i++)
            memset(image.pixels + ((int)(y + j) * width + (int)(x + i)) * 3, 255, 3);
    ImageGeometry geometry;
    float *square = square_of(&image, &view, &geometry);
    double sum = 0, sum_x = 0, sum_y = 0;
    for (int j = 0; j < size; j++) {
        for (int i = 0; i < size; i++) {
            double white = square[(j * size + i) * 3] > 0.1f;
            sum += white;
            sum_x += white * (i + 0.5);
            sum_y += white * (j + 0.5);
        }
    }
    assert_true(sum > 0);
    assert_true(fabs(sum_x / sum - (x * geometry.scale_x + geometry.offset_x)) < 0.5);
    assert_true(fabs(sum_y / sum - (y * geometry.scale_y + geometry.offset_y)) < 0.5);
    image_free(&image);
    free(square);
}

static void the_geometry_says_where_a_pixel_went(void **state) {
    (void)state;
    check_geometry(200, 120, 64, IMAGE_PAD, 150, 30);
    check_geometry(101, 230, 64, IMAGE_PAD, 20, 200);
    check_geometry(200, 120, 64, IMAGE_CENTER_CROP, 110, 30);
    check_geometry(101, 230, 150, IMAGE_CENTER_CROP, 40, 111);
}

static void pixels_become_floats_from_minus_one_to_one(void **state) {
    (void)state;
    Image image = image_new(1, 1);
    image.pixels[0] = 0, image.pixels[1] = 255, image.pixels[2] = 51;
    const ImageView view = {IMAGE_PAD, IMAGE_NORMALIZATION_HALF, 1};
    ImageGeometry geometry;
    float *out = square_of(&image, &view, &geometry);
    assert_true(out[0] == -1 && out[1] == 1);
    assert_true(fabsf(out[2] + 0.6f) < 1e-6f);
    free(out);
    image_free(&image);
}

/// Black and white to three decimals, as (0 - mean) / std and (1 - mean) / std.
static void pixels_become_what_clip_sees_where_they_are_normalised_twice(void **state) {
    (void)state;
    static const float black[3] = {-1.792f, -1.752f, -1.480f}, white[3] = {1.930f, 2.075f, 2.146f};
    const ImageView view = {IMAGE_CENTER_CROP, IMAGE_NORMALIZATION_CLIP_TWICE, 2};
    Image image = image_new(2, 2);
    memset(image.pixels, 0, 6);
    memset(image.pixels + 6, 255, 6);
    ImageGeometry geometry;
    float *out = square_of(&image, &view, &geometry);
    for (int c = 0; c < 3; c++) {
        assert_true(fabsf(out[c] - black[c]) < 6e-4f);
        assert_true(fabsf(out[6 + c] - white[c]) < 6e-4f);
    }
    free(out);
    image_free(&image);
}

static void pictures_are_padded_with_the_mean_that_they_are_normalised_by(void **state) {
    (void)state;
    static const uint8_t colours[][3] = {[IMAGE_NORMALIZATION_HALF] = {127, 127, 127},
                                         [IMAGE_NORMALIZATION_CLIP_TWICE] = {122, 116, 104}};
    Image image = image_new(12, 4);
    memset(image.pixels, 255, 12 * 4 * 3);
    for (int n = IMAGE_NORMALIZATION_HALF; n <= IMAGE_NORMALIZATION_CLIP_TWICE; n++) {
        const ImageView view = {IMAGE_PAD, (ImageNormalization)n, 12};
        ImageGeometry geometry;
        float *square = square_of(&image, &view, &geometry);
        for (int y = 0; y < 12; y++)
            for (int x = 0; x < 12 * 3; x++) {
                const int level = y >= 4 && y < 8 ? 255 : colours[n][x % 3];
                assert_true(square[y * 12 * 3 + x] == number_of(view.normalization, level, x % 3));
            }
        free(square);
    }
    image_free(&image);
}

static void written_pictures_are_read_back(void **state) {
    (void)state;
    Image image = image_of(safetensors_find(recorded, "decode/rgb.png/pixels")), again;
    Error error = {0};
    assert_true(image_write_png(in_folder("a.png"), &image, &error));
    assert_true(image_read(in_folder("a.png"), &again, &error));
    assert_memory_equal(image.pixels, again.pixels, 23 * 17 * 3);
    image_free(&again);
    assert_true(image_write_jpeg(in_folder("a.jpg"), &image, 95, &error));
    if (!image_read(in_folder("a.jpg"), &again, &error)) fail_msg("%s", error.message);
    double difference = 0;
    for (int i = 0; i < 23 * 17 * 3; i++) difference += abs(image.pixels[i] - again.pixels[i]);
    assert_true(difference / (23 * 17 * 3) < 15); // the chroma of hard edges is halved in size
    image_free(&again);
    assert_false(image_write_png(in_folder("absent/a.png"), &image, &error));
    assert_false(image_write_jpeg(in_folder("absent/a.jpg"), &image, 95, &error));
    assert_non_null(strstr(error.message, "absent/a.jpg"));
}

static void pictures_are_encoded_in_memory(void **state) {
    (void)state;
    uint8_t grey[5 * 7];
    for (int i = 0; i < 5 * 7; i++) grey[i] = (uint8_t)(i * 7);
    Error error = {0};
    Image again;
    void *bytes;
    size_t size;
    assert_true(image_encode_grey_png(grey, 7, 5, &bytes, &size, &error));
    assert_true(image_decode(bytes, size, "grey", &again, &error));
    assert_int_equal(again.width * 10 + again.height, 75);
    for (int i = 0; i < 5 * 7 * 3; i++) assert_int_equal(again.pixels[i], grey[i / 3]);
    free(bytes);
    assert_true(image_encode_jpeg(&again, 90, &bytes, &size, &error));
    image_free(&again);
    assert_true(image_decode(bytes, size, "jpeg", &again, &error));
    assert_int_equal(again.width * 10 + again.height, 75);
    free(bytes);
    image_free(&again);
}

static void what_is_not_a_picture_is_an_error_that_names_the_file(void **state) {
    (void)state;
    Error error = {0};
    Image image;
    FILE *file = fopen(in_folder("text.jpg"), "w");
    fputs("this is not an image", file);
    fclose(file);
    assert_false(image_read(in_folder("text.jpg"), &image, &error));
    assert_non_null(strstr(error.message, "text.jpg: not an image that is read (JPEG, PNG"));
    assert_false(image_read(in_folder("absent.png"), &image, &error));
    assert_non_null(strstr(error.message, "absent.png"));
    assert_false(image_read(temporary_folder, &image, &error));
}

static void sizes_beyond_the_limit_are_refused(void **state) {
    (void)state;
    Error error = {0};
    Image image;
    const StoredTensor *file = safetensors_find(recorded, "decode/rgb.jpg/file");
    uint8_t *bytes = malloc(file->bytes);
    memcpy(bytes, file->data, file->bytes);
    size_t frame = 0;
    while (!(bytes[frame] == 0xff && bytes[frame + 1] == 0xc0)) frame++;
    bytes[frame + 5] = bytes[frame + 7] = 0xff; // height and width, big-endian
    bytes[frame + 6] = bytes[frame + 8] = 0;
    assert_false(image_decode(bytes, file->bytes, "bomb.jpg", &image, &error));
    assert_non_null(
        strstr(error.message, "bomb.jpg: 65280 x 65280 pixels are more than the limit"));
    free(bytes);
    Image thin = image_new(1, 1000000);
    memset(thin.pixels, 77, 3000000);
    ImageGeometry geometry;
    ImageView view = {IMAGE_CENTER_CROP, IMAGE_NORMALIZATION_HALF, 384};
    float *numbers = malloc(384 * 384 * 3 * sizeof *numbers);
    assert_false(image_preprocess(&thin, &view, numbers, &geometry, &error));
    assert_non_null(strstr(error.message, "1 x 1000000"));
    view.aspect = IMAGE_PAD;
    assert_false(image_preprocess(&thin, &view, numbers, &geometry, &error));
    free(numbers);
    image_free(&thin);
}

static void real_photographs_decode_and_the_cut_one_does_not(void **state) {
    (void)state;
    const char *shared = getenv("DIFFLMM_SHARED_DATA");
    char path[512];
    snprintf(path, sizeof path, "%s/photos/images", shared ? shared : SOURCE_DIR "/../shared/data");
    DIR *directory = opendir(path);
    if (!directory) {
        print_message("skipped: no photographs at %s\n", path);
        skip();
    }
    int count = 0;
    for (struct dirent *entry; (entry = readdir(directory));) {
        if (entry->d_name[0] == '.') continue;
        char file[1024];
        snprintf(file, sizeof file, "%s/%s", path, entry->d_name);
        Error error = {0};
        Image image;
        bool decoded = image_read(file, &image, &error);
        if (decoded == (strcmp(entry->d_name, "truncated.jpg") == 0))
            fail_msg("%s: %s", file, error.message);
        image_free(&image);
        count++;
    }
    closedir(directory);
    assert_true(count > 1);
}

static int set_up(void **state) {
    Error error = {0};
    recorded = safetensors_open(SOURCE_DIR "/tests/parity/data/images.safetensors", &error);
    if (!recorded) print_error("%s\n", error.message);
    return recorded ? make_temporary_folder(state) : -1;
}

static int clean_up(void **state) {
    safetensors_close(recorded);
    return remove_temporary_folder(state);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pictures_decode_as_pillow_does),
        cmocka_unit_test(a_picture_cut_off_before_its_last_pixel_is_an_error),
        cmocka_unit_test(damage_behind_the_last_pixel_is_a_warning),
        cmocka_unit_test(changed_bytes_give_a_picture_or_an_error),
        cmocka_unit_test(resizing_equals_pillow_byte_for_byte),
        cmocka_unit_test(squares_equal_llava_and_clip_image_processor),
        cmocka_unit_test(float_bicubic_equals_pytorch),
        cmocka_unit_test(the_geometry_says_where_a_pixel_went),
        cmocka_unit_test(pixels_become_floats_from_minus_one_to_one),
        cmocka_unit_test(pixels_become_what_clip_sees_where_they_are_normalised_twice),
        cmocka_unit_test(pictures_are_padded_with_the_mean_that_they_are_normalised_by),
        cmocka_unit_test(written_pictures_are_read_back),
        cmocka_unit_test(pictures_are_encoded_in_memory),
        cmocka_unit_test(what_is_not_a_picture_is_an_error_that_names_the_file),
        cmocka_unit_test(sizes_beyond_the_limit_are_refused),
        cmocka_unit_test(real_photographs_decode_and_the_cut_one_does_not),
    };
    return cmocka_run_group_tests(tests, set_up, clean_up);
}
