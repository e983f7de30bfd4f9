#include "eval/pages/overlay.h"

#include "data/images/resize.h"
#include "eval/pages/html_report.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const float TINT = 0.38f;
static const Color DARK = {0x14, 0x17, 0x1a}, LIGHT = {0xff, 0xff, 0xff};
// In pixels of a picture whose longer side is REFERENCE_SIDE: marks keep their share of larger and
// smaller ones.
enum { REFERENCE_SIDE = 512, OUTLINE = 3, MARKER_RADIUS = 13, DIGIT_WIDTH = 3, DIGIT_HEIGHT = 5 };

// Digits 0 to 9, a row of three pixels per octal digit, top row first.
static const int DIGITS[10] = {075557, 026227, 071747, 071717, 055711,
                               074717, 074757, 071222, 075757, 075717};

static int in_proportion(const Image *picture, int length) {
    int side = picture->width > picture->height ? picture->width : picture->height;
    int scaled = (length * side + REFERENCE_SIDE / 2) / REFERENCE_SIDE;
    return scaled > 1 ? scaled : 1;
}

static void blend(Image *picture, int row, int column, Color color, float weight) {
    if (row < 0 || row >= picture->height || column < 0 || column >= picture->width) return;
    uint8_t *pixel = picture->pixels + 3 * ((int64_t)row * picture->width + column);
    const uint8_t to[3] = {color.red, color.green, color.blue};
    for (int c = 0; c < 3; c++)
        pixel[c] = (uint8_t)lrintf((float)pixel[c] + weight * (float)(to[c] - pixel[c]));
}

/// A mask [height, width] of the small image, asked in pixels of the enlarged one; outside of it
/// there is no mask.
typedef struct EnlargedMask {
    const uint8_t *mask;
    int height, width, scale;
} EnlargedMask;

static bool is_inside(const EnlargedMask *mask, int row, int column) {
    if (row < 0 || column < 0) return false;
    row /= mask->scale;
    column /= mask->scale;
    return row < mask->height && column < mask->width && mask->mask[row * mask->width + column];
}

/// Inside, and nearer than `thickness` to the outside along a row, a column or a diagonal.
static bool is_outline(const EnlargedMask *mask, int row, int column, int thickness) {
    for (int d = -1; d <= 1; d++)
        for (int e = -1; e <= 1; e++)
            if (!is_inside(mask, row + d * thickness, column + e * thickness)) return true;
    return false;
}

static void draw_mask(Image *picture, const EnlargedMask *mask, Color color) {
    int thickness = in_proportion(picture, OUTLINE);
    for (int row = 0; row < picture->height; row++)
        for (int column = 0; column < picture->width; column++) {
            if (!is_inside(mask, row, column)) continue;
            bool is_edge = is_outline(mask, row, column, thickness);
            blend(picture, row, column, color, is_edge ? 1 : TINT);
        }
}

/// A disc whose edge is smooth: a pixel counts by how much of it lies inside.
static void draw_disc(Image *picture, float row, float column, float radius, Color color) {
    for (int r = (int)(row - radius) - 1; r <= (int)(row + radius) + 1; r++)
        for (int c = (int)(column - radius) - 1; c <= (int)(column + radius) + 1; c++) {
            float distance = hypotf((float)r - row, (float)c - column);
            float covered = radius - distance + 0.5f;
            if (covered > 0) blend(picture, r, c, color, covered < 1 ? covered : 1);
        }
}

static void draw_digit(Image *picture, int digit, int top, int left, int size, Color color) {
    for (int i = 0; i < DIGIT_WIDTH * DIGIT_HEIGHT; i++) {
        if (!(DIGITS[digit] >> (DIGIT_WIDTH * DIGIT_HEIGHT - 1 - i) & 1)) continue;
        int row = top + i / DIGIT_WIDTH * size, column = left + i % DIGIT_WIDTH * size;
        for (int y = 0; y < size; y++)
            for (int x = 0; x < size; x++) blend(picture, row + y, column + x, color, 1);
    }
}

