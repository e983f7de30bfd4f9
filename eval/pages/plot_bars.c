#include "eval/pages/html_report.h"
#include "eval/pages/palette.h"
#include "eval/pages/plot_parts.h"

#include <math.h>
#include <stdlib.h>

enum {
    WIDTH = 480,
    HEIGHT = 280,
    LEFT = 76,
    RIGHT = 16,
    TOP = 30,
    BOTTOM = 46,
    LEAST_LABEL_GAP = 6, // between names at the axis
    Y_TICKS = 5,
    MOST_TICKS = 24
};

static bool range_of(const PlotBars *plot, Frame *frame) {
    bool is_there = false;
    frame->y_low = frame->y_high = 0;
    for (int i = 0; i < plot->count; i++) {
        const PlotInterval *bar = &plot->bars[i];
        if (!isfinite(bar->value)) continue;
        is_there = true;
        frame->y_low = fmin(frame->y_low, fmin(bar->value, bar->low));
        frame->y_high = fmax(frame->y_high, fmax(bar->value, bar->high));
    }
    frame->y_high = fmax(frame->y_high, plot->reference);
    frame->y_low = fmin(frame->y_low, plot->reference);
    double size = frame->y_high - frame->y_low;
    if (!(size > 0)) frame->y_high = size = 1;
    frame->y_high += frame->y_high > 0 ? 0.05 * size : 0;
    frame->y_low -= frame->y_low < 0 ? 0.05 * size : 0;
    return is_there;
}

static void draw_axes(FILE *out, const PlotBars *plot, const Frame *frame) {
    double ticks[MOST_TICKS];
    int count = plot_ticks(frame->y_low, frame->y_high, Y_TICKS, ticks, MOST_TICKS);
    fputs("<g fill=\"currentColor\" font-size=\"12\">\n", out);
    for (int i = 0; i < count; i++) {
        double y = plot_y_pixel(frame, ticks[i]);
        fprintf(out,
                "<path d=\"M%.1f %.1fH%.1f\" stroke=\"currentColor\" stroke-opacity=\"%s\"/><text "
                "x=\"%.1f\" y=\"%.1f\" text-anchor=\"end\" fill-opacity=\".75\">%.6g</text>\n",
                frame->left, y, frame->right, ticks[i] == 0 ? ".6" : ".15", frame->left - 8, y + 4,
                ticks[i]);
    }
    plot_draw_labels(out, plot->x_label, plot->y_label, frame, 38);
    fputs("</g>\n", out);
}

/// Names that would lie over each other are left out, from the second on.
static int names_apart(const PlotBars *plot, double pitch) {
    int most = 1;
    for (int i = 0; i < plot->count; i++) {
        int letters = plot_letters(plot->bars[i].label);
        if (letters > most) most = letters;
    }
    return (int)ceil((LETTER_WIDTH * most + LEAST_LABEL_GAP) / pitch);
}

static void draw_bar(FILE *out, const PlotInterval *bar, double middle, double width,
                     const Frame *frame) {
    char *label = html_escape(bar->label);
    Color color = palette_color(bar->color);
    double zero = plot_y_pixel(frame, 0), y = plot_y_pixel(frame, bar->value);
    bool has_interval = isfinite(bar->low) && isfinite(bar->high);
    fprintf(out, "<g><title>%s: %.4g", label, bar->value);
    if (has_interval) fprintf(out, " (%.4g to %.4g)", bar->low, bar->high);
    fprintf(out,
            "</title><rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" "
            "fill=\"#%02x%02x%02x\" fill-opacity=\".75\"/>",
            middle - width / 2, fmin(y, zero), width, fabs(zero - y), color.red, color.green,
            color.blue);
    if (has_interval)
        fprintf(out, "<path stroke=\"currentColor\" stroke-width=\"1.5\" d=\"M%.1f %.1fV%.1f\"/>",
                middle, plot_y_pixel(frame, bar->low), plot_y_pixel(frame, bar->high));
    fputs("</g>\n", out);
    free(label);
}

static void draw_reference(FILE *out, const PlotBars *plot, const Frame *frame) {
    char *label = html_escape(plot->reference_label);
    double y = plot_y_pixel(frame, plot->reference);
    fprintf(out,
            "<g font-size=\"12\" fill=\"currentColor\"><path d=\"M%.1f %.1fH%.1f\" "
            "stroke=\"currentColor\" stroke-width=\"1.5\" stroke-dasharray=\"6 4\"/><path d=\"M6 "
            "12H28\" stroke=\"currentColor\" stroke-width=\"1.5\" stroke-dasharray=\"6 4\"/><text "
            "x=\"34\" y=\"16\" font-size=\"13\">%s</text></g>\n",
            frame->left, y, frame->right, label);
    free(label);
}

char *plot_bars_svg(const PlotBars *plot) {
    Svg svg;
    FILE *out = plot_begin(&svg, plot->title, WIDTH, HEIGHT);
    Frame frame = {.left = LEFT, .right = WIDTH - RIGHT, .top = TOP, .bottom = HEIGHT - BOTTOM};
    if (!range_of(plot, &frame)) {
        plot_say_empty(out, WIDTH, HEIGHT);
        return plot_end(&svg);
    }
    double pitch = (frame.right - frame.left) / plot->count;
    int apart = names_apart(plot, pitch);
    draw_axes(out, plot, &frame);
    fputs("<g font-size=\"12\" fill=\"currentColor\">\n", out);
    for (int i = 0; i < plot->count; i++) {
        double middle = frame.left + pitch * (i + 0.5);
        if (isfinite(plot->bars[i].value))
            draw_bar(out, &plot->bars[i], middle, fmin(0.7 * pitch, 48), &frame);
        if (i % apart) continue;
        char *label = html_escape(plot->bars[i].label);
        fprintf(out,
                "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\" "
                "fill-opacity=\".75\">%s</text>\n",
                middle, frame.bottom + 18, label);
        free(label);
    }
    fputs("</g>\n", out);
    if (isfinite(plot->reference)) draw_reference(out, plot, &frame);
    return plot_end(&svg);
}
