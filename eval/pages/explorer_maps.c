// Deviations and mean apart: a few cells draw attention from every token, thousands of times as
// much as what tells tokens apart. Levels that reach over both would leave nothing of the latter.
#include "eval/pages/explorer_maps.h"

#include "eval/pages/html_report.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/// Maps of one grid, one behind the other.
typedef struct Rows {
    CellGrid grid;
    int count;
    /// [count][cells], owned
    float *values;
} Rows;

static int cells_of(CellGrid grid) { return grid.rows * grid.columns; }

static Rows rows_new(CellGrid grid, int count) {
    size_t size = (size_t)count * (size_t)cells_of(grid);
    return (Rows){grid, count, checked_calloc(size + 1, sizeof(float))};
}

static float *row(const Rows *rows, int number) {
    return rows->values + (size_t)number * (size_t)cells_of(rows->grid);
}

// ---- a strip

/// As the page reads it.
static double rounded(double value) {
    char text[32];
    snprintf(text, sizeof text, "%.5g", value);
    return strtod(text, NULL);
}

/// Writes a row's pixels, `levels` of the 256 that there are.
static void quantise(const float *values, int count, int levels, double range[2], uint8_t *pixels) {
    range[0] = range[1] = values[0];
    for (int c = 1; c < count; c++) {
        range[0] = fmin(range[0], values[c]);
        range[1] = fmax(range[1], values[c]);
    }
    range[0] = rounded(range[0]);
    range[1] = rounded(range[1]);
    double width = range[1] - range[0];
    for (int c = 0; c < count; c++) {
        double share = width > 0 ? fmin(fmax((values[c] - range[0]) / width, 0), 1) : 0;
        pixels[c] = (uint8_t)lround(round(share * (levels - 1)) * 255 / (levels - 1));
    }
}

static json_t *strip_of(const Rows *rows, int levels, Error *error) {
    int cells = cells_of(rows->grid);
    uint8_t *pixels = checked_malloc((size_t)rows->count * (size_t)cells);
    json_t *ranges = json_array();
    void *png;
    size_t size;
    for (int i = 0; i < rows->count; i++) {
        double range[2];
        quantise(row(rows, i), cells, levels, range, pixels + (size_t)i * (size_t)cells);
        json_array_append_new(ranges, json_real(range[0]));
        json_array_append_new(ranges, json_real(range[1]));
    }
    bool ok = image_encode_grey_png(pixels, cells, rows->count, &png, &size, error);
    free(pixels);
    if (!ok) {
        json_decref(ranges);
        return NULL;
    }
    char *base64 = base64_encode(png, size);
    json_t *strip = json_pack("{s:s, s:o, s:[i, i]}", "png", base64, "ranges", ranges, "grid",
                              rows->grid.rows, rows->grid.columns);
    free(base64);
    free(png);
    return strip;
}

/// Averages squares of cells, in place.
static void shrink(Rows *rows, int side) {
    CellGrid from = rows->grid, to = {from.rows / side > 1 ? from.rows / side : 1,
                                      from.columns / side > 1 ? from.columns / side : 1};
    if (side <= 1) return;
    Rows less = rows_new(to, rows->count);
    int *counts = checked_calloc((size_t)cells_of(to), sizeof *counts);
    for (int c = 0; c < cells_of(from); c++)
        counts[c / from.columns * to.rows / from.rows * to.columns +
               c % from.columns * to.columns / from.columns]++;
    for (int i = 0; i < rows->count; i++)
        for (int c = 0; c < cells_of(from); c++) {
            int into = c / from.columns * to.rows / from.rows * to.columns +
                       c % from.columns * to.columns / from.columns;
            row(&less, i)[into] += row(rows, i)[c] / (float)counts[into];
        }
    free(counts);
    free(rows->values);
    *rows = less;
}

// ---- an answer's maps

/// Deviations of the tokens' maps from their mean, and the mean as one row more.
static Rows deviations(const Answer *answer, const GroundingOptions *how, const int *layers,
                       int num_layers) {
    int cells = cells_of(answer->grid), count = answer->num_tokens;
    Rows rows = rows_new(answer->grid, count + 1);
    float *maps = answer_mean_maps(answer, layers, num_layers, how->heads, how->num_heads);
    memcpy(rows.values, maps, (size_t)count * (size_t)cells * sizeof *maps);
    if (count) {
        attention_normalise(rows.values, count, cells);
        for (int c = 0; c < cells; c++) row(&rows, count)[c] = maps[c] - rows.values[c];
    }
    free(maps);
    return rows;
}

/// Writes the phrases' maps to consecutive rows from `first` on.
static void group(const ExplorerAnswer *answer, const Rows *tokens, Rows *to, int first) {
    for (int i = 0; i < answer->num_phrases; i++) {
        const ExplorerPhrase *phrase = &answer->phrases[i];
        if (phrase->num_tokens)
            attention_group(tokens->values, cells_of(tokens->grid), phrase->tokens,
                            phrase->num_tokens, answer->how.reduction, row(to, first + i));
    }
}

static void copy_rows(const Rows *from, int first, int count, Rows *to, int at) {
    memcpy(row(to, at), row(from, first),
           (size_t)count * (size_t)cells_of(from->grid) * sizeof *from->values);
}

static Rows rows_of_layers(const ExplorerAnswer *answer, bool with_tokens) {
    const Answer *of = answer->answer;
    int tokens = with_tokens ? of->num_tokens : 0, of_layer = answer->num_phrases + tokens + 1;
    Rows all = rows_new(of->grid, of->layers * of_layer);
    for (int layer = 0; layer < of->layers; layer++) {
        Rows rows = deviations(of, &answer->how, &layer, 1);
        int first = layer * of_layer;
        group(answer, &rows, &all, first);
        copy_rows(&rows, 0, tokens, &all, first + answer->num_phrases);
        copy_rows(&rows, of->num_tokens, 1, &all, first + of_layer - 1);
        free(rows.values);
    }
    return all;
}

/// Sets a strip of the rows, which it frees.
static bool set_strip(json_t *maps, const char *name, Rows *rows, int shrink_side, int levels,
                      Error *error) {
    shrink(rows, shrink_side);
    json_t *strip = strip_of(rows, levels, error);
    free(rows->values);
    if (strip) json_object_set_new(maps, name, strip);
    return strip;
}

json_t *explorer_maps(const ExplorerAnswer *answer, const MapDetail *detail, Error *error) {
    const Answer *of = answer->answer;
    json_t *maps = json_object();
    Rows tokens = deviations(of, &answer->how, answer->how.layers, answer->how.num_layers),
         phrases = rows_new(of->grid, answer->num_phrases + 1);
    group(answer, &tokens, &phrases, 0);
    copy_rows(&tokens, of->num_tokens, 1, &phrases, answer->num_phrases);
    bool ok = set_strip(maps, "phrases", &phrases, 1, 256, error);
    tokens.count = of->num_tokens;
    if (ok && detail->token_levels && tokens.count)
        ok = set_strip(maps, "tokens", &tokens, detail->token_shrink, detail->token_levels, error);
    else
        free(tokens.values);
    if (ok && detail->layer_levels && of->layers > 1) {
        Rows layers = rows_of_layers(answer, detail->token_layers);
        ok = set_strip(maps, "layers", &layers, detail->layer_shrink, detail->layer_levels, error);
    }
    if (ok) return maps;
    json_decref(maps);
    return NULL;
}
