// Both follow their reference's arithmetic to the letter, because a picture that differs by a
// rounding is another input. Pillow: coefficients in double, normalised, then fixed point with 22
// fractional bits [src/libImaging/Resample.c].
//
// The picture goes through once: RESIZE_ROWS of its rows are resized horizontally into a ring that
// holds as many as one output row needs, and every output row is made as soon as its rows are
// there. What is not wanted of either direction is not made.
#include "data/images/resize.h"
#include "data/images/resize_sums.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

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
    return (int32_t)((weight < 0 ? -0.5 : 0.5) + weight * (1 << RESIZE_PRECISION_BITS));
}

static ResizeWeights make_weights(int input, int output, ResizeFilter filter) {
    double (*const function)(double) = filter == RESIZE_BICUBIC ? bicubic : bilinear;
    const double scale = (double)input / output;
    const double filter_scale = scale < 1 ? 1 : scale;
    const double support = (filter == RESIZE_BICUBIC ? 2.0 : 1.0) * filter_scale;
    ResizeWeights c = {.window = (int)ceil(support) * 2 + 1};
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

static void weights_free(ResizeWeights *c) {
    free(c->first);
    free(c->count);
    free(c->weights);
}

/// What is on its way through.
typedef struct Passage {
    const Image *image;
    const ResizeCanvas *canvas;
    const ResizePart *part;
    ResizeWeights columns, rows;
    /// [canvas width, RESIZE_ROWS, 4]: rows of the canvas, side by side
    int16_t *packed;
    /// resized horizontally: rows_in_ring of the picture's, and behind them one beside the picture
    int16_t *ring;
    int rows_in_ring;
    /// values from one row of the ring to the next
    size_t stride;
    /// the picture's rows below it have been in the ring; a multiple of RESIZE_ROWS
    int made;
} Passage;

static int16_t *ring_row(const Passage *passage, int index) {
    return passage->ring + (size_t)index * passage->stride;
}

static void pack_pixels(const uint8_t *pixels, int count, int16_t *packed) {
    for (int x = 0; x < count; x++)
        for (int c = 0; c < 3; c++) packed[4 * RESIZE_ROWS * x + c] = pixels[3 * x + c];
}

static void pack_colour(const uint8_t *colour, int count, int16_t *packed) {
    for (int x = 0; x < count; x++) pack_pixels(colour, 1, packed + 4 * RESIZE_ROWS * x);
}

/// The canvas without the picture, and its row beside the picture.
static void make_row_of_colour(Passage *passage) {
    const ResizePart *part = passage->part;
    int16_t *const row = ring_row(passage, passage->rows_in_ring);
    int16_t *const rows[RESIZE_ROWS] = {row, row, row, row};
    for (int r = 0; r < RESIZE_ROWS; r++)
        pack_colour(passage->canvas->colour, passage->canvas->width, passage->packed + 4 * r);
    resize_packed_rows(passage->packed, &passage->columns, part->left, part->left + part->width,
                       rows);
}

/// Brings the picture's next RESIZE_ROWS rows into the ring; below its last row, that one again.
static void make_rows(Passage *passage) {
    const Image *image = passage->image;
    const ResizePart *part = passage->part;
    int16_t *rows[RESIZE_ROWS];
    for (int r = 0; r < RESIZE_ROWS; r++) {
        const int y = passage->made + r < image->height ? passage->made + r : image->height - 1;
        pack_pixels(image->pixels + (size_t)y * (size_t)image->width * 3, image->width,
                    passage->packed + 4 * (RESIZE_ROWS * (size_t)passage->canvas->left + r));
        rows[r] = ring_row(passage, (passage->made + r) % passage->rows_in_ring);
    }
    resize_packed_rows(passage->packed, &passage->columns, part->left, part->left + part->width,
                       rows);
    passage->made += RESIZE_ROWS;
}

static void make_output_row(Passage *passage, int y, const int16_t **inputs, uint8_t *out) {
    const ResizeWeights *rows = &passage->rows;
    const int first = rows->first[y] - passage->canvas->top, count = rows->count[y];
    const int height = passage->image->height;
    // rows above the first that is needed are passed over
    if (first > passage->made) passage->made = first / RESIZE_ROWS * RESIZE_ROWS;
    while (passage->made < first + count && passage->made < height) make_rows(passage);
    for (int k = 0; k < count; k++) {
        const int row = first + k;
        const bool beside = row < 0 || row >= height;
        inputs[k] = ring_row(passage, beside ? passage->rows_in_ring : row % passage->rows_in_ring);
    }
    resize_sum_of_rows(inputs, rows->weights + (size_t)y * (size_t)rows->window, count,
                       passage->part->width * 3, out);
}

Image image_resize_part(const Image *image, const ResizeCanvas *canvas, int width, int height,
                        const ResizePart *part, ResizeFilter filter) {
    Passage passage = {.image = image,
                       .canvas = canvas,
                       .part = part,
                       .columns = make_weights(canvas->width, width, filter),
                       .rows = make_weights(canvas->height, height, filter)};
    const size_t row = (size_t)part->width * 3;
    // and one value, which resize_packed_rows() writes, to a whole block
    passage.stride = (row + RESIZE_BLOCK) / RESIZE_BLOCK * RESIZE_BLOCK;
    // neither the first row nor the last needs to be the first or the last of RESIZE_ROWS
    passage.rows_in_ring = (passage.rows.window / RESIZE_ROWS + 3) * RESIZE_ROWS;
    passage.ring =
        checked_calloc(((size_t)passage.rows_in_ring + 1) * passage.stride, sizeof *passage.ring);
    passage.packed =
        checked_calloc((size_t)canvas->width * RESIZE_ROWS * 4, sizeof *passage.packed);
    const int16_t **inputs = checked_malloc((size_t)passage.rows.window * sizeof *inputs);
    Image result = image_new(part->width, part->height);
    make_row_of_colour(&passage);
    for (int y = 0; y < part->height; y++)
        make_output_row(&passage, part->top + y, inputs, result.pixels + (size_t)y * row);
    free(inputs);
    free(passage.packed);
    free(passage.ring);
    weights_free(&passage.columns);
    weights_free(&passage.rows);
    return result;
}

Image image_resize(const Image *image, int width, int height, ResizeFilter filter) {
    return image_resize_part(image, &(ResizeCanvas){.width = image->width, .height = image->height},
                             width, height, &(ResizePart){0, 0, width, height}, filter);
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
