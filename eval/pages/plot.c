#include "eval/pages/plot.h"

#include "autograd/error.h"
#include "eval/pages/html_report.h"
#include "eval/pages/palette.h"
#include "eval/pages/plot_parts.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    LEFT = 76,
    RIGHT = 16,
    RIGHT_OF_NUMBERS = 34, // with numbers at the lines' ends
    TOP = 34,              // the legend's line
    TOP_OF_NUMBERS = 12,   // no legend
    BOTTOM = 46,
    X_TICKS = 6,
    FEW_DECADES = 2,
    Y_TICKS = 5,
    MOST_TICKS = 24,
    MOST_BUCKETS = 600, // more points than a chart has pixels only make the file larger
    BESIDE = 4,         // from a bar to that of the next line over the same x
    MOST_DOTS = 24      // a line of few points shows each of them
};

double plot_x_on_axis(const Frame *frame, double x) {
    return frame->x_is_logarithmic ? log10(x) : x;
}

double plot_x_pixel(const Frame *frame, double x) {
    return frame->left + (plot_x_on_axis(frame, x) - frame->x_low) /
                             (frame->x_high - frame->x_low) * (frame->right - frame->left);
}

double plot_y_pixel(const Frame *frame, double y) {
    return frame->bottom -
           (y - frame->y_low) / (frame->y_high - frame->y_low) * (frame->bottom - frame->top);
}

int plot_ticks(double low, double high, int wanted, double *ticks, int capacity) {
    if (!(high > low) || wanted < 1) return 0;
    double rough = (high - low) / wanted, power = pow(10, floor(log10(rough)));
    double ratio = rough / power;
    double step = power * (ratio < 1.5 ? 1 : ratio < 3.5 ? 2 : ratio < 7.5 ? 5 : 10);
    double first = ceil(low / step - 1e-9), last = floor(high / step + 1e-9);
    int count = 0;
    // Multiples of the step, not sums of it: 0.3, not 0.30000000000000004.
    for (double i = first; i <= last && count < capacity; i++) ticks[count++] = i * step + 0.0;
    return count;
}

bool plot_is_point(const PlotSeries *series, int i) {
    return isfinite(series->x[i]) && isfinite(series->y[i]);
}

static bool data_range(const Plot *plot, Frame *frame) {
    frame->x_low = frame->y_low = INFINITY;
    frame->x_high = frame->y_high = -INFINITY;
    for (int s = 0; s < plot->num_series; s++) {
        const PlotSeries *series = &plot->series[s];
        for (int i = 0; i < series->count; i++) {
            if (!plot_is_point(series, i)) continue;
            frame->x_low = fmin(frame->x_low, plot_x_on_axis(frame, series->x[i]));
            frame->x_high = fmax(frame->x_high, plot_x_on_axis(frame, series->x[i]));
            // fmin() and fmax() pass over an end that is NaN.
            frame->y_low = fmin(frame->y_low, series->y[i]);
            frame->y_high = fmax(frame->y_high, series->y[i]);
            if (!series->low) continue;
            frame->y_low = fmin(frame->y_low, series->low[i]);
            frame->y_high = fmax(frame->y_high, series->high[i]);
        }
    }
    return frame->x_low <= frame->x_high;
}

static const double AIR_OF_BARS = 0.04;

/// A little air above and below; an axis never has length zero; one that nearly reaches zero starts
/// there.
static void widen(Frame *frame, bool has_intervals) {
    double x_size = frame->x_high - frame->x_low, y_size = frame->y_high - frame->y_low;
    if (!(x_size > 0)) {
        double half = fmax(0.5, 1e-6 * fabs(frame->x_low));
        frame->x_low -= half;
        frame->x_high += half;
    }
    // Bars at the ends keep off the frame.
    double beside = has_intervals ? AIR_OF_BARS * x_size : 0;
    frame->x_low -= beside;
    frame->x_high += beside;
    double air = y_size > 0 ? 0.05 * y_size : fmax(0.5, 0.05 * fabs(frame->y_low));
    bool starts_at_zero = frame->y_low >= 0 && frame->y_low < 0.25 * frame->y_high;
    frame->y_low = starts_at_zero ? 0 : frame->y_low - air;
    frame->y_high += air;
}

/// Powers of ten, with twice and five times these where they are few.
static int logarithmic_ticks(const Frame *frame, double *ticks, int capacity) {
    const double factors[] = {1, 2, 5};
    int each = frame->x_high - frame->x_low > FEW_DECADES ? 1 : 3, count = 0;
    for (double power = floor(frame->x_low); power <= frame->x_high; power++)
        for (int f = 0; f < each && count < capacity; f++) {
            double tick = factors[f] * pow(10, power), place = log10(tick);
            if (place >= frame->x_low && place <= frame->x_high) ticks[count++] = tick;
        }
    return count;
}

