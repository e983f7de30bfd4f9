#include "train/sweep_table/sweep_table.h"

#include "autograd/output/output_file.h"
#include "train/sweep_table/sweep_page.h"
#include "train/sweep_table/sweep_table_parts.h"

#include <stdlib.h>
#include <string.h>

/// Takes the text.
static bool write_text(const char *folder, const char *name, char *text, Error *error) {
    char *path = format_string("%s/%s", folder, name);
    output_remove_remains(path); // of a kill
    bool ok = output_whole_file(path, text, strlen(text), error);
    free(path);
    free(text);
    return ok;
}

bool sweep_table_write(const SweepTable *table, const char *folder, FILE *out, Error *error) {
    TableContent content;
    bool ok = table_read(&content, table, folder, error);
    if (ok) {
        table_estimate(&content, out ? stderr : NULL);
        ok = write_text(folder, "table.json", table_json(&content), error) &&
             write_text(folder, "table.csv", table_csv(&content), error) &&
             write_text(folder, "table.md", table_markdown(&content), error);
        HtmlReport *page = sweep_page(&content);
        ok = ok && write_text(folder, "index.html", html_report_page(page), error);
        html_report_free(page);
    }
    if (ok && out) table_print(&content, out);
    table_free(&content);
    return ok;
}
