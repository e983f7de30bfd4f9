#include "eval/pages/html_report.h"

#include "autograd/output/output_file.h"
#include "autograd/text/byte_buffer.h"
#include "autograd/text/utf8.h"
#include "eval/pages/html_style.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/// What the page's last element is inside of.
typedef enum Group { GROUP_NONE, GROUP_CHARTS, GROUP_PICTURES } Group;

struct HtmlReport {
    char *title;
    /// the body, in memory
    FILE *out;
    char *body;
    size_t length;
    Group group;
    /// [num_scripts]
    const char **scripts;
    int num_scripts;
};

char *base64_encode(const void *bytes, size_t size) {
    static const char DIGITS[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *in = bytes;
    char *text = checked_malloc((size + 2) / 3 * 4 + 1), *end = text;
    for (size_t i = 0; i < size; i += 3) {
        size_t left = size - i;
        unsigned three = (unsigned)in[i] << 16;
        if (left > 1) three |= (unsigned)in[i + 1] << 8;
        if (left > 2) three |= in[i + 2];
        *end++ = DIGITS[three >> 18];
        *end++ = DIGITS[three >> 12 & 63];
        *end++ = left > 1 ? DIGITS[three >> 6 & 63] : '=';
        *end++ = left > 2 ? DIGITS[three & 63] : '=';
    }
    *end = 0;
    return text;
}

static const char *entity(unsigned char c) {
    switch (c) {
    case '&':
        return "&amp;";
    case '<':
        return "&lt;";
    case '>':
        return "&gt;";
    case '"':
        return "&quot;";
    case '\'':
        return "&#39;";
    default:
        break;
    }
    bool is_control = (c < 0x20 && c != '\n' && c != '\t') || c == 0x7f;
    return is_control ? UTF8_REPLACEMENT : NULL;
}

char *html_escape(const char *text) {
    ByteBuffer escaped = {0};
    for (size_t left = strlen(text), length; left > 0; left -= length, text += length) {
        length = utf8_character_length(text, left);
        const char *replacement = length ? entity((unsigned char)*text) : UTF8_REPLACEMENT;
        if (length == 0) length = 1;
        if (replacement)
            byte_buffer_put_text(&escaped, replacement);
        else
            byte_buffer_put(&escaped, text, length);
    }
    return byte_buffer_take(&escaped);
}

static void print_escaped(FILE *out, const char *before, const char *text, const char *after) {
    char *escaped = html_escape(text);
    fprintf(out, "%s%s%s", before, escaped, after);
    free(escaped);
}

static void enter_group(HtmlReport *report, Group group) {
    static const char *const OPENING[] = {"", "<div class=\"charts\">\n",
                                          "<div class=\"pictures\">\n"};
    if (report->group == group) return;
    if (report->group != GROUP_NONE) fputs("</div>\n", report->out);
    fputs(OPENING[group], report->out);
    report->group = group;
}

HtmlReport *html_report_new(const char *title, const char *subtitle) {
    HtmlReport *report = checked_calloc(1, sizeof *report);
    report->title = html_escape(title);
    report->out = open_memstream(&report->body, &report->length);
    CHECK(report->out, "open_memstream");
    fprintf(report->out, "<header>\n<h1>%s</h1>\n", report->title);
    if (subtitle) print_escaped(report->out, "<p>", subtitle, "</p>\n");
    fputs("</header>\n", report->out);
    return report;
}

void html_report_free(HtmlReport *report) {
    if (!report) return;
    fclose(report->out);
    free(report->body);
    free(report->title);
    free(report->scripts);
    free(report);
}

void html_report_heading(HtmlReport *report, const char *text) {
    enter_group(report, GROUP_NONE);
    print_escaped(report->out, "<h2>", text, "</h2>\n");
}

void html_report_subheading(HtmlReport *report, const char *text) {
    enter_group(report, GROUP_NONE);
    print_escaped(report->out, "<h3>", text, "</h3>\n");
}

void html_report_paragraph(HtmlReport *report, const char *text) {
    enter_group(report, GROUP_NONE);
    print_escaped(report->out, "<p>", text, "</p>\n");
}

/// As it stands in a URL: anything but letters, digits and a few signs as "%NN".
static char *url_escape(const char *path) {
    ByteBuffer url = {0};
    for (const unsigned char *c = (const unsigned char *)path; *c; c++) {
        bool is_plain = (*c >= '0' && *c <= '9') || (*c >= 'A' && *c <= 'Z') ||
                        (*c >= 'a' && *c <= 'z') || strchr("-._~/", *c);
        if (is_plain)
            byte_buffer_put_byte(&url, *c);
        else
            byte_buffer_print(&url, "%%%02X", *c);
    }
    return byte_buffer_take(&url);
}

void html_report_link(HtmlReport *report, const char *file, const char *text) {
    enter_group(report, GROUP_NONE);
    char *url = url_escape(file);
    fprintf(report->out, "<p class=\"link\"><a href=\"%s\">", url);
    print_escaped(report->out, "", text, "</a></p>\n");
    free(url);
}

void html_report_key_figures(HtmlReport *report, const KeyFigure *figures, int count) {
    enter_group(report, GROUP_NONE);
    fputs("<dl class=\"figures\">\n", report->out);
    for (int i = 0; i < count; i++) {
        print_escaped(report->out, "<div><dt>", figures[i].label, "</dt>");
        print_escaped(report->out, "<dd>", figures[i].value, "</dd>");
        if (figures[i].note)
            print_escaped(report->out, "<dd class=\"note\">", figures[i].note, "</dd>");
        fputs("</div>\n", report->out);
    }
    fputs("</dl>\n", report->out);
}

/// A number, perhaps with a sign before and a unit of one word or a spread behind it: "0.735",
/// "-1e-3", "12 %", "2:04", "0.71 ± 0.02"; but no date or version.
static bool looks_like_a_number(const char *cell) {
    const char *digits = cell + strspn(cell, "+-");
    if (*digits < '0' || *digits > '9') return false;
    char *end;
    strtod(digits, &end);
    return !*end || strchr(" %:d", *end);
}

/// Every cell of the column that is not empty or a dash.
static bool is_numeric_column(const char *const *cells, int rows, int columns, int column) {
    int numbers = 0;
    for (int r = 0; r < rows; r++) {
        const char *cell = cells[r * columns + column];
        bool is_missing = !*cell || !strcmp(cell, "-") || !strcmp(cell, "\u2013");
        if (!is_missing && !looks_like_a_number(cell)) return false;
        numbers += !is_missing;
    }
    return numbers > 0;
}

/// is_best: NULL, or of every cell; then the first column holds names.
static void write_table(HtmlReport *report, const char *const *headers, const char *const *cells,
                        int rows, int columns, int emphasised, const bool *is_best) {
    enter_group(report, GROUP_NONE);
    FILE *out = report->out;
    bool *is_numeric = checked_calloc((unsigned long)columns + 1, sizeof *is_numeric);
    fprintf(out, "<div class=\"scroll\"><table%s>\n<thead><tr>",
            is_best ? " class=\"ranked\"" : "");
    for (int c = 0; c < columns; c++) {
        is_numeric[c] = !(is_best && c == 0) && is_numeric_column(cells, rows, columns, c);
        print_escaped(out, is_numeric[c] ? "<th class=\"number\">" : "<th>", headers[c], "</th>");
    }
    fputs("</tr></thead>\n<tbody>\n", out);
    for (int r = 0; r < rows; r++) {
        fputs(r == emphasised ? "<tr class=\"emphasised\">" : "<tr>", out);
        for (int c = 0; c < columns; c++) {
            bool is_marked = is_best && is_best[r * columns + c];
            const char *tag = is_marked       ? "<td class=\"number best\">"
                              : is_numeric[c] ? "<td class=\"number\">"
                                              : "<td>";
            print_escaped(out, tag, cells[r * columns + c], "</td>");
        }
        fputs("</tr>\n", out);
    }
    fputs("</tbody>\n</table></div>\n", out);
    free(is_numeric);
}

void html_report_table(HtmlReport *report, const char *const *headers, const char *const *cells,
                       int rows, int columns, int emphasised) {
    write_table(report, headers, cells, rows, columns, emphasised, NULL);
}

void html_report_ranked_table(HtmlReport *report, const char *const *headers,
                              const char *const *cells, int rows, int columns,
                              const bool *is_best) {
    write_table(report, headers, cells, rows, columns, -1, is_best);
}

void html_report_legend(HtmlReport *report, const char *legend_html) {
    enter_group(report, GROUP_NONE);
    fprintf(report->out, "<div class=\"legend\">\n%s</div>\n", legend_html);
}

void html_report_chart(HtmlReport *report, const char *svg_html, const char *caption) {
    enter_group(report, GROUP_CHARTS);
    fputs("<figure>\n", report->out);
    if (caption) print_escaped(report->out, "<figcaption>", caption, "</figcaption>\n");
    fprintf(report->out, "%s</figure>\n", svg_html);
}

bool html_report_picture(HtmlReport *report, const Image *image, const char *caption_html,
                         const char *details_html, Error *error) {
    void *png = NULL;
    size_t size = 0;
    if (!image_encode_png(image, &png, &size, error)) return false;
    enter_group(report, GROUP_PICTURES);
    char *base64 = base64_encode(png, size);
    fprintf(report->out,
            "<figure>\n<img width=\"%d\" height=\"%d\" alt=\"\" "
            "src=\"data:image/png;base64,%s\">\n",
            image->width, image->height, base64);
    if (caption_html) fprintf(report->out, "<figcaption>%s</figcaption>\n", caption_html);
    if (details_html) fprintf(report->out, "<div class=\"note\">%s</div>\n", details_html);
    fputs("</figure>\n", report->out);
    free(base64);
    free(png);
    return true;
}

void html_report_details(HtmlReport *report, const char *summary, const char *text) {
    enter_group(report, GROUP_NONE);
    print_escaped(report->out, "<details><summary>", summary, "</summary>\n");
    print_escaped(report->out, "<pre>", text, "</pre></details>\n");
}

void html_report_fold_begin(HtmlReport *report, const char *summary) {
    enter_group(report, GROUP_NONE);
    print_escaped(report->out, "<details><summary>", summary, "</summary>\n");
}

void html_report_fold_end(HtmlReport *report) {
    enter_group(report, GROUP_NONE);
    fputs("</details>\n", report->out);
}

void html_report_html(HtmlReport *report, const char *html) {
    enter_group(report, GROUP_NONE);
    fputs(html, report->out);
}

void html_report_script(HtmlReport *report, const char *script) {
    for (int i = 0; i < report->num_scripts; i++)
        if (report->scripts[i] == script) return;
    report->scripts = checked_realloc(report->scripts,
                                      (size_t)(report->num_scripts + 1) * sizeof *report->scripts);
    report->scripts[report->num_scripts++] = script;
}

char *html_report_page(const HtmlReport *report) {
    CHECK(!fflush(report->out), "a report in memory cannot be written");
    ByteBuffer page = {0};
    byte_buffer_put_text(&page, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta "
                                "charset=\"utf-8\">\n<meta name=\"viewport\" "
                                "content=\"width=device-width, initial-scale=1\">\n<meta "
                                "name=\"color-scheme\" content=\"light dark\">\n<title>");
    byte_buffer_put_text(&page, report->title);
    byte_buffer_put_text(&page, "</title>\n<style>\n");
    byte_buffer_put_text(&page, HTML_STYLE);
    byte_buffer_put_text(&page, "</style>\n</head>\n<body>\n<main>\n");
    byte_buffer_put_text(&page, report->body);
    byte_buffer_put_text(&page, report->group == GROUP_NONE ? "</main>\n" : "</div>\n</main>\n");
    for (int i = 0; i < report->num_scripts; i++) {
        byte_buffer_put_text(&page, "<script>\n{\n");
        byte_buffer_put_text(&page, report->scripts[i]);
        byte_buffer_put_text(&page, "}\n</script>\n");
    }
    byte_buffer_put_text(&page, "</body>\n</html>\n");
    return byte_buffer_take(&page);
}

bool html_report_save(const HtmlReport *report, const char *path, Error *error) {
    char *page = html_report_page(report);
    bool is_saved = output_whole_file(path, page, strlen(page), error);
    free(page);
    return is_saved;
}