void plot_draw_labels(FILE *out, const char *x_label, const char *y_label, const Frame *frame,
                      int below) {
    const double across = (frame->left + frame->right) / 2,
                 middle = (frame->top + frame->bottom) / 2;
    char *x_text = html_escape(x_label), *y_text = html_escape(y_label);
    fprintf(out, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">%s</text>\n", across,
            frame->bottom + below, x_text);
    fprintf(out,
            "<text transform=\"rotate(-90 12 %.1f)\" x=\"12\" y=\"%.1f\" "
            "text-anchor=\"middle\">%s</text>\n",
            middle, middle, y_text);
    free(x_text);
    free(y_text);
}

static void draw_axes(FILE *out, const Plot *plot, const Frame *frame) {
    double ticks[MOST_TICKS];
    fputs("<g class=\"axis\" fill=\"currentColor\" font-size=\"12\">\n", out);
    int count = plot_ticks(frame->y_low, frame->y_high, Y_TICKS, ticks, MOST_TICKS);
    for (int i = 0; i < count; i++) {
        double y = plot_y_pixel(frame, ticks[i]);
        fprintf(
            out,
            "<path d=\"M%.1f %.1fH%.1f\" stroke=\"currentColor\" stroke-opacity=\".15\"/>"
            "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"end\" fill-opacity=\".75\">%.6g</text>\n",
            frame->left, y, frame->right, frame->left - 8, y + 4, ticks[i]);
    }
    count = frame->x_is_logarithmic
                ? logarithmic_ticks(frame, ticks, MOST_TICKS)
                : plot_ticks(frame->x_low, frame->x_high, X_TICKS, ticks, MOST_TICKS);
    for (int i = 0; i < count; i++)
        fprintf(out,
                "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\" "
                "fill-opacity=\".75\">%.6g</text>\n",
                plot_x_pixel(frame, ticks[i]), frame->bottom + 18, ticks[i]);
    fprintf(out, "<path d=\"M%.1f %.1fH%.1f\" stroke=\"currentColor\" stroke-opacity=\".6\"/>\n",
            frame->left, frame->bottom, frame->right);
    plot_draw_labels(out, plot->x_label, plot->y_label, frame, 38);
    fputs("</g>\n", out);
}

static void draw_point(FILE *out, const Frame *frame, double x, double y, bool is_first) {
    fprintf(out, "%s%.1f %.1f", is_first ? "M" : "L", plot_x_pixel(frame, x),
            plot_y_pixel(frame, y));
}

/// The lowest and the highest point of every bucket, in their order, so that no peak is lost.
static void draw_line(FILE *out, const PlotSeries *series, const Frame *frame) {
    int buckets = series->count < MOST_BUCKETS ? series->count : MOST_BUCKETS;
    bool is_first = true;
    for (int b = 0; b < buckets; b++) {
        int begin = (int)((long long)series->count * b / buckets);
        int end = (int)((long long)series->count * (b + 1) / buckets), low = -1, high = -1;
        for (int i = begin; i < end; i++) {
            if (!plot_is_point(series, i)) continue;
            if (low < 0 || series->y[i] < series->y[low]) low = i;
            if (high < 0 || series->y[i] > series->y[high]) high = i;
        }
        if (low < 0) continue;
        int one = low < high ? low : high, other = low < high ? high : low;
        draw_point(out, frame, series->x[one], series->y[one], is_first);
        is_first = false;
        if (other != one) draw_point(out, frame, series->x[other], series->y[other], false);
    }
}

/// The average's weights sum to one from the first point on (the bias correction of Adam), so the
/// line starts on the data.
static void draw_smoothed(FILE *out, const PlotSeries *series, const Frame *frame) {
    double sum = 0, weight = 0;
    int stride = (series->count + MOST_BUCKETS - 1) / MOST_BUCKETS;
    bool is_first = true;
    for (int i = 0; i < series->count; i++) {
        if (!plot_is_point(series, i)) continue;
        sum = series->smoothing * sum + (1 - series->smoothing) * series->y[i];
        weight = series->smoothing * weight + (1 - series->smoothing);
        if (i % stride && i != series->count - 1) continue;
        draw_point(out, frame, series->x[i], sum / weight, is_first);
        is_first = false;
    }
}

static void draw_dots(FILE *out, const PlotSeries *series, const Frame *frame) {
    for (int i = 0; i < series->count; i++)
        if (plot_is_point(series, i))
            fprintf(out, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"2\"/>\n",
                    plot_x_pixel(frame, series->x[i]), plot_y_pixel(frame, series->y[i]));
}

