/// Line charts as SVG: no script, no font, no file beside them. Text and axes take the page's text colour (`currentColor`), so
/// that a chart inside of a page suits its light and its dark look.
#pragma once

typedef struct PlotSeries {
    const char *label;
    const double *x, *y; ///< points with a value that is not finite are left out
    int count;
    /// 0: the line as it is. Else the weight, below 1, of the past in an exponential moving average, which is drawn over the line itself.
    double smoothing;
} PlotSeries;

typedef struct Plot {
    const char *title; ///< for readers that cannot see it
    const char *x_label, *y_label;
    const PlotSeries *series;
    int num_series;
    int width, height; ///< in pixels, 0: 480 x 280
} Plot;

/// An <svg> element; the caller frees it. Without any point it says so.
char *plot_svg(const Plot *plot);

/// Round numbers (1, 2 or 5 times a power of ten apart), about `wanted` of them, that lie in [low, high]. Writes at most
/// `capacity` and returns how many.
int plot_ticks(double low, double high, int wanted, double *ticks, int capacity);
