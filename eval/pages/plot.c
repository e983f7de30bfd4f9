#include "eval/pages/plot.h"

#include "autograd/error.h"
#include "eval/pages/html_report.h"
#include "eval/pages/palette.h"

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
    Y_TICKS = 5,
    MOST_TICKS = 24,
    MOST_BUCKETS = 600, // more points than a chart has pixels only make the file larger
    MOST_DOTS = 24,     // a line of few points shows each of them
    NUMBER_HEIGHT = 12, // of a number at a line's end
    LEGEND_LEFT = 6,
    LETTER_WIDTH = 7 // of the legend's font, about
};

/// Dashes beside the colours, for readers that cannot tell those apart; with ten colours, 20 pairs
/// differ.
static const char *const DASHES[] = {"", "9 4", "2 4", "10 4 2 4"};
enum { NUM_DASHES = sizeof DASHES / sizeof *DASHES };

/// Data coordinates and the rectangle of pixels that they fill.
typedef struct Frame {
    double x_low, x_high, y_low, y_high;
    double left, right, top, bottom;
} Frame;

static double x_pixel(const Frame *frame, double x) {
    return frame->left +
           (x - frame->x_low) / (frame->x_high - frame->x_low) * (frame->right - frame->left);
}

static double y_pixel(const Frame *frame, double y) {
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

static bool is_point(const PlotSeries *series, int i) {
    return isfinite(series->x[i]) && isfinite(series->y[i]);
}

static bool data_range(const Plot *plot, Frame *frame) {
    frame->x_low = frame->y_low = INFINITY;
    frame->x_high = frame->y_high = -INFINITY;
    for (int s = 0; s < plot->num_series; s++) {
        const PlotSeries *series = &plot->series[s];
        for (int i = 0; i < series->count; i++) {
            if (!is_point(series, i)) continue;
            frame->x_low = fmin(frame->x_low, series->x[i]);
            frame->x_high = fmax(frame->x_high, series->x[i]);
            frame->y_low = fmin(frame->y_low, series->y[i]);
            frame->y_high = fmax(frame->y_high, series->y[i]);
        }
    }
    return frame->x_low <= frame->x_high;
}

/// A little air above and below; an axis never has length zero; one that nearly reaches zero starts
/// there.
static void widen(Frame *frame) {
    double x_size = frame->x_high - frame->x_low, y_size = frame->y_high - frame->y_low;
    if (!(x_size > 0)) {
        double half = fmax(0.5, 1e-6 * fabs(frame->x_low));
        frame->x_low -= half;
        frame->x_high += half;
    }
    double air = y_size > 0 ? 0.05 * y_size : fmax(0.5, 0.05 * fabs(frame->y_low));
    bool starts_at_zero = frame->y_low >= 0 && frame->y_low < 0.25 * frame->y_high;
    frame->y_low = starts_at_zero ? 0 : frame->y_low - air;
    frame->y_high += air;
}

static void draw_axes(FILE *out, const Plot *plot, const Frame *frame) {
    double ticks[MOST_TICKS];
    fputs("<g class=\"axis\" fill=\"currentColor\" font-size=\"12\">\n", out);
    int count = plot_ticks(frame->y_low, frame->y_high, Y_TICKS, ticks, MOST_TICKS);
    for (int i = 0; i < count; i++) {
        double y = y_pixel(frame, ticks[i]);
        fprintf(
            out,
            "<path d=\"M%.1f %.1fH%.1f\" stroke=\"currentColor\" stroke-opacity=\".15\"/>"
            "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"end\" fill-opacity=\".75\">%.6g</text>\n",
            frame->left, y, frame->right, frame->left - 8, y + 4, ticks[i]);
    }
    count = plot_ticks(frame->x_low, frame->x_high, X_TICKS, ticks, MOST_TICKS);
    for (int i = 0; i < count; i++)
        fprintf(out,
                "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\" "
                "fill-opacity=\".75\">%.6g</text>\n",
                x_pixel(frame, ticks[i]), frame->bottom + 18, ticks[i]);
    fprintf(out, "<path d=\"M%.1f %.1fH%.1f\" stroke=\"currentColor\" stroke-opacity=\".6\"/>\n",
            frame->left, frame->bottom, frame->right);
    char *x_label = html_escape(plot->x_label), *y_label = html_escape(plot->y_label);
    fprintf(out, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">%s</text>\n",
            (frame->left + frame->right) / 2, frame->bottom + 38, x_label);
    double middle = (frame->top + frame->bottom) / 2;
    fprintf(out,
            "<text transform=\"rotate(-90 12 %.1f)\" x=\"12\" y=\"%.1f\" "
            "text-anchor=\"middle\">%s</text>\n</g>\n",
            middle, middle, y_label);
    free(x_label);
    free(y_label);
}

static void draw_point(FILE *out, const Frame *frame, double x, double y, bool is_first) {
    fprintf(out, "%s%.1f %.1f", is_first ? "M" : "L", x_pixel(frame, x), y_pixel(frame, y));
}

/// The lowest and the highest point of every bucket, in their order, so that no peak is lost.
static void draw_line(FILE *out, const PlotSeries *series, const Frame *frame) {
    int buckets = series->count < MOST_BUCKETS ? series->count : MOST_BUCKETS;
    bool is_first = true;
    for (int b = 0; b < buckets; b++) {
        int begin = (int)((long long)series->count * b / buckets);
        int end = (int)((long long)series->count * (b + 1) / buckets), low = -1, high = -1;
        for (int i = begin; i < end; i++) {
            if (!is_point(series, i)) continue;
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
        if (!is_point(series, i)) continue;
        sum = series->smoothing * sum + (1 - series->smoothing) * series->y[i];
        weight = series->smoothing * weight + (1 - series->smoothing);
        if (i % stride && i != series->count - 1) continue;
        draw_point(out, frame, series->x[i], sum / weight, is_first);
        is_first = false;
    }
}

static void draw_dots(FILE *out, const PlotSeries *series, const Frame *frame) {
    for (int i = 0; i < series->count; i++)
        if (is_point(series, i))
            fprintf(out, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"2\"/>\n",
                    x_pixel(frame, series->x[i]), y_pixel(frame, series->y[i]));
}

static void draw_series(FILE *out, const Plot *plot, int s, const Frame *frame) {
    const PlotSeries *series = &plot->series[s];
    int number = plot->numbers ? plot->numbers[s] : s;
    Color color = palette_color(number);
    bool is_smoothed = series->smoothing > 0;
    const char *dashes = plot->numbers ? DASHES[number % NUM_DASHES] : "";
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
    if (series->count <= MOST_DOTS) draw_dots(out, series, frame);
    fputs("</g>\n", out);
    free(label);
    free(pattern);
}

/// Where a line ends, and its number.
typedef struct LineEnd {
    double x, y;
    int number;
} LineEnd;

/// The end of the line that is drawn in full strength. False: it has no point.
static bool line_end(const PlotSeries *series, const Frame *frame, LineEnd *end) {
    double sum = 0, weight = 0;
    for (int i = 0; i < series->count; i++) {
        if (!is_point(series, i)) continue;
        sum = series->smoothing * sum + (1 - series->smoothing) * series->y[i];
        weight = series->smoothing * weight + (1 - series->smoothing);
        end->x = x_pixel(frame, series->x[i]);
    }
    if (weight > 0) end->y = y_pixel(frame, sum / weight);
    return weight > 0;
}

static int compare_ends(const void *one, const void *other) {
    const LineEnd *a = one, *b = other;
    return a->y < b->y ? -1 : a->y > b->y ? 1 : a->number - b->number;
}

/// Numbers stand in a column, in the order of their lines' ends, and move down where they would lie
/// over each other; if the last ones then leave the chart, all move up again. targets: [count],
/// where each stands.
static void spread_ends(LineEnd *ends, int count, const Frame *frame, double *targets) {
    qsort(ends, (size_t)count, sizeof *ends, compare_ends);
    for (int i = 0; i < count; i++)
        targets[i] = i ? fmax(ends[i].y, targets[i - 1] + NUMBER_HEIGHT) : ends[i].y;
    for (int i = count - 1; i >= 0; i--)
        targets[i] =
            fmin(targets[i], i + 1 < count ? targets[i + 1] - NUMBER_HEIGHT : frame->bottom);
}

/// Each with a thin line from where its own ends, if that is not beside it.
static void draw_numbers(FILE *out, const Plot *plot, const Frame *frame) {
    LineEnd *ends = checked_malloc((size_t)plot->num_series * sizeof *ends);
    double *targets = checked_malloc((size_t)plot->num_series * sizeof *targets);
    int count = 0;
    for (int s = 0; s < plot->num_series; s++) {
        if (!line_end(&plot->series[s], frame, &ends[count])) continue;
        ends[count++].number = plot->numbers[s];
    }
    spread_ends(ends, count, frame, targets);
    fputs("<g font-size=\"12\" font-weight=\"600\" fill=\"currentColor\">\n", out);
    for (int i = 0; i < count; i++) {
        Color color = palette_color(ends[i].number);
        fprintf(out,
                "<path fill=\"none\" stroke=\"#%02x%02x%02x\" stroke-opacity=\".5\" "
                "stroke-dasharray=\"1 3\" d=\"M%.1f "
                "%.1fL%.1f %.1f\"/>",
                color.red, color.green, color.blue, ends[i].x, ends[i].y, frame->right + 8,
                targets[i]);
        fprintf(out,
                "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3.5\" fill=\"#%02x%02x%02x\"/><text "
                "x=\"%.1f\" y=\"%.1f\">%d</text>\n",
                frame->right + 8, targets[i], color.red, color.green, color.blue, frame->right + 15,
                targets[i] + 4, ends[i].number + 1);
    }
    fputs("</g>\n", out);
    free(ends);
    free(targets);
}

static void draw_mark(FILE *out, PlotMarkKind kind, double x, double y) {
    if (kind == MARK_RING)
        fprintf(out, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"5\"/>", x, y);
    else
        fprintf(out, "<path d=\"M%.1f %.1fl7 7m0-7l-7 7\"/>", x - 3.5, y - 3.5);
}

/// Several marks may share a point: a ring around a cross.
static void draw_marks(FILE *out, const Plot *plot, const Frame *frame) {
    fputs("<g fill=\"none\" stroke=\"currentColor\" stroke-width=\"1.5\" pointer-events=\"all\">\n",
          out);
    for (int i = 0; i < plot->num_marks; i++) {
        const PlotMark *mark = &plot->marks[i];
        bool is_in_range = mark->x >= frame->x_low && mark->x <= frame->x_high;
        if (!is_in_range) continue;
        char *text = html_escape(mark->text);
        fprintf(out, "<g><title>%s</title>", text);
        draw_mark(out, mark->kind, x_pixel(frame, mark->x),
                  isfinite(mark->y) ? y_pixel(frame, mark->y) : frame->bottom);
        fputs("</g>\n", out);
        free(text);
    }
    fputs("</g>\n", out);
}

static int letters_of(const char *text) {
    int letters = 0;
    for (const char *c = text; *c; c++) letters += (*c & 0xc0) != 0x80;
    return letters;
}

static bool has_marks(const Plot *plot, PlotMarkKind kind) {
    for (int i = 0; i < plot->num_marks; i++)
        if (plot->marks[i].kind == kind) return true;
    return false;
}

/// What the marks that are there stand for, from x on.
static void draw_mark_legend(FILE *out, const Plot *plot, double x) {
    for (int kind = MARK_RING; kind <= MARK_CROSS; kind++) {
        if (!has_marks(plot, (PlotMarkKind)kind)) continue;
        char *label = html_escape(plot->mark_labels[kind]);
        fputs("<g fill=\"none\" stroke=\"currentColor\" stroke-width=\"1.5\">", out);
        draw_mark(out, (PlotMarkKind)kind, x + 7, 11);
        fprintf(out, "</g><text x=\"%.1f\" y=\"16\">%s</text>\n", x + 20, label);
        x += 40 + LETTER_WIDTH * letters_of(plot->mark_labels[kind]);
        free(label);
    }
}

static void draw_legend(FILE *out, const Plot *plot) {
    double x = LEGEND_LEFT;
    fputs("<g font-size=\"13\" fill=\"currentColor\">\n", out);
    for (int s = 0; s < plot->num_series; s++) {
        Color color = palette_color(s);
        char *label = html_escape(plot->series[s].label);
        fprintf(out,
                "<rect x=\"%.1f\" y=\"9\" width=\"14\" height=\"4\" rx=\"2\" "
                "fill=\"#%02x%02x%02x\"/><text x=\"%.1f\" y=\"16\">%s</text>\n",
                x, color.red, color.green, color.blue, x + 20, label);
        x += 40 + LETTER_WIDTH * letters_of(plot->series[s].label);
        free(label);
    }
    draw_mark_legend(out, plot, x);
    fputs("</g>\n", out);
}

char *plot_legend_html(const char *const *labels, int count) {
    char *html = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&html, &length);
    CHECK(out, "open_memstream");
    for (int i = 0; i < count; i++) {
        Color color = palette_color(i);
        char *label = html_escape(labels[i]);
        fprintf(
            out,
            "<span><svg viewBox=\"0 0 34 12\" width=\"34\" height=\"12\" "
            "aria-hidden=\"true\"><path "
            "fill=\"none\" stroke=\"#%02x%02x%02x\" stroke-width=\"2.5\" stroke-dasharray=\"%s\" "
            "d=\"M0 6H34\"/></svg> <b>%d</b> %s</span>\n",
            color.red, color.green, color.blue,
            *DASHES[i % NUM_DASHES] ? DASHES[i % NUM_DASHES] : "none", i + 1, label);
        free(label);
    }
    CHECK(!fclose(out), "a legend in memory cannot be written");
    return html;
}

char *plot_svg(const Plot *plot) {
    int width = plot->width ? plot->width : 480, height = plot->height ? plot->height : 280;
    int right = plot->numbers ? RIGHT_OF_NUMBERS : RIGHT;
    CHECK(width > LEFT + right && height > TOP + BOTTOM, "plot_svg: %d x %d pixels", width, height);
    char *svg = NULL, *title = html_escape(plot->title);
    size_t length = 0;
    FILE *out = open_memstream(&svg, &length);
    CHECK(out, "open_memstream");
    fprintf(out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" role=\"img\" "
            "font-family=\"system-ui, sans-serif\">\n<title>%s</title>\n",
            width, height, title);
    Frame frame = {.left = LEFT,
                   .right = width - right,
                   .top = plot->numbers ? TOP_OF_NUMBERS : TOP,
                   .bottom = height - BOTTOM};
    if (data_range(plot, &frame)) {
        widen(&frame);
        draw_axes(out, plot, &frame);
        for (int s = 0; s < plot->num_series; s++) draw_series(out, plot, s, &frame);
        draw_marks(out, plot, &frame);
        if (plot->numbers)
            draw_numbers(out, plot, &frame);
        else
            draw_legend(out, plot);
    } else {
        fprintf(out,
                "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\" fill=\"currentColor\">nothing was "
                "recorded</text>\n",
                width / 2, height / 2);
    }
    fputs("</svg>\n", out);
    CHECK(!fclose(out), "a chart in memory cannot be written");
    free(title);
    return svg;
}