static void draw_intervals(FILE *out, const PlotSeries *series, const Frame *frame) {
    fputs("<path stroke-width=\"1.5\" stroke-opacity=\".6\" d=\"", out);
    for (int i = 0; i < series->count; i++) {
        if (!plot_is_point(series, i) || !isfinite(series->low[i]) || !isfinite(series->high[i]))
            continue;
        fprintf(out, "M%.1f %.1fV%.1f", plot_x_pixel(frame, series->x[i]),
                plot_y_pixel(frame, series->low[i]), plot_y_pixel(frame, series->high[i]));
    }
    fputs("\"/>\n", out);
}

/// Bars of several lines over the same x stand beside each other.
static Frame frame_of_series(const Plot *plot, int s, const Frame *frame) {
    Frame moved = *frame;
    double by = plot->series[s].low ? BESIDE * (s - (plot->num_series - 1) / 2.0) : 0;
    moved.left += by;
    moved.right += by;
    return moved;
}

static void draw_series(FILE *out, const Plot *plot, int s, const Frame *frame_of_all) {
    const PlotSeries *series = &plot->series[s];
    const Frame frame_moved = frame_of_series(plot, s, frame_of_all), *frame = &frame_moved;
    int number = plot->numbers ? plot->numbers[s] : s;
    Color color = palette_color(number);
    bool is_smoothed = series->smoothing > 0;
    const char *dashes = plot->numbers ? plot_dashes(number) : "";
    char *label = html_escape(series->label),
         *pattern =
             *dashes ? format_string(" stroke-dasharray=\"%s\"", dashes) : checked_strdup("");
    // Behind the average the data is a haze: fainter where several lie over each other.
    fprintf(out,
            "<g fill=\"none\" stroke=\"#%02x%02x%02x\" stroke-linejoin=\"round\" "
            "stroke-linecap=\"%s\">\n<title>%s</title>\n<path stroke-width=\"%s\" "
            "stroke-opacity=\"%s\"%s d=\"",
            color.red, color.green, color.blue, *dashes ? "butt" : "round", label,
            is_smoothed ? "1" : "2",
            !is_smoothed    ? "1"
            : plot->numbers ? ".22"
                            : ".35",
            is_smoothed ? "" : pattern);
    draw_line(out, series, frame);
    if (is_smoothed) {
        fprintf(out, "\"/>\n<path stroke-width=\"2\"%s d=\"", pattern);
        draw_smoothed(out, series, frame);
    }
    fputs("\"/>\n", out);
    if (series->low) draw_intervals(out, series, frame);
    if (series->count <= MOST_DOTS) draw_dots(out, series, frame);
    fputs("</g>\n", out);
    free(label);
    free(pattern);
}

FILE *plot_begin(Svg *svg, const char *title_text, int width, int height) {
    *svg = (Svg){0};
    svg->out = open_memstream(&svg->text, &svg->length);
    CHECK(svg->out, "open_memstream");
    char *title = html_escape(title_text);
    fprintf(svg->out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" role=\"img\" "
            "font-family=\"system-ui, sans-serif\">\n<title>%s</title>\n",
            width, height, title);
    free(title);
    return svg->out;
}

char *plot_end(Svg *svg) {
    fputs("</svg>\n", svg->out);
    CHECK(!fclose(svg->out), "a chart in memory cannot be written");
    return svg->text;
}

void plot_say_empty(FILE *out, int width, int height) {
    fprintf(out,
            "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\" fill=\"currentColor\">nothing was "
            "recorded</text>\n",
            width / 2, height / 2);
}

static bool has_legend(const Plot *plot) {
    bool is_alone = plot->num_series == 1 && !*plot->series[0].label && !plot->num_marks;
    return !plot->numbers && !is_alone;
}

char *plot_svg(const Plot *plot) {
    int width = plot->width ? plot->width : 480, height = plot->height ? plot->height : 280;
    int right = plot->numbers ? RIGHT_OF_NUMBERS : RIGHT;
    CHECK(width > LEFT + right && height > TOP + BOTTOM, "plot_svg: %d x %d pixels", width, height);
    Svg svg;
    FILE *out = plot_begin(&svg, plot->title, width, height);
    Frame frame = {.x_is_logarithmic = plot->x_is_logarithmic,
                   .left = LEFT,
                   .right = width - right,
                   .top = has_legend(plot) ? TOP : TOP_OF_NUMBERS,
                   .bottom = height - BOTTOM};
    if (data_range(plot, &frame)) {
        widen(&frame, plot->series[0].low != NULL);
        draw_axes(out, plot, &frame);
        for (int s = 0; s < plot->num_series; s++) draw_series(out, plot, s, &frame);
        plot_draw_marks(out, plot, &frame);
        if (plot->numbers) plot_draw_numbers(out, plot, &frame);
        if (has_legend(plot)) plot_draw_legend(out, plot);
    } else {
        plot_say_empty(out, width, height);
    }
    return plot_end(&svg);
}
