/// The attention that chosen tokens pay to a range of keys (the visual tokens), layer by layer and
/// head by head.
///
/// What is delivered are probabilities after the softmax over everything that the token sees; over
/// the range they sum to less than one, and nothing renormalises them here.
#pragma once
#include "ops/ops.h"

/// Which row's attention belongs to a token: that of the token before it, which produced it, or its
/// own.
typedef enum AttentionRow { ATTENTION_PRODUCING_ROW, ATTENTION_OWN_ROW } AttentionRow;

/// What of a token's maps is averaged, each map as much as another.
typedef enum AttentionMean {
    ATTENTION_APART,
    /// over the chosen layers and heads: one map
    ATTENTION_MEAN,
    /// over the chosen heads: a map per layer
    ATTENTION_MEAN_OF_HEADS
} AttentionMean;

/// Which layers and heads, and whether apart or averaged.
typedef struct AttentionSelection {
    /// increasing; NULL: all
    const int *layers;
    int num_layers;
    /// increasing; NULL: all
    const int *heads;
    int num_heads;
    AttentionMean mean;
} AttentionSelection;

/// [rows][layers][heads][keys]; what is averaged over is 1. Zero is an empty one; free
/// with attention_maps_free().
typedef struct AttentionMaps {
    int rows, capacity;
    int layers, heads, keys;
    float *values;
} AttentionMaps;

/// One row to capture: where it stands in the forward pass and where its attention goes.
typedef struct CaptureRow {
    /// of the packed queries
    int32_t row;
    /// where the range begins, counted from the sequence's first token
    int first_key;
    /// attention to keys first_key .. first_key + maps->keys
    AttentionMaps *maps;
    /// from attention_maps_add_row()
    int map_row;
} CaptureRow;

/// What a forward pass is asked to deliver.
typedef struct LlamaCapture {
    const AttentionSelection *selection;
    int num_rows;
    const CaptureRow *rows;
} LlamaCapture;

/// Fails if a listed layer or head does not exist or the lists do not increase.
bool attention_selection_check(const AttentionSelection *selection, int num_layers, int num_heads,
                               Error *error);
/// Empty maps for this selection of a model with so many layers and heads.
AttentionMaps attention_maps_new(const AttentionSelection *selection, int num_layers, int num_heads,
                                 int keys);
void attention_maps_free(AttentionMaps *maps);
/// Appends a row of zeros and returns its index.
int attention_maps_add_row(AttentionMaps *maps);
/// The map of one row: [layers][heads][keys].
float *attention_maps_row(const AttentionMaps *maps, int row);

/// Delivers one layer's part: q and k after the rotary embedding, as scaled_dot_product_attention()
/// gets them.
void attention_capture_layer(const LlamaCapture *capture, int layer, int num_layers, Tensor *q,
                             Tensor *k, Attention shape);
