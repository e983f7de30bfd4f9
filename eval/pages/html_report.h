/// A report as one HTML page that needs no other file: text, key figures, tables, charts, pictures.
/// Its look follows the reader's light or dark setting and prints well.
///
/// Text arguments are escaped; arguments named `html` are inserted as they are and come from
/// html_escape(), plot_svg() or overlay_caption_html().
#pragma once
#include "autograd/error.h"
#include "data/images/image.h"

typedef struct HtmlReport HtmlReport;

/// subtitle: one line below the title, or NULL.
HtmlReport *html_report_new(const char *title, const char *subtitle);
void html_report_free(HtmlReport *report);

void html_report_heading(HtmlReport *report, const char *text);
/// Of a part of what the last heading began.
void html_report_subheading(HtmlReport *report, const char *text);
void html_report_paragraph(HtmlReport *report, const char *text);

/// A link, a line of its own, to a file beside the page.
void html_report_link(HtmlReport *report, const char *file, const char *text);

/// A figure that is shown large.
typedef struct KeyFigure {
    const char *value, *label;
    /// small print, or NULL
    const char *note;
} KeyFigure;
void html_report_key_figures(HtmlReport *report, const KeyFigure *figures, int count);

/// cells: [rows][columns]. Columns of numbers are aligned to the right. The row `emphasised` stands
/// out; -1: none.
void html_report_table(HtmlReport *report, const char *const *headers, const char *const *cells,
                       int rows, int columns, int emphasised);

/// The same in smaller print, for many columns, and with the best cells marked:
/// is_best[rows][columns]. The first column holds names, even if they look like numbers.
void html_report_ranked_table(HtmlReport *report, const char *const *headers,
                              const char *const *cells, int rows, int columns, const bool *is_best);

/// What the lines of the charts behind it stand for, from plot_legend_html(). It stays in view
/// while the reader scrolls on.
void html_report_legend(HtmlReport *report, const char *legend_html);

/// A chart with its caption (NULL: none). Charts that follow each other stand side by side where
/// there is room.
void html_report_chart(HtmlReport *report, const char *svg_html, const char *caption);

/// A picture, embedded as PNG, with its caption and, below it, whatever else is said about it
/// (either may be NULL). Pictures that follow each other form a gallery.
bool html_report_picture(HtmlReport *report, const Image *image, const char *caption_html,
                         const char *details_html, Error *error);

/// Text in a box as it is, for a configuration or a command, behind a summary that opens it.
void html_report_details(HtmlReport *report, const char *summary, const char *text);

/// What follows up to html_report_fold_end() lies behind a summary that opens it.
void html_report_fold_begin(HtmlReport *report, const char *summary);
void html_report_fold_end(HtmlReport *report);

/// A part of the page as it is.
void html_report_html(HtmlReport *report, const char *html);
/// Runs a script when the page is there, once, however often it is asked for. It is not copied.
void html_report_script(HtmlReport *report, const char *script);

/// The whole page; the caller frees it.
char *html_report_page(const HtmlReport *report);
/// Writes the page, whole or not at all.
bool html_report_save(const HtmlReport *report, const char *path, Error *error);

/// The text with &, <, >, " and ' as entities; bytes that are not UTF-8 and control characters
/// become U+FFFD. The caller frees it.
char *html_escape(const char *text);
/// RFC 4648 with padding; the caller frees it.
char *base64_encode(const void *bytes, size_t size);
