#include "models/language/attention_capture.h"

#include <stdlib.h>
#include <string.h>

static bool check_list(const char *what, const int *list, int count, int limit, Error *error) {
    if (list && count == 0)
        return error_set(error, "%s: the list is empty; give none for all", what);
    for (int i = 0; list && i < count; i++) {
        if (list[i] < 0 || list[i] >= limit)
            return error_set(error, "%s: %d is none of the model's 0..%d", what, list[i],
                             limit - 1);
        if (i && list[i] <= list[i - 1])
            return error_set(error, "%s: %d follows %d; list each once, in increasing order", what,
                             list[i], list[i - 1]);
    }
    return true;
}

bool attention_selection_check(const AttentionSelection *selection, int num_layers, int num_heads,
                               Error *error) {
    return check_list("layers", selection->layers, selection->num_layers, num_layers, error) &&
           check_list("heads", selection->heads, selection->num_heads, num_heads, error);
}

AttentionMaps attention_maps_new(const AttentionSelection *selection, int num_layers, int num_heads,
                                 int keys) {
    AttentionMaps maps = {.layers = 1, .heads = 1, .keys = keys};
    if (selection->mean != ATTENTION_MEAN)
        maps.layers = selection->layers ? selection->num_layers : num_layers;
    if (selection->mean == ATTENTION_APART)
        maps.heads = selection->heads ? selection->num_heads : num_heads;
    return maps;
}

void attention_maps_free(AttentionMaps *maps) {
    free(maps->values);
    *maps = (AttentionMaps){0};
}

static size_t row_size(const AttentionMaps *maps) {
    return (size_t)maps->layers * (size_t)maps->heads * (size_t)maps->keys;
}

int attention_maps_add_row(AttentionMaps *maps) {
    if (maps->rows == maps->capacity) {
        maps->capacity = maps->capacity ? 2 * maps->capacity : 16;
        maps->values = checked_realloc(maps->values, (size_t)maps->capacity * row_size(maps) *
                                                         sizeof *maps->values);
    }
    memset(attention_maps_row(maps, maps->rows), 0, row_size(maps) * sizeof *maps->values);
    return maps->rows++;
}

float *attention_maps_row(const AttentionMaps *maps, int row) {
    return maps->values + (size_t)row * row_size(maps);
}

/// Where `layer` stands in the selection, or -1.
static int layer_slot(const AttentionSelection *selection, int layer) {
    if (!selection->layers) return layer;
    for (int i = 0; i < selection->num_layers; i++)
        if (selection->layers[i] == layer) return i;
    return -1;
}

/// `probabilities`: [heads][max_k_length] of one row.
static void deliver_row(const LlamaCapture *capture, const CaptureRow *row, int slot,
                        int num_layers, const float *probabilities, const Attention *shape) {
    const AttentionSelection *selection = capture->selection;
    AttentionMaps *maps = row->maps;
    int layers = selection->layers ? selection->num_layers : num_layers;
    int heads = selection->heads ? selection->num_heads : shape->heads;
    int keys = maps->keys;
    if (keys > shape->max_k_length - row->first_key) keys = shape->max_k_length - row->first_key;
    float averaged = selection->mean == ATTENTION_MEAN            ? (float)layers * (float)heads
                     : selection->mean == ATTENTION_MEAN_OF_HEADS ? (float)heads
                                                                  : 1.0f;
    float weight = 1.0f / averaged;
    for (int h = 0; h < heads; h++) {
        int head = selection->heads ? selection->heads[h] : h;
        const float *from = probabilities + (size_t)head * shape->max_k_length + row->first_key;
        float *to = attention_maps_row(maps, row->map_row);
        if (selection->mean == ATTENTION_APART) to += ((size_t)slot * heads + h) * maps->keys;
        if (selection->mean == ATTENTION_MEAN_OF_HEADS) to += (size_t)slot * maps->keys;
        for (int i = 0; i < keys; i++) to[i] += weight * from[i];
    }
}

void attention_capture_layer(const LlamaCapture *capture, int layer, int num_layers, Tensor *q,
                             Tensor *k, Attention shape) {
    int slot = layer_slot(capture->selection, layer), n = capture->num_rows;
    if (slot < 0 || n == 0) return;
    scope_begin();
    int32_t *rows = checked_malloc((size_t)n * sizeof *rows);
    for (int i = 0; i < n; i++) rows[i] = capture->rows[i].row;
    Tensor *p = attention_rows(q, k, shape, tensor_from_host(q->device, INT32, SHAPE(n), rows));
    float *host = checked_malloc((size_t)tensor_numel(p) * sizeof *host);
    tensor_to_host_float(p, host);
    for (int i = 0; i < n; i++)
        deliver_row(capture, &capture->rows[i], slot, num_layers,
                    host + (size_t)i * shape.heads * shape.max_k_length, &shape);
    free(host);
    free(rows);
    scope_end();
}
