#include "eval/pages/attention_picture.h"

#include "data/images/resize.h"

#include <math.h>

/// How much of a pixel is the map's colour, where the map is lowest and where it is highest.
static const float LEAST_TINT = 0.45f, MOST_TINT = 0.75f;

/// Colours of equal steps, each lighter than the one before it.
static const uint8_t STEPS[][3] = {{0x12, 0x0b, 0x2e}, {0x4a, 0x12, 0x6b}, {0x98, 0x21, 0x6a},
                                   {0xdc, 0x3f, 0x3f}, {0xf7, 0x8b, 0x1e}, {0xff, 0xf0, 0xa0}};
enum { LAST_STEP = sizeof STEPS / sizeof *STEPS - 1 };

/// value: 0 to 1.
static void tint(uint8_t pixel[3], float value) {
    float at = value * LAST_STEP, weight = LEAST_TINT + value * (MOST_TINT - LEAST_TINT);
    int step = at >= LAST_STEP ? LAST_STEP - 1 : (int)at;
    float between = at - (float)step;
    for (int c = 0; c < 3; c++) {
        float color = (1 - between) * STEPS[step][c] + between * STEPS[step + 1][c];
        pixel[c] = (uint8_t)lrintf((1 - weight) * pixel[c] + weight * color);
    }
}

Image attention_picture(const Image *image, const float *map, int scale) {
    CHECK(scale >= 1, "attention_picture: scale %d", scale);
    Image picture =
        image_resize(image, image->width * scale, image->height * scale, RESIZE_BICUBIC);
    float low = map[0], high = map[0];
    for (int64_t i = 1; i < (int64_t)image->height * image->width; i++) {
        low = fminf(low, map[i]);
        high = fmaxf(high, map[i]);
    }
    for (int row = 0; row < picture.height; row++)
        for (int column = 0; column < picture.width; column++) {
            float value = map[(int64_t)(row / scale) * image->width + column / scale];
            tint(picture.pixels + 3 * ((int64_t)row * picture.width + column),
                 high > low ? (value - low) / (high - low) : 0);
        }
    return picture;
}
