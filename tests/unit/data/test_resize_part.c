// rooms: data autograd
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "data/images/resize.h"

static Image random_image(int width, int height) {
    Image image = image_new(width, height);
    for (int i = 0; i < width * height * 3; i++) image.pixels[i] = (uint8_t)(rand() >> 8);
    return image;
}

static Image lay_on_canvas(const Image *image, const ResizeCanvas *canvas) {
    Image result = image_new(canvas->width, canvas->height);
    for (int i = 0; i < canvas->width * canvas->height * 3; i++)
        result.pixels[i] = canvas->colour[i % 3];
    for (int y = 0; y < image->height; y++)
        memcpy(result.pixels + ((canvas->top + y) * canvas->width + canvas->left) * 3,
               image->pixels + y * image->width * 3, (size_t)image->width * 3);
    return result;
}

static void expect_part(const Image *whole, const Image *result, const ResizePart *part) {
    assert_int_equal(result->width, part->width);
    assert_int_equal(result->height, part->height);
    for (int y = 0; y < part->height; y++)
        assert_memory_equal(result->pixels + y * part->width * 3,
                            whole->pixels + ((part->top + y) * whole->width + part->left) * 3,
                            (size_t)part->width * 3);
}

/// Between 0 and most.
static int any(int most) { return rand() % (most + 1); }

static void check_any(ResizeFilter filter) {
    Image image = random_image(1 + any(90), 1 + any(90));
    const int right = any(1) * any(50), bottom = any(1) * any(50);
    ResizeCanvas canvas = {
        .left = any(1) * any(50), .top = any(1) * any(50), .colour = {7, 120, 255}};
    canvas.width = canvas.left + image.width + right;
    canvas.height = canvas.top + image.height + bottom;
    const int width = 1 + any(120), height = 1 + any(120);
    ResizePart part = {.left = any(width - 1), .top = any(height - 1)};
    part.width = 1 + any(width - 1 - part.left);
    part.height = 1 + any(height - 1 - part.top);
    Image laid = lay_on_canvas(&image, &canvas);
    Image whole = image_resize(&laid, width, height, filter);
    Image result = image_resize_part(&image, &canvas, width, height, &part, filter);
    expect_part(&whole, &result, &part);
    image_free(&image);
    image_free(&laid);
    image_free(&whole);
    image_free(&result);
}

static void a_part_of_a_canvas_has_the_pixels_of_the_whole(void **state) {
    (void)state;
    srand(1);
    for (int i = 0; i < 2000; i++) check_any(i % 2 ? RESIZE_BICUBIC : RESIZE_BILINEAR);
}

static void resizing_to_the_same_size_changes_nothing(void **state) {
    (void)state;
    for (int size = 1; size < 40; size++) {
        Image image = random_image(size, 41 - size);
        for (int filter = RESIZE_BILINEAR; filter <= RESIZE_BICUBIC; filter++) {
            Image same = image_resize(&image, size, 41 - size, (ResizeFilter)filter);
            assert_memory_equal(same.pixels, image.pixels, (size_t)size * (41 - size) * 3);
            image_free(&same);
        }
        image_free(&image);
    }
}

static void white_and_black_stay_within_a_byte(void **state) {
    (void)state;
    Image image = image_new(16, 16);
    for (int i = 0; i < 16 * 16 * 3; i++) image.pixels[i] = i / 3 % 16 < 8 ? 0 : 255;
    Image wide = image_resize(&image, 64, 64, RESIZE_BICUBIC);
    for (int x = 0; x < 64; x++) {
        const uint8_t *pixel = wide.pixels + (32 * 64 + x) * 3;
        if (x < 28) assert_true(pixel[0] == 0);
        if (x >= 36) assert_true(pixel[0] == 255);
    }
    image_free(&wide);
    image_free(&image);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_part_of_a_canvas_has_the_pixels_of_the_whole),
        cmocka_unit_test(resizing_to_the_same_size_changes_nothing),
        cmocka_unit_test(white_and_black_stay_within_a_byte),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
