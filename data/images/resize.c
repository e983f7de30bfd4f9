// Both follow their reference's arithmetic to the letter, because a picture that differs by a
// rounding is another input. Pillow: coefficients in double, normalised, then fixed point with 22
// fractional bits [src/libImaging/Resample.c].
#include "data/images/resize.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/// 8 bits of value and 2 of headroom beside the fraction in a 32-bit sum.
enum { PRECISION_BITS = 32 - 8 - 2 };

/// For every output position: the first input it reads, how many, and their weights.
typedef struct Coefficients {
    /// weights per output position
    int window;
    int *first;
    int *count;
    int32_t *weights;
} Coefficients;

static double bilinear(double x) {
    x = fabs(x);
    return x < 1 ? 1 - x : 0;
}

static double bicubic(double x) {
    const double a = -0.5;
    x = fabs(x);
    if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
    if (x < 2) return (((x - 5) * x + 8) * x - 4) * a;
    return 0;
}

static int32_t to_fixed_point(double weight) {
    return (int32_t)((weight < 0 ? -0.5 : 0.5) + weight * (1 << PRECISION_BITS));
}

static Coefficients make_coefficients(int input, int output, ResizeFilter filter) {
    double (*const function)(double) = filter == RESIZE_BICUBIC ? bicubic : bilinear;
    const double scale = (double)input / output;
    const double filter_scale = scale < 1 ? 1 : scale;
    const double support = (filter == RESIZE_BICUBIC ? 2.0 : 1.0) * filter_scale;
    Coefficients c = {.window = (int)ceil(support) * 2 + 1};
    c.first = checked_malloc((size_t)output * sizeof *c.first);
    c.count = checked_malloc((size_t)output * sizeof *c.count);
    c.weights = checked_calloc((size_t)output * (size_t)c.window, sizeof *c.weights);
    double *weights = checked_malloc((size_t)c.window * sizeof *weights);
    for (int i = 0; i < output; i++) {
        const double centre = (i + 0.5) * scale, inverse = 1.0 / filter_scale;
        int first = (int)(centre - support + 0.5), end = (int)(centre + support + 0.5);
        if (first < 0) first = 0;
        if (end > input) end = input;
        double sum = 0;
        for (int k = 0; k < end - first; k++) {
            weights[k] = function((k + first - centre + 0.5) * inverse);
            sum += weights[k];
        }
        for (int k = 0; k < end - first; k++)
            c.weights[(int64_t)i * c.window + k] =
                to_fixed_point(sum != 0 ? weights[k] / sum : weights[k]);
        c.first[i] = first;
        c.count[i] = end - first;
    }
    free(weights);
    return c;
}

static void coefficients_free(Coefficients *c) {
    free(c->first);
    free(c->count);
    free(c->weights);
}

static inline uint8_t round_and_clip(int32_t sum) {
    sum >>= PRECISION_BITS;
    return (uint8_t)(sum < 0 ? 0 : sum > 255 ? 255 : sum);
}

static Image resize_rows(const Image *image, int width, ResizeFilter filter) {
    Coefficients c = make_coefficients(image->width, width, filter);
    Image result = image_new(width, image->height);
    for (int y = 0; y < image->height; y++) {
        const uint8_t *source = image->pixels + (int64_t)y * image->width * 3;
        uint8_t *target = result.pixels + (int64_t)y * width * 3;
        for (int x = 0; x < width; x++) {
            const int32_t *weights = c.weights + (int64_t)x * c.window;
            const uint8_t *pixel = source + (int64_t)c.first[x] * 3;
            int32_t red = 1 << (PRECISION_BITS - 1), green = red, blue = red;
            for (int k = 0; k < c.count[x]; k++, pixel += 3) {
                red += pixel[0] * weights[k];
                green += pixel[1] * weights[k];
                blue += pixel[2] * weights[k];
            }
            *target++ = round_and_clip(red);
            *target++ = round_and_clip(green);
            *target++ = round_and_clip(blue);
        }
    }
    coefficients_free(&c);
    return result;
}

static Image resize_columns(const Image *image, int height, ResizeFilter filter) {
    Coefficients c = make_coefficients(image->height, height, filter);
    Image result = image_new(image->width, height);
    const int64_t row = (int64_t)image->width * 3;
    int32_t *sums = checked_malloc((size_t)row * sizeof *sums);
    for (int y = 0; y < height; y++) {
        for (int64_t i = 0; i < row; i++) sums[i] = 1 << (PRECISION_BITS - 1);
        for (int k = 0; k < c.count[y]; k++) {
            const uint8_t *source = image->pixels + (c.first[y] + k) * row;
            const int32_t weight = c.weights[(int64_t)y * c.window + k];
            for (int64_t i = 0; i < row; i++) sums[i] += source[i] * weight;
        }
        uint8_t *target = result.pixels + y * row;
        for (int64_t i = 0; i < row; i++) target[i] = round_and_clip(sums[i]);
    }
    free(sums);
    coefficients_free(&c);
    return result;
}

Image image_resize(const Image *image, int width, int height, ResizeFilter filter) {
    Image rows = {0};
    const Image *source = image;
    if (width != image->width) {
        rows = resize_rows(image, width, filter);
        source = &rows;
    }
    if (height != image->height) {
        Image result = resize_columns(source, height, filter);
        image_free(&rows);
        return result;
    }
    if (source == &rows) return rows;
    Image copy = image_new(width, height);
    memcpy(copy.pixels, image->pixels, (size_t)width * (size_t)height * 3);
    return copy;
}

/// The four taps around an output position: clamped input indices and weights.
typedef struct Taps {
    int index[4];
    float weight[4];
} Taps;

static Taps cubic_taps(int position, int input, int output) {
    const float a = -0.75f, scale = (float)input / (float)output;
    const float source = scale * ((float)position + 0.5f) - 0.5f, below = floorf(source);
    const float t = source - below;
    Taps taps;
    for (int k = 0; k < 4; k++) {
        int index = (int)below - 1 + k;
        float d = fabsf(t + 1 - (float)k);
        taps.index[k] = index < 0 ? 0 : index >= input ? input - 1 : index;
        taps.weight[k] = d <= 1 ? ((a + 2) * d - (a + 3)) * d * d + 1
                                : ((a * d - 5 * a) * d + 8 * a) * d - 4 * a;
    }
    return taps;
}

void resize_bicubic_float(const float *x, int height, int width, float *out, int out_height,
                          int out_width) {
    Taps *columns = checked_malloc((size_t)out_width * sizeof *columns);
    for (int j = 0; j < out_width; j++) columns[j] = cubic_taps(j, width, out_width);
    for (int i = 0; i < out_height; i++) {
        const Taps rows = cubic_taps(i, height, out_height);
        for (int j = 0; j < out_width; j++) {
            float sum = 0;
            for (int r = 0; r < 4; r++) {
                const float *row = x + (int64_t)rows.index[r] * width;
                float line = 0;
                for (int k = 0; k < 4; k++) line += columns[j].weight[k] * row[columns[j].index[k]];
                sum += rows.weight[r] * line;
            }
            out[(int64_t)i * out_width + j] = sum;
        }
    }
    free(columns);
}
