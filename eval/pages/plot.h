/// Line charts as SVG: no script, no font, no file beside them. Text and axes take the page's text
/// colour (`currentColor`), so that a chart inside of a page suits its light and its dark look.
#pragma once
#include <stdbool.h>

typedef struct PlotSeries {
    /// "": not in the legend
    const char *label;
    /// points with a value that is not finite are left out
    const double *x, *y;
    int count;
    /// 0: the line as it is. Else the weight, below 1, of the past in an exponential moving
    /// average, which is drawn over the line itself.
    double smoothing;
    /// [count] ends of the points' intervals, drawn as bars; NULL: none
    const double *low, *high;
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
    /// every x is above zero then
    bool x_is_logarithmic;
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

/// A value with its interval.
typedef struct PlotInterval {
    const char *label;
    /// not finite: there is none
    double value, low, high;
    /// of the palette
    int color;
    /// a ring instead of a dot: less than the others
    bool is_hollow;
} PlotInterval;

typedef struct PlotIntervals {
    const char *title, *x_label;
    const PlotInterval *rows;
    int count;
    /// where a line goes through all rows, for differences 0; NAN: nowhere
    double reference;
    /// in pixels, 0: 480
    int width;
} PlotIntervals;

/// A row below the other, a dot on a line from end to end of each interval. As plot_svg().
char *plot_intervals_svg(const PlotIntervals *plot);

typedef struct PlotBars {
    const char *title, *x_label, *y_label;
    /// left to right
    const PlotInterval *bars;
    int count;
    /// where a dashed line goes across all bars, and its name; NAN: nowhere
    double reference;
    const char *reference_label;
} PlotBars;

/// Bars from zero on, with their intervals. As plot_svg().
char *plot_bars_svg(const PlotBars *plot);

typedef struct PlotHeatMap {
    const char *title, *x_label, *y_label;
    /// [columns], [rows]: what stands at the axes
    const char *const *x_names, *const *y_names;
    int columns, rows;
    /// [rows][columns]; not finite: an empty place
    const double *values;
    /// [rows][columns] shown where a pointer rests on a place; NULL: none
    const char *const *notes;
} PlotHeatMap;

/// Places the darker the higher their value, with a scale; the highest is framed. As plot_svg().
char *plot_heat_map_svg(const PlotHeatMap *plot);

/// Round numbers (1, 2 or 5 times a power of ten apart), about `wanted` of them, that lie in [low,
/// high]. Writes at most `capacity` and returns how many.
int plot_ticks(double low, double high, int wanted, double *ticks, int capacity);
