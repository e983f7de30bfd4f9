/// The square that the networks see of a whole picture: laid on its canvas, resized by Pillow's two
/// passes as they are written down here, and cropped.
#pragma once
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "data/images/preprocess.h"

static inline double cubic(double x) {
    x = fabs(x);
    if (x < 1) return (1.5 * x - 2.5) * x * x + 1;
    return x < 2 ? (((x - 5) * x + 8) * x - 4) * -0.5 : 0;
}

/// Lines of values: value i of line l is at i * step + l * line_step.
typedef struct Lines {
    uint8_t *values;
    int64_t step, line_step;
} Lines;

/// One direction of Pillow's bicubic resize: lines of `count` values become lines of `size`.
static inline void resize_lines(const Lines *from, int count, const Lines *to, int size,
                                int num_lines) {
    const double scale = (double)count / size, stretch = scale < 1 ? 1 : scale,
                 support = 2 * stretch;
    double *weights = malloc(((size_t)support * 2 + 3) * sizeof *weights);
    for (int i = 0; i < size; i++) {
        const double centre = (i + 0.5) * scale, inverse = 1.0 / stretch;
        int first = (int)(centre - support + 0.5), end = (int)(centre + support + 0.5);
        double total = 0;
        first = first < 0 ? 0 : first;
        end = end > count ? count : end;
        for (int k = first; k < end; k++)
            total += weights[k - first] = cubic((k - centre + 0.5) * inverse);
        for (int k = first; k < end; k++) {
            const double weight = total != 0 ? weights[k - first] / total : weights[k - first];
            weights[k - first] = trunc((weight < 0 ? -0.5 : 0.5) + weight * (1 << 22));
        }
        for (int l = 0; l < num_lines; l++) {
            int64_t sum = 1 << 21;
            for (int k = first; k < end; k++)
                sum += from->values[k * from->step + l * from->line_step] *
                       (int64_t)weights[k - first];
            sum >>= 22;
            to->values[i * to->step + l * to->line_step] = (uint8_t)(sum < 0     ? 0
                                                                     : sum > 255 ? 255
                                                                                 : sum);
        }
    }
    free(weights);
}

/// Rows first, then columns; the caller frees it.
static inline Image resize_whole(const Image *image, int width, int height) {
    Image wide = image_new(width, image->height), result = image_new(width, height);
    for (int c = 0; c < 3; c++)
        resize_lines(&(Lines){image->pixels + c, 3, 3 * image->width}, image->width,
                     &(Lines){wide.pixels + c, 3, 3 * width}, width, image->height);
    resize_lines(&(Lines){wide.pixels, 3 * width, 1}, image->height,
                 &(Lines){result.pixels, 3 * width, 1}, height, 3 * width);
    image_free(&wide);
    return result;
}

static inline Image padded(const Image *image, const uint8_t *colour) {
    const int side = image->width > image->height ? image->width : image->height;
    Image square = image_new(side, side);
    for (int i = 0; i < 3 * side * side; i++) square.pixels[i] = colour[i % 3];
    for (int y = 0; y < image->height; y++)
        memcpy(square.pixels +
                   3 * (((side - image->height) / 2 + y) * side + (side - image->width) / 2),
               image->pixels + 3 * y * image->width, 3 * (size_t)image->width);
    return square;
}

static inline Image cropped(const Image *image, int size) {
    Image square = image_new(size, size);
    const int left = (image->width - size) / 2, top = (image->height - size) / 2;
    for (int y = 0; y < size; y++)
        memcpy(square.pixels + 3 * y * size, image->pixels + 3 * ((top + y) * image->width + left),
               3 * (size_t)size);
    return square;
}

/// The square's levels; the caller frees it.
static inline Image reference_square(const Image *image, const ImageView *view) {
    static const uint8_t colours[][3] = {[IMAGE_NORMALIZATION_HALF] = {127, 127, 127},
                                         [IMAGE_NORMALIZATION_CLIP_TWICE] = {122, 116, 104}};
    Image between, square;
    if (view->aspect == IMAGE_PAD) {
        between = padded(image, colours[view->normalization]);
        square = resize_whole(&between, view->size, view->size);
    } else {
        const int shorter = image->width < image->height ? image->width : image->height;
        const int width = (int)((double)(view->size * image->width) / shorter),
                  height = (int)((double)(view->size * image->height) / shorter);
        between = resize_whole(image, width, height);
        square = cropped(&between, view->size);
    }
    image_free(&between);
    return square;
}

/// What stands for a level of a channel.
static inline float number_of(ImageNormalization normalization, int level, int c) {
    static const float mean[][3] = {{0.5f, 0.5f, 0.5f}, {0.48145466f, 0.4578275f, 0.40821073f}};
    static const float std[][3] = {{0.5f, 0.5f, 0.5f}, {0.26862954f, 0.26130258f, 0.27577711f}};
    const int n = normalization == IMAGE_NORMALIZATION_CLIP_TWICE;
    return ((float)(level * (1 / 255.0)) - mean[n][c]) / std[n][c];
}
