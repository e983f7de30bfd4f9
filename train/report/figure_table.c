#include "train/report/figure_table.h"

#include "eval/pages/plot.h"

#include <math.h>
#include <stdlib.h>

static const char *const MISSING = "\u2013";

TableField figure_field(Interval figure) {
    TableField field = {.value = figure.estimate};
    field.text = isfinite(figure.estimate) ? format_string("%.3f", figure.estimate)
                                           : checked_strdup(MISSING);
    if (isfinite(figure.low) && isfinite(figure.high))
        field.note = format_string("%.3f to %.3f", figure.low, figure.high);
    return field;
}

static TableField value_field(const FigureEstimate *estimate) {
    TableField field = figure_field((Interval){estimate->value, estimate->low, estimate->high, 0});
    if (!isfinite(estimate->least)) return field;
    char *seeds = format_string("%s%sseeds %.3f to %.3f", field.note ? field.note : "",
                                field.note ? "\n" : "", estimate->least, estimate->greatest);
    free((char *)field.note);
    field.note = seeds;
    return field;
}

static TableField difference_field(const FigureEstimate *estimate, bool is_base) {
    TableField field = {.value = is_base ? 0 : estimate->difference};
    if (!isfinite(estimate->difference)) {
        field.text = checked_strdup(is_base ? "base" : MISSING);
        return field;
    }
    field.text = format_string("%+.3f", estimate->difference);
    field.note =
        format_string("%+.3f to %+.3f", estimate->difference_low, estimate->difference_high);
    field.is_marked = figure_estimate_differs(estimate);
    return field;
}

static void free_field(TableField *field) {
    free((char *)field->text);
    free((char *)field->note);
}

void figure_table_add(HtmlReport *page, const FigureTable *table) {
    int each = table->base ? 2 : 1, first = 1 + table->num_extras,
        columns = first + each * table->num_figures;
    TableHeader *headers = checked_calloc((size_t)columns, sizeof *headers);
    TableField *fields = checked_calloc((size_t)(columns * (table->num_rows + 1)), sizeof *fields);
    SortableTable sortable = {headers, fields, table->num_rows, columns, -1, -1};
    headers[0] = (TableHeader){table->row_header, false};
    for (int e = 0; e < table->num_extras; e++) headers[1 + e] = table->extra_headers[e];
    for (int f = 0; f < table->num_figures; f++) {
        headers[first + each * f] = (TableHeader){table->figures[f], true};
        if (table->base) headers[first + each * f + 1] = (TableHeader){"difference", true};
    }
    for (int r = 0; r < table->num_rows; r++) {
        const FigureRow *row = &table->rows[r];
        TableField *of_row = fields + r * columns;
        of_row[0] = (TableField){row->name, row->note, NAN, false};
        for (int e = 0; e < table->num_extras; e++) of_row[1 + e] = row->extras[e];
        for (int f = 0; f < table->num_figures; f++) {
            of_row[first + each * f] = value_field(&row->figures[f]);
            if (table->base)
                of_row[first + each * f + 1] = difference_field(&row->figures[f], row->is_base);
        }
        if (row->is_base) sortable.emphasised = r;
    }
    if (table->sorted_by >= 0) sortable.sorted_by = first + each * table->sorted_by;
    html_report_sortable_table(page, &sortable);
    for (int r = 0; r < table->num_rows; r++)
        for (int c = first; c < columns; c++) free_field(&fields[r * columns + c]);
    free(fields);
    free(headers);
}

static PlotInterval interval_of(const FigureRow *row, int figure, bool differences) {
    const FigureEstimate *estimate = &row->figures[figure];
    PlotInterval interval = {.label = row->name, .color = row->color};
    if (differences) {
        interval.value = row->is_base ? NAN : estimate->difference;
        interval.low = estimate->difference_low;
        interval.high = estimate->difference_high;
        interval.is_hollow = !figure_estimate_differs(estimate);
    } else {
        interval.value = estimate->value;
        interval.low = estimate->low;
        interval.high = estimate->high;
    }
    return interval;
}

void figure_table_add_charts(HtmlReport *page, const FigureTable *table, bool differences) {
    PlotInterval *rows = checked_calloc((size_t)table->num_rows + 1, sizeof *rows);
    for (int f = 0; f < table->num_figures; f++) {
        int count = 0;
        bool says_something = !differences;
        for (int r = 0; r < table->num_rows; r++) {
            rows[count] = interval_of(&table->rows[r], f, differences);
            if (!isfinite(rows[count].value)) continue;
            says_something |= rows[count].value != 0 || rows[count].low != rows[count].high;
            count++;
        }
        if (!count || !says_something) continue;
        char *label = differences ? format_string("difference to %s", table->base)
                                  : checked_strdup(table->figures[f]);
        PlotIntervals plot = {.title = table->figures[f],
                              .x_label = label,
                              .rows = rows,
                              .count = count,
                              .reference = differences ? 0 : NAN};
        char *svg = plot_intervals_svg(&plot);
        html_report_chart(page, svg, table->figures[f]);
        free(svg);
        free(label);
    }
    free(rows);
}
