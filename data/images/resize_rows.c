// Pillow's arithmetic to the letter, because a picture that differs by a rounding is another input:
// coefficients in double, normalised, then fixed point with 22 fractional bits, and bytes between
// the horizontal and the vertical pass [src/libImaging/Resample.c].
//
// RESIZE_ROWS of the picture's rows are resized horizontally together, into a ring that holds as
// many as one output row needs; an output row is made when its rows are there. What is not wanted
// of either direction is not made.
#include "data/images/resize_rows.h"
#include "autograd/error.h"
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

/// Of resizing `input` values to `output`, those of the outputs [begin, begin + count).
static ResizeWeights make_weights(int input, int output, int begin, int count,
                                  ResizeFilter filter) {
    double (*const function)(double) = filter == RESIZE_BICUBIC ? bicubic : bilinear;
    const double scale = (double)input / output;
    const double filter_scale = scale < 1 ? 1 : scale;
    const double support = (filter == RESIZE_BICUBIC ? 2.0 : 1.0) * filter_scale;
    ResizeWeights c = {.window = (int)ceil(support) * 2 + 1};
    c.first = checked_malloc((size_t)count * sizeof *c.first);
    c.count = checked_malloc((size_t)count * sizeof *c.count);
    c.weights = checked_calloc((size_t)count * (size_t)c.window, sizeof *c.weights);
    double *weights = checked_malloc((size_t)c.window * sizeof *weights);
    for (int i = 0; i < count; i++) {
        const double centre = (begin + i + 0.5) * scale, inverse = 1.0 / filter_scale;
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

struct RowResizer {
    int width, height;
    ResizeCanvas canvas;
    /// of the part
    int part_width, part_height;
    ResizeWeights columns, rows;
    /// the picture's rows from `begin` up to `end` count for the part; begin is a multiple of
    /// RESIZE_ROWS
    int begin, end;
    /// that were put; of which those below `made` were wanted and have been in the ring
    int put, made;
    /// of the part that were taken
    int taken;
    /// [RESIZE_ROWS, row_bytes]: the next rows
    uint8_t *next;
    size_t row_bytes;
    /// [canvas width, RESIZE_ROWS, 4]: rows of the canvas, side by side
    int16_t *packed;
    /// resized horizontally: rows_in_ring of the picture's, and behind them one beside the picture
    int16_t *ring;
    int rows_in_ring;
    /// values from one row of the ring to the next
    size_t stride;
    /// [rows.window]
    const int16_t **inputs;
};

static int16_t *ring_row(const RowResizer *resizer, int index) {
    return resizer->ring + (size_t)index * resizer->stride;
}

/// The canvas without the picture, and its row beside the picture.
static void make_row_of_colour(RowResizer *resizer) {
    int16_t *const row = ring_row(resizer, resizer->rows_in_ring);
    int16_t *const rows[RESIZE_ROWS] = {row, row, row, row};
    for (size_t i = 0; i < (size_t)resizer->canvas.width * RESIZE_ROWS; i++)
        for (size_t c = 0; c < 3; c++) resizer->packed[4 * i + c] = resizer->canvas.colour[c];
    resize_packed_rows(resizer->packed, &resizer->columns, resizer->part_width, rows);
}

/// Brings the next RESIZE_ROWS rows into the ring; below the picture's last, which is not looked
/// at, whatever stands there.
static void make_rows(RowResizer *resizer) {
    int16_t *rows[RESIZE_ROWS];
    const int group = (resizer->put - 1) / RESIZE_ROWS * RESIZE_ROWS;
    for (int r = 0; r < RESIZE_ROWS; r++)
        rows[r] = ring_row(resizer, (group + r) % resizer->rows_in_ring);
    resize_pack_rows(resizer->next, resizer->row_bytes, resizer->width,
                     resizer->packed + 4 * RESIZE_ROWS * (size_t)resizer->canvas.left);
    resize_packed_rows(resizer->packed, &resizer->columns, resizer->part_width, rows);
}

/// The picture's row at which row y of the part begins, and the one behind its last.
static int first_of(const RowResizer *resizer, int y) {
    return resizer->rows.first[y] - resizer->canvas.top;
}

static int end_of(const RowResizer *resizer, int y) {
    const int end = first_of(resizer, y) + resizer->rows.count[y];
    return end < resizer->height ? end : resizer->height;
}

RowResizer *row_resizer_new(int picture_width, int picture_height, const ResizeCanvas *canvas,
                            int width, int height, const ResizePart *part, ResizeFilter filter) {
    RowResizer *resizer = checked_malloc(sizeof *resizer);
    *resizer =
        (RowResizer){.width = picture_width,
                     .height = picture_height,
                     .canvas = *canvas,
                     .part_width = part->width,
                     .part_height = part->height,
                     .columns = make_weights(canvas->width, width, part->left, part->width, filter),
                     .rows = make_weights(canvas->height, height, part->top, part->height, filter)};
    const int first = first_of(resizer, 0);
    resizer->begin = first > 0 ? first / RESIZE_ROWS * RESIZE_ROWS : 0;
    resizer->end = end_of(resizer, part->height - 1);
    // read as words of four bytes
    resizer->row_bytes = 3 * (size_t)picture_width + 1;
    resizer->next = checked_calloc(RESIZE_ROWS, resizer->row_bytes);
    resizer->packed =
        checked_calloc((size_t)canvas->width * RESIZE_ROWS * 4, sizeof *resizer->packed);
    resizer->stride = (3 * (size_t)part->width + RESIZE_BLOCK) / RESIZE_BLOCK * RESIZE_BLOCK;
    // A row waits for its last input, which comes with up to RESIZE_ROWS - 1 more.
    resizer->rows_in_ring = (resizer->rows.window / RESIZE_ROWS + 2) * RESIZE_ROWS;
    resizer->ring =
        checked_calloc(((size_t)resizer->rows_in_ring + 1) * resizer->stride, sizeof(int16_t));
    resizer->inputs = checked_malloc((size_t)resizer->rows.window * sizeof *resizer->inputs);
    make_row_of_colour(resizer);
    return resizer;
}

void row_resizer_free(RowResizer *resizer) {
    if (!resizer) return;
    free(resizer->next);
    free(resizer->packed);
    free(resizer->ring);
    free(resizer->inputs);
    weights_free(&resizer->columns);
    weights_free(&resizer->rows);
    free(resizer);
}

uint8_t *row_resizer_row(RowResizer *resizer) {
    return resizer->next + (size_t)(resizer->put % RESIZE_ROWS) * resizer->row_bytes;
}

void row_resizer_put(RowResizer *resizer) {
    resizer->put++;
    if (resizer->put % RESIZE_ROWS != 0 && resizer->put != resizer->height) return;
    if (resizer->put > resizer->begin && resizer->made < resizer->end) make_rows(resizer);
    resizer->made = resizer->put;
}

bool row_resizer_take(RowResizer *resizer, uint8_t *out) {
    const ResizeWeights *rows = &resizer->rows;
    const int y = resizer->taken;
    if (y == resizer->part_height || end_of(resizer, y) > resizer->made) return false;
    for (int k = 0; k < rows->count[y]; k++) {
        const int row = first_of(resizer, y) + k;
        const bool beside = row < 0 || row >= resizer->height;
        resizer->inputs[k] =
            ring_row(resizer, beside ? resizer->rows_in_ring : row % resizer->rows_in_ring);
    }
    resize_sum_of_rows(resizer->inputs, rows->weights + (size_t)y * (size_t)rows->window,
                       rows->count[y], resizer->part_width * 3, out);
    resizer->taken++;
    return true;
}
