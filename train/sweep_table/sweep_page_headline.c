// The table over all evaluations on a sweep's page.
#include "train/sweep_table/sweep_page.h"

#include "eval/pages/sortable_table.h"

#include <math.h>
#include <stdlib.h>

static const char *const MISSING = "\u2013";

static TableField field_of(const HeadlineRow *row, int column) {
    const FigureEstimate *estimate = table_headline_estimate(row, column);
    TableField field = {.value = estimate ? estimate->value : NAN};
    if (!estimate || !isfinite(estimate->value)) {
        field.text = checked_strdup(MISSING);
        return field;
    }
    field.text = format_string("%.3f", estimate->value);
    field.is_marked = figure_estimate_differs(estimate);
    if (isfinite(estimate->difference_low) && isfinite(estimate->difference_high))
        field.note = format_string("%+.3f, %+.3f to %+.3f", estimate->difference,
                                   estimate->difference_low, estimate->difference_high);
    else if (row->lines[column]->count > 1 && isfinite(estimate->least))
        field.note = format_string("%.3f to %.3f", estimate->least, estimate->greatest);
    return field;
}

static void add_table(HtmlReport *page, const Headline *headline) {
    const int first = 1 + headline->has_stages, columns = first + headline->num_columns;
    TableHeader *headers = checked_calloc((size_t)columns, sizeof *headers);
    TableField *fields = checked_calloc((size_t)(columns * headline->num_rows), sizeof *fields);
    headers[0].text = "figure";
    if (headline->has_stages) headers[1].text = "after";
    for (int c = 0; c < headline->num_columns; c++)
        headers[first + c] = (TableHeader){headline->columns[c], true};
    for (int r = 0; r < headline->num_rows; r++) {
        const HeadlineRow *row = &headline->rows[r];
        TableField *field = &fields[r * columns];
        field[0] = (TableField){
            .text = format_string("%s: %s", row->headline->evaluation, row->headline->figure),
            .value = NAN};
        if (headline->has_stages)
            field[1] =
                (TableField){.text = checked_strdup(row->task->stage ? row->task->stage : MISSING),
                             .value = NAN};
        for (int c = 0; c < headline->num_columns; c++) field[first + c] = field_of(row, c);
    }
    const SortableTable table = {headers, fields, headline->num_rows, columns, -1, -1};
    html_report_sortable_table(page, &table);
    for (int i = 0; i < columns * headline->num_rows; i++) {
        free((char *)fields[i].text);
        free((char *)fields[i].note);
    }
    free(fields);
    free(headers);
}

void sweep_page_add_headline(HtmlReport *page, const TableContent *content) {
    Headline headline = table_headline(content);
    if (headline.num_rows) {
        html_report_heading(page, "Over all evaluations");
        if (content->has_base)
            html_report_paragraph(page,
                                  "In small print: the difference to the base with its 95% "
                                  "interval by a bootstrap over images; of the base, the least and "
                                  "the greatest of a seed. A star marks differences whose interval "
                                  "leaves out zero.");
        add_table(page, &headline);
    }
    table_headline_free(&headline);
}
