#include "eval/pages/plot.h"
#include "train/sweep_table/sweep_chart_groups.h"
#include "train/sweep_table/sweep_page.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    MOST_CURVES = 8, // of one chart; more are one curve, their mean
    MOST_MAPS = 4,   // of one figure, likewise
    FAR_APART = 50   // the greatest by the least on a logarithmic axis
};

/// Places in the order of their values.
typedef struct Places {
    double *at;
    char **names;
    int count;
} Places;

static void add_place(Places *places, double at) {
    int i = places->count;
    for (int k = 0; k < places->count; k++)
        if (places->at[k] == at) return;
    places->at = checked_realloc(places->at, (size_t)(places->count + 1) * sizeof *places->at);
    for (; i > 0 && places->at[i - 1] > at; i--) places->at[i] = places->at[i - 1];
    places->at[i] = at;
    places->count++;
}

static int place_of(const Places *places, double at) {
    for (int i = 0; i < places->count; i++)
        if (places->at[i] == at) return i;
    return -1;
}

static Places places_of(const ChartGroup *groups, int num_groups, int key) {
    Places places = {0};
    for (int g = 0; g < num_groups; g++)
        for (int i = 0; i < groups[g].count; i++) add_place(&places, groups[g].points[i].at[key]);
    places.names = checked_calloc((size_t)places.count + 1, sizeof *places.names);
    for (int i = 0; i < places.count; i++) places.names[i] = format_string("%g", places.at[i]);
    return places;
}

static void free_places(Places *places) {
    for (int i = 0; i < places->count; i++) free(places->names[i]);
    free(places->names);
    free(places->at);
}

/// Estimates over places, [rows][columns] or of one key [columns]: of a single group its own, of
/// several their mean without intervals. The caller frees them.
static FigureEstimate *estimates_over(const ChartGroup *groups, int num_groups, int figure,
                                      const Places *columns, const Places *rows) {
    int size = columns->count * (rows ? rows->count : 1);
    FigureEstimate *estimates = checked_calloc((size_t)size, sizeof *estimates);
    int *counts = checked_calloc((size_t)size, sizeof *counts);
    for (int g = 0; g < num_groups; g++)
        for (int i = 0; i < groups[g].count; i++) {
            const ChartPoint *point = &groups[g].points[i];
            const FigureEstimate *of = &point->line->figures[figure];
            // rows are of the first key, columns of the last
            int place = rows ? place_of(rows, point->at[0]) * columns->count +
                                   place_of(columns, point->at[1])
                             : place_of(columns, point->at[0]);
            if (!isfinite(of->value)) continue;
            double sum = estimates[place].value + of->value;
            estimates[place] = *of;
            estimates[place].value = sum;
            counts[place]++;
        }
    for (int i = 0; i < size; i++) {
        estimates[i].value = counts[i] ? estimates[i].value / counts[i] : NAN;
        if (num_groups > 1 || !counts[i]) estimates[i].low = estimates[i].high = NAN;
    }
    free(counts);
    return estimates;
}

/// "point_accuracy", with what tells this group from others. The caller frees it.
static char *caption_of(const char *figure, const ChartGroup *groups, int num_groups) {
    return num_groups > 1     ? format_string("%s, mean of %d settings", figure, num_groups)
           : *groups[0].label ? format_string("%s, %s", figure, groups[0].label)
                              : checked_strdup(figure);
}

/// Nothing is to be seen where all lines have the same.
static bool varies(const TableTask *task, int figure) {
    for (int l = 1; l < task->num_lines; l++)
        if (task->lines[l].figures[figure].value != task->lines[0].figures[figure].value)
            return true;
    return false;
}

// ---- one key: curves

/// Learning rates and the like: far apart, and all above zero.
static bool is_logarithmic(const Places *places, int count) {
    double low = INFINITY, high = -INFINITY;
    for (int s = 0; s < count; s++) {
        low = fmin(low, places[s].at[0]);
        high = fmax(high, places[s].at[places[s].count - 1]);
    }
    return low > 0 && high / low >= FAR_APART;
}

