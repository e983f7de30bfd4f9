// What tells the lines of a chart apart: numbers at their ends, marks, legends.
#include "autograd/error.h"
#include "eval/pages/html_report.h"
#include "eval/pages/palette.h"
#include "eval/pages/plot_parts.h"

#include <math.h>
#include <stdlib.h>

enum {
    NUMBER_HEIGHT = 12, // of a number at a line's end
    LEGEND_LEFT = 6
};

/// Dashes beside the colours, for readers that cannot tell those apart; with ten colours, 20 pairs
/// differ.
static const char *const DASHES[] = {"", "9 4", "2 4", "10 4 2 4"};
enum { NUM_DASHES = sizeof DASHES / sizeof *DASHES };

const char *plot_dashes(int number) { return DASHES[number % NUM_DASHES]; }

/// Where a line ends, and its number.
typedef struct LineEnd {
    double x, y;
    int number;
} LineEnd;

/// The end of the line that is drawn in full strength. False: it has no point.
static bool line_end(const PlotSeries *series, const Frame *frame, LineEnd *end) {
    double sum = 0, weight = 0;
    for (int i = 0; i < series->count; i++) {
        if (!plot_is_point(series, i)) continue;
        sum = series->smoothing * sum + (1 - series->smoothing) * series->y[i];
        weight = series->smoothing * weight + (1 - series->smoothing);
        end->x = plot_x_pixel(frame, series->x[i]);
    }
    if (weight > 0) end->y = plot_y_pixel(frame, sum / weight);
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
void plot_draw_numbers(FILE *out, const Plot *plot, const Frame *frame) {
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
void plot_draw_marks(FILE *out, const Plot *plot, const Frame *frame) {
    fputs("<g fill=\"none\" stroke=\"currentColor\" stroke-width=\"1.5\" pointer-events=\"all\">\n",
          out);
    for (int i = 0; i < plot->num_marks; i++) {
        const PlotMark *mark = &plot->marks[i];
        double x = plot_x_on_axis(frame, mark->x);
        bool is_in_range = x >= frame->x_low && x <= frame->x_high;
        if (!is_in_range) continue;
        char *text = html_escape(mark->text);
        fprintf(out, "<g><title>%s</title>", text);
        draw_mark(out, mark->kind, plot_x_pixel(frame, mark->x),
                  isfinite(mark->y) ? plot_y_pixel(frame, mark->y) : frame->bottom);
        fputs("</g>\n", out);
        free(text);
    }
    fputs("</g>\n", out);
}

int plot_letters(const char *text) {
    int letters = 0;
    for (const char *c = text; *c; c++) letters += (*c & 0xc0) != 0x80;
    return letters;
}

char *plot_shorten(const char *text, int most) {
    if (plot_letters(text) <= most) return checked_strdup(text);
    const char *end = text;
    for (int letters = 0; *end; end++)
        if ((*end & 0xc0) != 0x80 && letters++ == most - 1) break;
    return format_string("%.*s\u2026", (int)(end - text), text);
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
        x += 40 + LETTER_WIDTH * plot_letters(plot->mark_labels[kind]);
        free(label);
    }
}

void plot_draw_legend(FILE *out, const Plot *plot) {
    double x = LEGEND_LEFT;
    fputs("<g font-size=\"13\" fill=\"currentColor\">\n", out);
    for (int s = 0; s < plot->num_series; s++) {
        if (!*plot->series[s].label) continue;
        Color color = palette_color(s);
        char *label = html_escape(plot->series[s].label);
        fprintf(out,
                "<rect x=\"%.1f\" y=\"9\" width=\"14\" height=\"4\" rx=\"2\" "
                "fill=\"#%02x%02x%02x\"/><text x=\"%.1f\" y=\"16\">%s</text>\n",
                x, color.red, color.green, color.blue, x + 20, label);
        x += 40 + LETTER_WIDTH * plot_letters(plot->series[s].label);
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
            color.red, color.green, color.blue, *plot_dashes(i) ? plot_dashes(i) : "none", i + 1,
            label);
        free(label);
    }
    CHECK(!fclose(out), "a legend in memory cannot be written");
    return html;
}
