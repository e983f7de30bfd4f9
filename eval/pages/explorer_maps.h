/// Attention maps in the explorer's page (eval/pages/explorer.h).
#pragma once
#include "eval/pages/explorer.h"

#include <jansson.h>

/// How much of an answer's maps is kept.
typedef struct MapDetail {
    /// of tokens, from lowest to highest value; 0: tokens' maps are left out
    int token_levels;
    /// of layers; 0: they are left out
    int layer_levels;
    /// tokens' maps of each layer are kept, not only the phrases'
    bool token_layers;
    /// cells of tokens' and of layers' maps are averaged in squares of this side
    int token_shrink, layer_shrink;
} MapDetail;

/// {"phrases": STRIP, "tokens": STRIP, "layers": STRIP}, where
///
///   STRIP  {"png", "ranges", "grid": [rows, columns]}: a grey picture in base64, a map per row,
///   its
///          cells in their order; map i's values are low + (high - low) * pixel / 255 with low and
///          high at ranges[2 i]
///
/// of deviations from the answer's mean map. "phrases": of every phrase (zeros of one that points
/// nowhere), behind them the mean map; "tokens": of every token; "layers", where the answer has
/// several: of each layer the phrases, the tokens if detail.token_layers, and the layer's mean map.
/// What is left out is not there. The caller has the reference; NULL on failure.
json_t *explorer_maps(const ExplorerAnswer *answer, const MapDetail *detail, Error *error);