/// A curve for every group, or one for all.
static void add_curve_chart(HtmlReport *page, const TableTask *task, int figure,
                            const ChartGroups *groups, const char *key) {
    bool is_mean = groups->count > MOST_CURVES;
    int count = is_mean ? 1 : groups->count, numbers[MOST_CURVES];
    PlotSeries series[MOST_CURVES];
    FigureEstimate *estimates[MOST_CURVES];
    Places places[MOST_CURVES];
    double *values[MOST_CURVES];
    for (int s = 0; s < count; s++) {
        int size = is_mean ? groups->count : 1;
        places[s] = places_of(groups->items + s, size, 0);
        estimates[s] = estimates_over(groups->items + s, size, figure, &places[s], NULL);
        int n = places[s].count;
        values[s] = checked_calloc((size_t)(3 * n), sizeof *values[s]);
        for (int i = 0; i < n; i++) {
            values[s][i] = estimates[s][i].value;
            values[s][n + i] = estimates[s][i].low;
            values[s][2 * n + i] = estimates[s][i].high;
        }
        series[s] = (PlotSeries){.label = count > 1 ? groups->items[s].label : "",
                                 .x = places[s].at,
                                 .y = values[s],
                                 .count = n,
                                 .low = values[s] + n,
                                 .high = values[s] + 2 * n};
        numbers[s] = s;
    }
    char *caption = is_mean ? caption_of(task->figures[figure], groups->items, groups->count)
                            : checked_strdup(task->figures[figure]);
    Plot plot = {.title = caption,
                 .x_label = key,
                 .y_label = task->figures[figure],
                 .x_is_logarithmic = is_logarithmic(places, count),
                 .series = series,
                 .num_series = count,
                 .numbers = count > 1 ? numbers : NULL};
    char *svg = plot_svg(&plot);
    html_report_chart(page, svg, caption);
    free(svg);
    free(caption);
    for (int s = 0; s < count; s++) {
        free_places(&places[s]);
        free(estimates[s]);
        free(values[s]);
    }
}

static void add_curves(HtmlReport *page, const TableTask *task, const ChartGroups *groups,
                       const char *key) {
    if (groups->count > 1 && groups->count <= MOST_CURVES) {
        const char *labels[MOST_CURVES];
        for (int g = 0; g < groups->count; g++) labels[g] = groups->items[g].label;
        char *legend = plot_legend_html(labels, groups->count);
        html_report_legend(page, legend);
        free(legend);
    }
    for (int f = 0; f < task->num_figures; f++)
        if (varies(task, f)) add_curve_chart(page, task, f, groups, key);
}

// ---- layers and heads

static void add_bar_chart(HtmlReport *page, const TableContent *content, const TableTask *task,
                          int figure, const ChartGroup *groups, int num_groups, const char *key) {
    Places places = places_of(groups, num_groups, 0);
    FigureEstimate *estimates = estimates_over(groups, num_groups, figure, &places, NULL);
    PlotInterval *bars = checked_calloc((size_t)places.count, sizeof *bars);
    double reference = NAN;
    for (int i = 0; i < places.count; i++)
        bars[i] = (PlotInterval){.label = places.names[i],
                                 .value = estimates[i].value,
                                 .low = estimates[i].low,
                                 .high = estimates[i].high};
    for (int l = 0; l < task->num_lines && content->has_base; l++)
        if (task->lines[l].is_base) reference = task->lines[l].figures[figure].value;
    char *caption = caption_of(task->figures[figure], groups, num_groups);
    PlotBars plot = {.title = caption,
                     .x_label = key,
                     .y_label = task->figures[figure],
                     .bars = bars,
                     .count = places.count,
                     .reference = reference,
                     .reference_label = content->has_base ? content->table->base : ""};
    char *svg = plot_bars_svg(&plot);
    html_report_chart(page, svg, caption);
    free(svg);
    free(caption);
    free(bars);
    free(estimates);
    free_places(&places);
}

