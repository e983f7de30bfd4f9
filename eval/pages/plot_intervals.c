#include "autograd/error.h"
#include "eval/pages/html_report.h"
#include "eval/pages/palette.h"
#include "eval/pages/plot_parts.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    WIDTH = 480,
    TOP = 6,
    BOTTOM = 44,
    RIGHT = 24,
    ROW_HEIGHT = 22,
    SMALL_LETTER = 7,        // pixels of a letter of 12 pixels' height, about
    MOST_LABEL_LETTERS = 28, // a longer label keeps its beginning
    MOST_AXIS_LETTERS = 38,
    LABEL_GAP = 12,
    X_TICKS = 4,
    MOST_TICKS = 16
};

/// All values and intervals, and the reference.
static bool range_of(const PlotIntervals *plot, Frame *frame) {
    frame->x_low = INFINITY;
    frame->x_high = -INFINITY;
    for (int i = 0; i < plot->count; i++) {
        const PlotInterval *row = &plot->rows[i];
        if (!isfinite(row->value)) continue;
        frame->x_low = fmin(frame->x_low, fmin(row->value, row->low));
        frame->x_high = fmax(frame->x_high, fmax(row->value, row->high));
    }
    if (frame->x_low > frame->x_high) return false;
    frame->x_low = fmin(frame->x_low, plot->reference);
    frame->x_high = fmax(frame->x_high, plot->reference);
    double size = frame->x_high - frame->x_low,
           air = size > 0 ? 0.05 * size : fmax(0.01, 0.05 * fabs(frame->x_low));
    frame->x_low -= air;
    frame->x_high += air;
    return true;
}

static int label_letters(const PlotIntervals *plot) {
    int most = 0;
    for (int i = 0; i < plot->count; i++) {
        int letters = plot_letters(plot->rows[i].label);
        if (letters > most) most = letters;
    }
    return most < MOST_LABEL_LETTERS ? most : MOST_LABEL_LETTERS;
}

static void draw_axis(FILE *out, const PlotIntervals *plot, const Frame *frame) {
    double ticks[MOST_TICKS];
    int count = plot_ticks(frame->x_low, frame->x_high, X_TICKS, ticks, MOST_TICKS);
    char *shown = plot_shorten(plot->x_label, MOST_AXIS_LETTERS), *label = html_escape(shown);
    fputs("<g fill=\"currentColor\" stroke=\"currentColor\" font-size=\"12\">\n", out);
    for (int i = 0; i < count; i++) {
        double x = plot_x_pixel(frame, ticks[i]);
        fprintf(out,
                "<path d=\"M%.1f %.1fV%.1f\" stroke-opacity=\".15\"/><text x=\"%.1f\" y=\"%.1f\" "
                "text-anchor=\"middle\" fill-opacity=\".75\" stroke=\"none\">%.6g</text>\n",
                x, frame->top, frame->bottom, x, frame->bottom + 16, ticks[i]);
    }
    if (isfinite(plot->reference))
        fprintf(out, "<path d=\"M%.1f %.1fV%.1f\" stroke-opacity=\".6\"/>\n",
                plot_x_pixel(frame, plot->reference), frame->top, frame->bottom);
    fprintf(out,
            "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\" stroke=\"none\">%s</text>\n</g>\n",
            (frame->left + frame->right) / 2, frame->bottom + 36, label);
    free(shown);
    free(label);
}

static void draw_row(FILE *out, const PlotInterval *row, double y, const Frame *frame) {
    char *whole = html_escape(row->label), *shown = plot_shorten(row->label, MOST_LABEL_LETTERS),
         *label = html_escape(shown);
    Color color = palette_color(row->color);
    bool has_interval = isfinite(row->value) && isfinite(row->low) && isfinite(row->high);
    fprintf(out, "<g font-size=\"12\"><title>%s", whole);
    if (isfinite(row->value)) fprintf(out, ": %.4g", row->value);
    if (has_interval) fprintf(out, " (%.4g to %.4g)", row->low, row->high);
    fprintf(out,
            "</title><text x=\"%.1f\" y=\"%.1f\" text-anchor=\"end\" "
            "fill=\"currentColor\">%s</text>",
            frame->left - LABEL_GAP, y + 4, label);
    if (has_interval)
        fprintf(out, "<path stroke=\"#%02x%02x%02x\" stroke-width=\"2\" d=\"M%.1f %.1fH%.1f\"/>",
                color.red, color.green, color.blue, plot_x_pixel(frame, row->low), y,
                plot_x_pixel(frame, row->high));
    if (isfinite(row->value))
        fprintf(out,
                "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"4\" stroke=\"#%02x%02x%02x\" "
                "stroke-width=\"2\" class=\"%s\" fill=\"#%02x%02x%02x\"/>",
                plot_x_pixel(frame, row->value), y, color.red, color.green, color.blue,
                row->is_hollow ? "hollow" : "dot", color.red, color.green, color.blue);
    fputs("</g>\n", out);
    free(whole);
    free(shown);
    free(label);
}

char *plot_intervals_svg(const PlotIntervals *plot) {
    int width = plot->width ? plot->width : WIDTH,
        height = TOP + BOTTOM + ROW_HEIGHT * (plot->count ? plot->count : 1);
    Svg svg;
    FILE *out = plot_begin(&svg, plot->title, width, height);
    Frame frame = {.left = LABEL_GAP + SMALL_LETTER * label_letters(plot) + LABEL_GAP,
                   .right = width - RIGHT,
                   .top = TOP,
                   .bottom = height - BOTTOM};
    if (range_of(plot, &frame)) {
        draw_axis(out, plot, &frame);
        for (int i = 0; i < plot->count; i++)
            draw_row(out, &plot->rows[i], TOP + ROW_HEIGHT * (i + 0.5), &frame);
    } else {
        plot_say_empty(out, width, height);
    }
    return plot_end(&svg);
}
