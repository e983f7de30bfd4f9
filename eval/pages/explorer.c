// The page: a heading, the examples as JSON, and the scripts that show them. Its policy allows the
// stylesheets and scripts, by their hashes, and pictures that are in it; nothing else.
#include "eval/pages/explorer.h"

#include "autograd/output/output_file.h"
#include "autograd/text/byte_buffer.h"
#include "eval/pages/explorer_example.h"
#include "eval/pages/explorer_files.h"
#include "eval/pages/explorer_words.h"
#include "eval/pages/html_report.h"
#include "eval/pages/html_style.h"
#include "eval/pages/palette.h"

#include <stdlib.h>
#include <string.h>

struct Explorer {
    char *title, *subtitle;
    /// all that the script is told but the examples
    json_t *about;
    /// of the examples, with commas between them
    ByteBuffer examples;
};

static char *escaped(const char *text) { return html_escape(text ? text : ""); }

Explorer *explorer_new(const ExplorerAbout *about) {
    Explorer *explorer = checked_calloc(1, sizeof *explorer);
    json_t *sides = json_array(), *colours = json_array();
    explorer->title = escaped(about->title);
    explorer->subtitle = escaped(about->subtitle);
    for (int s = 0; s < EXPLORER_SIDES && about->sides[s]; s++)
        json_array_append_new(sides, explorer_text(about->sides[s], strlen(about->sides[s])));
    for (int i = 0; i < PALETTE_SIZE; i++) {
        Color color = palette_color(i);
        json_array_append_new(colours, json_pack("[i, i, i]", color.red, color.green, color.blue));
    }
    const char *explanation = about->explanation ? about->explanation : "";
    explorer->about = json_pack("{s:o, s:o, s:o}", "sides", sides, "colours", colours,
                                "explanation", explorer_text(explanation, strlen(explanation)));
    return explorer;
}

void explorer_free(Explorer *explorer) {
    if (!explorer) return;
    free(explorer->title);
    free(explorer->subtitle);
    json_decref(explorer->about);
    byte_buffer_free(&explorer->examples);
    free(explorer);
}

/// In a script element, '<' could end it; in JSON it stands in strings alone.
static void put_json(ByteBuffer *buffer, const json_t *value) {
    char *text = json_dumps(value, JSON_COMPACT | JSON_REAL_PRECISION(6));
    for (const char *c = text; *c; c++) {
        if (*c == '<')
            byte_buffer_put_text(buffer, "\\u003c");
        else
            byte_buffer_put_byte(buffer, *c);
    }
    free(text);
}

bool explorer_add_example(Explorer *explorer, const ExplorerExample *example, Error *error) {
    json_t *about = explorer_example(example, error);
    if (!about) return error_context(error, "example %s", example->id);
    if (explorer->examples.size) byte_buffer_put_text(&explorer->examples, ",\n");
    put_json(&explorer->examples, about);
    json_decref(about);
    return true;
}

// ---- the page

static void put_hash(ByteBuffer *page, const unsigned char sha256[32]) {
    char *base64 = base64_encode(sha256, 32);
    byte_buffer_print(page, " 'sha256-%s'", base64);
    free(base64);
}

static void put_policy(ByteBuffer *page) {
    byte_buffer_put_text(page,
                         "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src "
                         "'none'; base-uri 'none'; form-action 'none'; img-src data:; style-src");
    put_hash(page, HTML_STYLE_SHA256);
    put_hash(page, EXPLORER_STYLE_SHA256);
    byte_buffer_put_text(page, "; script-src");
    put_hash(page, EXPLORER_MAPS_SCRIPT_SHA256);
    put_hash(page, EXPLORER_PICTURES_SCRIPT_SHA256);
    put_hash(page, EXPLORER_SCRIPT_SHA256);
    byte_buffer_put_text(page, "\">\n");
}

char *explorer_page(const Explorer *explorer) {
    ByteBuffer page = {0};
    byte_buffer_put_text(&page, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n"
                                "<meta charset=\"utf-8\">\n");
    put_policy(&page);
    byte_buffer_put_text(&page, "<meta name=\"viewport\" content=\"width=device-width, "
                                "initial-scale=1\">\n"
                                "<meta name=\"color-scheme\" content=\"light dark\">\n<title>");
    byte_buffer_put_text(&page, explorer->title);
    byte_buffer_put_text(&page, "</title>\n<style>");
    byte_buffer_put_text(&page, HTML_STYLE);
    byte_buffer_put_text(&page, "</style>\n<style>");
    byte_buffer_put_text(&page, EXPLORER_STYLE);
    byte_buffer_put_text(&page, "</style>\n</head>\n<body>\n<main>\n<header>\n<h1>");
    byte_buffer_put_text(&page, explorer->title);
    byte_buffer_put_text(&page, "</h1>\n<p>");
    byte_buffer_put_text(&page, explorer->subtitle);
    byte_buffer_put_text(&page, "</p>\n</header>\n<noscript><p>The pictures of this page are drawn "
                                "by its script, which this browser does not run.</p></noscript>\n"
                                "<div id=\"explorer\"></div>\n</main>\n"
                                "<script type=\"application/json\" id=\"about\">");
    put_json(&page, explorer->about);
    byte_buffer_put_text(&page, "</script>\n<script type=\"application/json\" id=\"examples\">[");
    if (explorer->examples.size)
        byte_buffer_put(&page, explorer->examples.data, explorer->examples.size);
    byte_buffer_put_text(&page, "]</script>\n<script>");
    byte_buffer_put_text(&page, EXPLORER_MAPS_SCRIPT);
    byte_buffer_put_text(&page, "</script>\n<script>");
    byte_buffer_put_text(&page, EXPLORER_PICTURES_SCRIPT);
    byte_buffer_put_text(&page, "</script>\n<script>");
    byte_buffer_put_text(&page, EXPLORER_SCRIPT);
    byte_buffer_put_text(&page, "</script>\n</body>\n</html>\n");
    byte_buffer_put_byte(&page, '\0');
    return byte_buffer_take(&page);
}

bool explorer_save(const Explorer *explorer, const char *path, Error *error) {
    char *page = explorer_page(explorer);
    bool is_saved = output_whole_file(path, page, strlen(page), error);
    free(page);
    return is_saved;
}
