// Values are shades of one colour, laid over the page's ground: they suit a light and a dark one,
// and text in the page's colour can be read on all of them.
#include "autograd/error.h"
#include "eval/pages/html_report.h"
#include "eval/pages/palette.h"
#include "eval/pages/plot_parts.h"

#include <math.h>
#include <stdlib.h>

enum {
    WIDTH = 480,
    LEFT = 60,
    RIGHT = 16,
    TOP = 34, // the scale
    BOTTOM = 46,
    MOST_HEIGHT = 52,         // of a place, in pixels
    LEAST_FOR_TEXT = 40,      // width and
    LEAST_HIGH_FOR_TEXT = 16, // height of a place that shows its value
    LEAST_LABEL_GAP = 6,
    SCALE_WIDTH = 110,
    SCALE_STEPS = 11
};

/// Of the lowest and of the highest value.
static const double FAINTEST = 0.06, STRONGEST = 0.78;

typedef struct Range {
    double low, high;
    /// of the highest value; -1: there is none
    int best;
} Range;

static Range range_of(const PlotHeatMap *plot) {
    Range range = {INFINITY, -INFINITY, -1};
    for (int i = 0; i < plot->rows * plot->columns; i++) {
        double value = plot->values[i];
        if (!isfinite(value)) continue;
        range.low = fmin(range.low, value);
        if (value > range.high) range.best = i;
        range.high = fmax(range.high, value);
    }
    return range;
}

static double opacity(const Range *range, double value) {
    double share = range->high > range->low ? (value - range->low) / (range->high - range->low) : 1;
    return FAINTEST + (STRONGEST - FAINTEST) * share;
}

static void draw_scale(FILE *out, const Range *range) {
    Color color = palette_color(0);
    double x = WIDTH - RIGHT - SCALE_WIDTH - 56;
    fprintf(out,
            "<g font-size=\"12\" fill=\"currentColor\"><text x=\"%.1f\" y=\"16\" "
            "text-anchor=\"end\">%.4g</text>",
            x - 6, range->low);
    for (int i = 0; i < SCALE_STEPS; i++)
        fprintf(out,
                "<rect x=\"%.1f\" y=\"6\" width=\"%.1f\" height=\"12\" fill=\"#%02x%02x%02x\" "
                "fill-opacity=\"%.2f\"/>",
                x + i * (double)SCALE_WIDTH / SCALE_STEPS, (double)SCALE_WIDTH / SCALE_STEPS,
                color.red, color.green, color.blue,
                FAINTEST + (STRONGEST - FAINTEST) * i / (SCALE_STEPS - 1));
    fprintf(out, "<text x=\"%.1f\" y=\"16\">%.4g</text></g>\n", x + SCALE_WIDTH + 6, range->high);
}

/// Of names so many letters long, every how manieth fits.
static int names_apart(const char *const *names, int count, double pitch, bool is_high) {
    int most = 1;
    for (int i = 0; i < count && !is_high; i++) {
        int letters = plot_letters(names[i]);
        if (letters > most) most = letters;
    }
    double needed = is_high ? 13 : LETTER_WIDTH * most + LEAST_LABEL_GAP;
    return (int)ceil(needed / pitch);
}

static void draw_names(FILE *out, const PlotHeatMap *plot, double width, double height) {
    int across = names_apart(plot->x_names, plot->columns, width, false),
        down = names_apart(plot->y_names, plot->rows, height, true);
    double bottom = TOP + height * plot->rows;
    fputs("<g font-size=\"12\" fill=\"currentColor\">\n", out);
    for (int c = 0; c < plot->columns; c += across) {
        char *name = html_escape(plot->x_names[c]);
        fprintf(out,
                "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\" "
                "fill-opacity=\".75\">%s</text>\n",
                LEFT + width * (c + 0.5), bottom + 16, name);
        free(name);
    }
    for (int r = 0; r < plot->rows; r += down) {
        char *name = html_escape(plot->y_names[r]);
        fprintf(out,
                "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\" fill-opacity=\".75\">%s</text>\n",
                LEFT - 8, TOP + height * (r + 0.5) + 4, name);
        free(name);
    }
    const Frame frame = {
        .left = LEFT, .right = LEFT + width * plot->columns, .top = TOP, .bottom = bottom};
    plot_draw_labels(out, plot->x_label, plot->y_label, &frame, 36);
    fputs("</g>\n", out);
}

static void draw_place(FILE *out, const PlotHeatMap *plot, int place, const Range *range,
                       double width, double height) {
    double value = plot->values[place], x = LEFT + width * (place % plot->columns),
           y = TOP + height * (place / plot->columns), gap = width > 12 ? 1 : 0.25;
    Color color = palette_color(0);
    char *note = html_escape(plot->notes && plot->notes[place] ? plot->notes[place] : "");
    fprintf(out,
            "<g><title>%s</title><rect x=\"%.2f\" y=\"%.2f\" width=\"%.2f\" height=\"%.2f\" "
            "fill=\"#%02x%02x%02x\" fill-opacity=\"%.2f\"",
            note, x + gap, y + gap, width - 2 * gap, height - 2 * gap, color.red, color.green,
            color.blue, opacity(range, value));
    if (place == range->best) fputs(" stroke=\"currentColor\" stroke-width=\"1.5\"", out);
    fputs("/>", out);
    if (width >= LEAST_FOR_TEXT && height >= LEAST_HIGH_FOR_TEXT)
        fprintf(out, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">%.3f</text>",
                x + width / 2, y + height / 2 + 4, value);
    fputs("</g>\n", out);
    free(note);
}

char *plot_heat_map_svg(const PlotHeatMap *plot) {
    CHECK(plot->columns > 0 && plot->rows > 0, "a heat map of %d x %d", plot->rows, plot->columns);
    double width = (double)(WIDTH - LEFT - RIGHT) / plot->columns,
           height = fmin(width, MOST_HEIGHT);
    if (height < 4) height = 4;
    int total = (int)ceil(TOP + BOTTOM + height * plot->rows);
    Range range = range_of(plot);
    Svg svg;
    FILE *out = plot_begin(&svg, plot->title, WIDTH, total);
    if (range.best < 0) {
        plot_say_empty(out, WIDTH, total);
        return plot_end(&svg);
    }
    draw_scale(out, &range);
    draw_names(out, plot, width, height);
    fputs("<g font-size=\"12\" fill=\"currentColor\">\n", out);
    for (int i = 0; i < plot->rows * plot->columns; i++)
        if (isfinite(plot->values[i])) draw_place(out, plot, i, &range, width, height);
    fputs("</g>\n", out);
    return plot_end(&svg);
}
