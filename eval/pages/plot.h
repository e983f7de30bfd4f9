/// Line charts as SVG: no script, no font, no file beside them. Text and axes take the page's text
/// colour (`currentColor`), so that a chart inside of a page suits its light and its dark look.
#pragma once

typedef struct PlotSeries {
    const char *label;
    /// points with a value that is not finite are left out
    const double *x, *y;
    int count;
    /// 0: the line as it is. Else the weight, below 1, of the past in an exponential moving
    /// average, which is drawn over the line itself.
    double smoothing;
} PlotSeries;

typedef enum PlotMarkKind { MARK_RING, MARK_CROSS } PlotMarkKind;

/// A point that stands out. Its text shows where a pointer rests on it.
typedef struct PlotMark {
    /// y not finite: on the axis
    double x, y;
    PlotMarkKind kind;
    const char *text;
} PlotMark;

typedef struct Plot {
    /// for readers that cannot see it
    const char *title;
    const char *x_label, *y_label;
    const PlotSeries *series;
    int num_series;
    const PlotMark *marks;
    int num_marks;
    /// what a ring and what a cross stand for, in the legend
    const char *mark_labels[2];
    /// NULL, or for each series its number from 0 in a legend beside the chart, plot_legend_html():
    /// it decides colour and dashes, and stands, counted from 1, at the line's end. The chart then
    /// has no legend of its own.
    const int *numbers;
    /// in pixels, 0: 480 x 280
    int width, height;
} Plot;

/// An <svg> element; the caller frees it. Without any point it says so.
char *plot_svg(const Plot *plot);

/// The legend of charts whose series have numbers, for html_report_legend(); the caller frees it.
char *plot_legend_html(const char *const *labels, int count);

/// Round numbers (1, 2 or 5 times a power of ten apart), about `wanted` of them, that lie in [low,
/// high]. Writes at most `capacity` and returns how many.
int plot_ticks(double low, double high, int wanted, double *ticks, int capacity);