static char *note_of(const FigureEstimate *estimate, const char *layer, const char *head) {
    char *interval = isfinite(estimate->low) && isfinite(estimate->high)
                         ? format_string(" (%.3f to %.3f)", estimate->low, estimate->high)
                         : checked_strdup(""),
         *note = format_string("layer %s, head %s: %.3f%s", layer, head, estimate->value, interval);
    free(interval);
    return note;
}

static void add_heat_map(HtmlReport *page, const TableTask *task, int figure,
                         const ChartGroup *groups, int num_groups) {
    Places layers = places_of(groups, num_groups, 0), heads = places_of(groups, num_groups, 1);
    int size = layers.count * heads.count;
    FigureEstimate *estimates = estimates_over(groups, num_groups, figure, &heads, &layers);
    double *values = checked_calloc((size_t)size, sizeof *values);
    char **notes = checked_calloc((size_t)size, sizeof *notes);
    for (int i = 0; i < size; i++) {
        values[i] = estimates[i].value;
        notes[i] =
            note_of(&estimates[i], layers.names[i / heads.count], heads.names[i % heads.count]);
    }
    char *caption = caption_of(task->figures[figure], groups, num_groups);
    PlotHeatMap plot = {.title = caption,
                        .x_label = "head",
                        .y_label = "layer",
                        .x_names = (const char *const *)heads.names,
                        .y_names = (const char *const *)layers.names,
                        .columns = heads.count,
                        .rows = layers.count,
                        .values = values,
                        .notes = (const char *const *)notes};
    char *svg = plot_heat_map_svg(&plot);
    html_report_chart(page, svg, caption);
    for (int i = 0; i < size; i++) free(notes[i]);
    free(svg);
    free(caption);
    free(notes);
    free(values);
    free(estimates);
    free_places(&layers);
    free_places(&heads);
}

/// Of each figure a chart for every group, or one for all. key NULL: maps of layers and heads.
static void add_maps(HtmlReport *page, const TableContent *content, const TableTask *task,
                     const ChartGroups *groups, const char *key) {
    bool is_mean = groups->count > MOST_MAPS;
    int charts = is_mean ? 1 : groups->count, size = is_mean ? groups->count : 1;
    for (int f = 0; f < task->num_figures; f++)
        for (int g = 0; g < charts && varies(task, f); g++) {
            if (key)
                add_bar_chart(page, content, task, f, groups->items + g, size, key);
            else
                add_heat_map(page, task, f, groups->items + g, size);
        }
}

// ---- all of them

static int key_named(const TableContent *content, const char *name) {
    for (int k = 0; k < content->table->num_keys; k++)
        if (!strcmp(content->table->keys[k], name)) return k;
    return -1;
}

static bool add_heat_maps(HtmlReport *page, const TableContent *content, const TableTask *task) {
    const int keys[] = {key_named(content, "eval.layers"), key_named(content, "eval.heads")};
    if (keys[0] < 0 || keys[1] < 0) return false;
    ChartGroups groups = chart_groups(content, task, keys, 2);
    bool has_maps = groups.count > 0;
    if (has_maps) {
        html_report_subheading(page, "Over layers and heads");
        add_maps(page, content, task, &groups, NULL);
    }
    chart_groups_free(&groups);
    return has_maps;
}

void sweep_page_add_charts(HtmlReport *page, const TableContent *content, const TableTask *task) {
    bool has_maps = add_heat_maps(page, content, task);
    for (int k = 0; k < content->table->num_keys; k++) {
        const char *key = content->table->keys[k];
        bool is_map = !strcmp(key, "eval.layers") || !strcmp(key, "eval.heads");
        if (content->is_seed[k] || (is_map && has_maps)) continue;
        ChartGroups groups = chart_groups(content, task, &k, 1);
        if (groups.count) {
            char *heading = format_string("Over %s", key);
            html_report_subheading(page, heading);
            free(heading);
            if (is_map)
                add_maps(page, content, task, &groups, key);
            else
                add_curves(page, task, &groups, key);
        }
        chart_groups_free(&groups);
    }
}