/// Dark or white, whichever is read better on that colour.
static Color ink_on(Color color) {
    int luma = (299 * color.red + 587 * color.green + 114 * color.blue) / 1000;
    return luma > 120 ? DARK : LIGHT;
}

/// The number, one or two digits, centred.
static void draw_number(Image *picture, int number, float row, float column, int radius,
                        Color ink) {
    int tens = number / 10 % 10, size = radius * 2 / (tens ? 11 : 8);
    if (size < 1) size = 1;
    int width = (tens ? 2 * DIGIT_WIDTH + 1 : DIGIT_WIDTH) * size;
    int top = (int)lrintf(row - 0.5f * (float)(DIGIT_HEIGHT * size) + 0.5f);
    int left = (int)lrintf(column - 0.5f * (float)width + 0.5f);
    if (tens) {
        draw_digit(picture, tens, top, left, size, ink);
        left += (DIGIT_WIDTH + 1) * size;
    }
    draw_digit(picture, number % 10, top, left, size, ink);
}

static void draw_marker(Image *picture, Point point, int scale, int number, Color color) {
    int radius = in_proportion(picture, MARKER_RADIUS);
    float row = ((float)point.row + 0.5f) * (float)scale - 0.5f;
    float column = ((float)point.column + 0.5f) * (float)scale - 0.5f;
    float edge = (float)in_proportion(picture, 2);
    draw_disc(picture, row, column, (float)radius + 1.5f * edge, DARK);
    draw_disc(picture, row, column, (float)radius + edge, LIGHT);
    draw_disc(picture, row, column, (float)radius, color);
    draw_number(picture, number, row, column, radius, ink_on(color));
}

int overlay_scale(const Image *image, int target) {
    int side = image->width > image->height ? image->width : image->height;
    return side < target ? target / side : 1;
}

Image overlay_draw(const Image *image, const Grounding *grounding, int scale) {
    CHECK(scale >= 1, "overlay_draw: scale %d", scale);
    Image picture =
        image_resize(image, image->width * scale, image->height * scale, RESIZE_BICUBIC);
    for (int i = 0; i < grounding->count; i++) {
        EnlargedMask mask = {grounding->items[i].mask, image->height, image->width, scale};
        if (mask.mask) draw_mask(&picture, &mask, palette_color(i));
    }
    for (int i = 0; i < grounding->count; i++)
        draw_marker(&picture, grounding->items[i].point, scale, i + 1, palette_color(i));
    return picture;
}

static void print_part(FILE *out, const char *text, int begin, int end) {
    char *part = format_string("%.*s", end - begin, text + begin), *escaped = html_escape(part);
    fputs(escaped, out);
    free(part);
    free(escaped);
}

char *overlay_caption_html(const char *text, const Grounding *grounding) {
    char *html = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&html, &size);
    CHECK(out, "open_memstream");
    int done = 0, length = (int)strlen(text);
    for (int i = 0; i < grounding->count; i++) {
        const Phrase *phrase = &grounding->items[i].phrase;
        CHECK(phrase->begin <= phrase->end && phrase->end <= length,
              "overlay_caption_html: phrase %d..%d of %d bytes", phrase->begin, phrase->end,
              length);
        if (phrase->begin < done) continue;
        print_part(out, text, done, phrase->begin);
        Color color = palette_color(i);
        fprintf(out, "<span class=\"phrase\" style=\"--color: #%02x%02x%02x\">", color.red,
                color.green, color.blue);
        print_part(out, text, phrase->begin, phrase->end);
        fprintf(out, "<sup>%d</sup></span>", i + 1);
        done = phrase->end;
    }
    print_part(out, text, done, length);
    CHECK(!fclose(out), "a caption in memory cannot be written");
    return html;
}
