/// Inside of the charts: what they share.
#pragma once
#include "eval/pages/plot.h"

#include <stdbool.h>
#include <stdio.h>

enum {
    /// pixels of a letter of 13 pixels' height, about
    LETTER_WIDTH = 7
};

/// An element that is being written.
typedef struct Svg {
    FILE *out;
    char *text;
    size_t length;
} Svg;

/// Begins an element of that many pixels, with a title for readers that cannot see it. Returns
/// where its content is written.
FILE *plot_begin(Svg *svg, const char *title, int width, int height);
/// The element; the caller frees it.
char *plot_end(Svg *svg);
/// Instead of a chart without any value.
void plot_say_empty(FILE *out, int width, int height);

/// Data coordinates and the rectangle of pixels that they fill.
typedef struct Frame {
    double x_low, x_high, y_low, y_high;
    /// x_low and x_high are logarithms then
    bool x_is_logarithmic;
    double left, right, top, bottom;
} Frame;

/// x, or its logarithm, as the axis has it.
double plot_x_on_axis(const Frame *frame, double x);
double plot_x_pixel(const Frame *frame, double x);
double plot_y_pixel(const Frame *frame, double y);
/// Both coordinates are finite.
bool plot_is_point(const PlotSeries *series, int i);

/// What the axes are called: x that many pixels below the frame, y upright to its left.
void plot_draw_labels(FILE *out, const char *x_label, const char *y_label, const Frame *frame,
                      int below);

/// stroke-dasharray of line `number`, "" without dashes.
const char *plot_dashes(int number);
/// Characters of a text.
int plot_letters(const char *text);
/// The text, or its beginning with "..." where it has more characters. The caller frees it.
char *plot_shorten(const char *text, int most);

/// Numbers at the lines' ends.
void plot_draw_numbers(FILE *out, const Plot *plot, const Frame *frame);
void plot_draw_marks(FILE *out, const Plot *plot, const Frame *frame);
/// Above the chart, of a chart without numbers.
void plot_draw_legend(FILE *out, const Plot *plot);
