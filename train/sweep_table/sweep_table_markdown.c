// To be pasted where people write: the headline, then a table per task, a row per line, what the
// seeds came to and how that differs from the base in one field.
#include "autograd/text/byte_buffer.h"
#include "autograd/text/utf8.h"
#include "train/sweep_table/sweep_table_parts.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/// On one line, and none of it markup [CommonMark 0.31, 2.4].
static void put_text(ByteBuffer *out, const char *text) {
    char *shown = utf8_printable(text);
    for (const char *c = shown; *c; c++) {
        if (strchr("\\`*_|<[]#", *c)) byte_buffer_put_byte(out, '\\');
        byte_buffer_put_byte(out, *c);
    }
    free(shown);
}

static void put_value(ByteBuffer *out, const TableLine *line, const FigureEstimate *figure) {
    if (!isfinite(figure->value)) {
        byte_buffer_put_text(out, "-");
        return;
    }
    byte_buffer_print(out, "%.3f", figure->value);
    if (line->count > 1 && isfinite(figure->least) && isfinite(figure->greatest))
        byte_buffer_print(out, " (%.3f to %.3f)", figure->least, figure->greatest);
}

static void put_difference(ByteBuffer *out, const FigureEstimate *figure) {
    if (!isfinite(figure->difference)) return;
    const char *mark = figure_estimate_differs(figure) ? "**" : "";
    byte_buffer_print(out, "<br>%s%+.3f%s", mark, figure->difference, mark);
    if (isfinite(figure->difference_low) && isfinite(figure->difference_high))
        byte_buffer_print(out, " (%+.3f to %+.3f)", figure->difference_low,
                          figure->difference_high);
}

static void put_line(ByteBuffer *out, const TableContent *content, const TableTask *task,
                     const TableLine *line) {
    byte_buffer_put_text(out, "| ");
    put_text(out, line->name);
    if (line->is_base) byte_buffer_put_text(out, " (base)");
    if (content->has_seeds) byte_buffer_print(out, " | %d", line->count);
    for (int f = 0; f < task->num_figures; f++) {
        byte_buffer_put_text(out, " | ");
        put_value(out, line, &line->figures[f]);
        if (!line->is_base) put_difference(out, &line->figures[f]);
    }
    byte_buffer_put_text(out, " |\n");
}

static void put_header(ByteBuffer *out, const TableContent *content, const TableTask *task) {
    byte_buffer_put_text(out, "| ");
    put_text(out, task->name);
    if (content->has_seeds) byte_buffer_put_text(out, " | seeds");
    for (int f = 0; f < task->num_figures; f++) {
        byte_buffer_put_text(out, " | ");
        put_text(out, task->figures[f]);
    }
    byte_buffer_put_text(out, " |\n| ---");
    for (int c = 0; c < task->num_figures + content->has_seeds; c++)
        byte_buffer_put_text(out, " | ---");
    byte_buffer_put_text(out, " |\n");
}

static void put_remarks(ByteBuffer *out, const TableTask *task) {
    for (int l = 0; l < task->num_lines; l++) {
        if (!task->lines[l].remark) continue;
        byte_buffer_put_text(out, "\n");
        put_text(out, task->lines[l].name);
        byte_buffer_put_text(out, ": ");
        put_text(out, task->lines[l].remark);
        byte_buffer_put_text(out, "\n");
    }
}

static void put_failures(ByteBuffer *out, const TableContent *content) {
    if (content->num_failed) byte_buffer_put_text(out, "Failed:\n\n");
    for (int c = 0; c < content->table->num_cells; c++) {
        const TableCell *cell = &content->cells[c];
        if (!cell->failure) continue;
        byte_buffer_put_text(out, "- ");
        put_text(out, cell->cell->name);
        byte_buffer_put_text(out, ": ");
        put_text(out, cell->failure);
        byte_buffer_put_text(out, "\n");
    }
}

static void put_legend(ByteBuffer *out, const TableContent *content) {
    if (content->has_seeds)
        byte_buffer_put_text(out, "Means over seeds, with the least and the greatest. ");
    if (content->has_base)
        byte_buffer_print(out,
                          "Below each, its difference to the base: paired over images%s, with its "
                          "95%% interval over images; bold where that leaves out zero.",
                          content->has_seeds ? " and seeds" : "");
    if (content->has_seeds || content->has_base) byte_buffer_put_text(out, "\n\n");
}

static void put_headline_row(ByteBuffer *out, const Headline *headline, const HeadlineRow *row) {
    byte_buffer_put_text(out, "| ");
    put_text(out, row->headline->evaluation);
    byte_buffer_put_text(out, ": ");
    put_text(out, row->headline->figure);
    if (headline->has_stages) {
        byte_buffer_put_text(out, " | ");
        put_text(out, row->task->stage ? row->task->stage : "");
    }
    for (int c = 0; c < headline->num_columns; c++) {
        const FigureEstimate *estimate = table_headline_estimate(row, c);
        byte_buffer_put_text(out, " | ");
        if (estimate) put_value(out, row->lines[c], estimate);
        if (estimate && !row->lines[c]->is_base) put_difference(out, estimate);
    }
    byte_buffer_put_text(out, " |\n");
}

static void put_headline(ByteBuffer *out, const TableContent *content) {
    Headline headline = table_headline(content);
    if (headline.num_rows) {
        byte_buffer_print(out, "| figure%s", headline.has_stages ? " | after" : "");
        for (int c = 0; c < headline.num_columns; c++) {
            byte_buffer_put_text(out, " | ");
            put_text(out, headline.columns[c]);
        }
        byte_buffer_put_text(out, " |\n| ---");
        for (int c = 0; c < headline.num_columns + headline.has_stages; c++)
            byte_buffer_put_text(out, " | ---");
        byte_buffer_put_text(out, " |\n");
        for (int r = 0; r < headline.num_rows; r++)
            put_headline_row(out, &headline, &headline.rows[r]);
        byte_buffer_put_text(out, "\n");
    }
    table_headline_free(&headline);
}

char *table_markdown(const TableContent *content) {
    ByteBuffer out = {0};
    if (content->num_tasks) put_legend(&out, content);
    put_headline(&out, content);
    for (int t = 0; t < content->num_tasks; t++) {
        const TableTask *task = &content->tasks[t];
        put_header(&out, content, task);
        for (int l = 0; l < task->num_lines; l++) put_line(&out, content, task, &task->lines[l]);
        put_remarks(&out, task);
        byte_buffer_put_text(&out, "\n");
    }
    put_failures(&out, content);
    return byte_buffer_take(&out);
}
