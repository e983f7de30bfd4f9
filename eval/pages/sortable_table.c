#include "eval/pages/sortable_table.h"

#include "autograd/text/byte_buffer.h"
#include "eval/pages/html_style.h"

#include <math.h>
#include <stdlib.h>

static void put_escaped(ByteBuffer *out, const char *text) {
    char *escaped = html_escape(text);
    byte_buffer_put_text(out, escaped);
    free(escaped);
}

static void put_headers(ByteBuffer *out, const SortableTable *table) {
    byte_buffer_put_text(out, "<thead><tr>");
    for (int c = 0; c < table->columns; c++) {
        byte_buffer_print(out, "<th%s%s>", table->headers[c].is_numeric ? " class=\"number\"" : "",
                          c == table->sorted_by ? " aria-sort=\"descending\"" : "");
        put_escaped(out, table->headers[c].text);
        byte_buffer_put_text(out, "</th>");
    }
    byte_buffer_put_text(out, "</tr></thead>\n<tbody>\n");
}

static void put_field(ByteBuffer *out, const TableField *field, bool is_numeric) {
    if (is_numeric)
        byte_buffer_print(out, "<td class=\"number%s\" data-value=\"",
                          field->is_marked ? " best" : "");
    else
        byte_buffer_put_text(out, "<td");
    // A column of numbers has numbers only, "NaN" among them.
    if (is_numeric && isfinite(field->value))
        byte_buffer_print(out, "%.9g\">", field->value);
    else
        byte_buffer_put_text(out, is_numeric ? "NaN\">" : ">");
    if (field->text) put_escaped(out, field->text);
    if (field->note) {
        byte_buffer_put_text(out, "<div class=\"note\">");
        put_escaped(out, field->note);
        byte_buffer_put_text(out, "</div>");
    }
    byte_buffer_put_text(out, "</td>");
}

void html_report_sortable_table(HtmlReport *report, const SortableTable *table) {
    ByteBuffer out = {0};
    byte_buffer_put_text(&out, "<div class=\"scroll\"><table class=\"ranked sortable\">\n");
    put_headers(&out, table);
    for (int r = 0; r < table->rows; r++) {
        byte_buffer_put_text(&out, r == table->emphasised ? "<tr class=\"emphasised\">" : "<tr>");
        for (int c = 0; c < table->columns; c++)
            put_field(&out, &table->fields[r * table->columns + c], table->headers[c].is_numeric);
        byte_buffer_put_text(&out, "</tr>\n");
    }
    byte_buffer_put_text(&out, "</tbody>\n</table></div>\n");
    html_report_html(report, out.data);
    html_report_script(report, SORT_TABLE_SCRIPT);
    byte_buffer_free(&out);
}
