/// Inside ops/cpu/amx/convolution*.c only: an image's pixels in one line, in which a window is a
/// shift.
///
/// Rows lie one after the other with zeros between them, so that every tap of the kernel finds its
/// pixel, or a zero, at the same distance wherever the window is: any 16 neighbours on the line
/// make a tile's side, whatever the width of a row. What is computed of the zeros' places is
/// dropped; at 12 x 12 pixels that is a sixth, where rows of their own would leave a quarter empty.
///
/// With a stride s, the pixels of one remainder of row and column by s are a line (a phase): output
/// pixel (r, c) sees pixel (r + u, c + v) of phase (a, b), where s u + a and s v + b are the tap's
/// row and column less the padding. All phases and the output have the same rows, so the shift is
/// u * pitch + v, and the gradient's the opposite.
#pragma once
#include "ops/cpu/onednn.h"

typedef struct ConvolutionLine {
    const Convolution *shape;
    int64_t stride;
    /// places from a row to the next, and rows from an image to the next
    int64_t pitch, rows;
    /// places on the line with something of an image or its result
    int64_t places;
    /// the shifts of all taps lie between
    int64_t lowest, highest;
} ConvolutionLine;

static inline int64_t line_least(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t line_most(int64_t a, int64_t b) { return a > b ? a : b; }
static inline int64_t line_up_to(int64_t n, int64_t multiple) {
    return (n + multiple - 1) / multiple * multiple;
}
static inline int64_t line_floor(int64_t n, int64_t by) {
    return n >= 0 ? n / by : -((-n + by - 1) / by);
}

/// How far apart rows (or images) must be: `size` and `size_out` are how many there are before and
/// after, u goes from `first` to `last`.
static inline int64_t line_period(int64_t size, int64_t size_out, int64_t first, int64_t last) {
    return line_most(size_out + line_most(last, 0), size - line_least(first, 0));
}

static inline ConvolutionLine convolution_line(const Convolution *s) {
    int64_t stride = s->shape.stride, top = s->shape.pad_top, left = s->shape.pad_left;
    int64_t first_row = line_floor(-top, stride), first_column = line_floor(-left, stride);
    int64_t last_row = line_floor(s->kernel_height - 1 - top, stride),
            last_column = line_floor(s->kernel_width - 1 - left, stride);
    int64_t height = (s->height + stride - 1) / stride, width = (s->width + stride - 1) / stride;
    ConvolutionLine line = {.shape = s, .stride = stride};
    line.pitch = line_most(line_period(width, s->width_out, first_column, last_column), width);
    line.rows = line_most(line_period(height, s->height_out, first_row, last_row), height);
    line.places = s->batch * line.rows * line.pitch;
    line.lowest = first_row * line.pitch + first_column;
    line.highest = last_row * line.pitch + last_column;
    return line;
}

/// Where a tap looks: in which phase, and how far from the output pixel's place.
typedef struct ConvolutionTap {
    int64_t row_phase, column_phase, shift;
} ConvolutionTap;

static inline ConvolutionTap convolution_tap(const ConvolutionLine *line, int64_t tap) {
    const Convolution *s = line->shape;
    int64_t row = tap / s->kernel_width - s->shape.pad_top;
    int64_t column = tap % s->kernel_width - s->shape.pad_left;
    int64_t u = line_floor(row, line->stride), v = line_floor(column, line->stride);
    return (ConvolutionTap){row - u * line->stride, column - v * line->stride, u * line->pitch + v};
}

/// A place of the line.
typedef struct LineCursor {
    const ConvolutionLine *line;
    int64_t image, row, column;
} LineCursor;

static inline LineCursor line_cursor(const ConvolutionLine *line, int64_t place) {
    int64_t row = line_floor(place, line->pitch), image = line_floor(row, line->rows);
    return (LineCursor){line, image, row - image * line->rows, place - row * line->pitch};
}

static inline void line_advance(LineCursor *at) {
    if (++at->column < at->line->pitch) return;
    at->column = 0;
    if (++at->row < at->line->rows) return;
    at->row = 0;
    at->image++;
}

/// Which pixel of the input lies there, in that phase, or -1.
static inline int64_t line_input_pixel(const LineCursor *at, int64_t row_phase,
                                       int64_t column_phase) {
    const Convolution *s = at->line->shape;
    int64_t row = at->row * at->line->stride + row_phase;
    int64_t column = at->column * at->line->stride + column_phase;
    if (at->image < 0 || at->image >= s->batch || row >= s->height || column >= s->width) return -1;
    return (at->image * s->height + row) * s->width + column;
}

/// Which pixel of the output lies there, or -1.
static inline int64_t line_output_pixel(const LineCursor *at) {
    const Convolution *s = at->line->shape;
    if (at->image < 0 || at->image >= s->batch || at->row >= s->height_out ||
        at->column >= s->width_out)
        return -1;
    return (at->image * s->height_out + at->row) * s->width_out + at->column;
}

/// How the work is cut: a line into spans, which the second-level cache holds with what they see
/// and their sums, and blocks of 32 columns into groups, so that there is some for every thread.
typedef struct LineCut {
    /// places, a multiple of 32
    int64_t span;
    int64_t spans, groups;
} LineCut;

/// `place_bytes`: of what is seen, in all channels. Two threads may share a cache of 2 MiB.
static inline LineCut line_cut(const ConvolutionLine *line, int64_t place_bytes, int64_t blocks,
                               int64_t threads) {
    enum { CACHED_BYTES = 768 << 10, SUM_BYTES = 32 * 4, LEAST_SPAN = 192, SHORT_SPAN = 64 };
    int64_t around = (line->highest - line->lowest) * place_bytes;
    int64_t span = line_most((CACHED_BYTES - around) / (place_bytes + SUM_BYTES), LEAST_SPAN);
    int64_t spans = (line->places + span - 1) / span;
    int64_t groups = spans % threads == 0 ? 1 : line_least(blocks, threads);
    if (spans * groups < threads)
        spans = line_most(spans, line_least((threads + groups - 1) / groups,
                                            (line->places + SHORT_SPAN - 1) / SHORT_SPAN));
    span = line_up_to((line->places + spans - 1) / spans, 32);
    return (LineCut){span, (line->places + span - 1) / span, groups};
}
