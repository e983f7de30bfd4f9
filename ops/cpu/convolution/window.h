/// Inside the CPU kernels: where the window of a convolution's output pixel lies in the image.
#pragma once
#include "ops/cpu/onednn.h"

typedef struct ConvolutionWindow {
    int64_t image;
    /// of its first element; may lie outside of the image
    int64_t top, left;
    /// rows first_row .. end_row and columns first_column .. end_column of it lie in the image;
    /// there may be none
    int64_t first_row, end_row, first_column, end_column;
} ConvolutionWindow;

static inline ConvolutionWindow convolution_window(const Convolution *s, int64_t pixel) {
    int64_t line = pixel / s->width_out;
    ConvolutionWindow w = {.image = line / s->height_out,
                           .top = line % s->height_out * s->shape.stride - s->shape.pad_top,
                           .left = pixel % s->width_out * s->shape.stride - s->shape.pad_left,
                           .end_row = s->kernel_height,
                           .end_column = s->kernel_width};
    if (w.top < 0) w.first_row = -w.top < w.end_row ? -w.top : w.end_row;
    if (w.left < 0) w.first_column = -w.left < w.end_column ? -w.left : w.end_column;
    if (s->height - w.top < w.end_row) w.end_row = s->height - w.top;
    if (s->width - w.left < w.end_column) w.end_column = s->width - w.left;
    if (w.end_row < w.first_row) w.end_row = w.first_row;
    if (w.end_column < w.first_column) w.end_column = w.first_column;
    return w;
}

/// Of an image's element: x's first at row `row` of the window, at its first column that there is.
static inline int64_t convolution_window_element(const Convolution *s, const ConvolutionWindow *w,
                                                 int64_t row) {
    return ((w->image * s->height + w->top + row) * s->width + w->left + w->first_column) *
           s->channels_in;
}
