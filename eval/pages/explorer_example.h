/// An example as the explorer's script reads it (eval/pages/explorer.h).
#pragma once
#include "eval/pages/explorer.h"

#include <jansson.h>

/// {"id", "question", "number", "size": [width, height], "picture": URL, "answers": [ANSWER or
/// null...]}, of at most EXPLORER_EXAMPLE_BYTES as text where that can be done. The caller has the
/// reference; NULL on failure.
///
///   ANSWER  {"words", "pieces" (explorer_words.h), "phrases": [PHRASE...], "maps"
///   (explorer_maps.h),
///           "layers": their number, "frame": [height, width, top, left], "normalised", "corners":
///           whether these do not count, "figure"}
///   PHRASE  {"text", "words", "tokens", "point": [x, y], "mask", "truth": {"size": [height,
///   width],
///           "counts"} in pixels of the picture shown, "truth_name", "category", "hit", "iou"}
///
/// What is not known is null.
json_t *explorer_example(const ExplorerExample *example, Error *error);
