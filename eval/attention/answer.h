/// What a model said about an image and where it looked, token by token: all that judging needs of
/// the model.
#pragma once
#include "eval/attention/attention_map.h"

#include <stdint.h>

/// Which maps of a token are kept: their mean, one per layer (the mean over heads), or all.
typedef enum KeptMaps { KEEP_MEAN, KEEP_LAYERS, KEEP_HEADS } KeptMaps;

/// Tokens [begin, end) of an answer that belong together: an utterance of a given text.
typedef struct TokenRange {
    int begin, end;
} TokenRange;

/// A generated (or given) text with the attention of each token over the visual tokens. Zeros are
/// an empty one.
typedef struct Answer {
    /// UTF-8
    char *text;
    int num_tokens;
    /// [num_tokens]
    int32_t *ids;
    /// [num_tokens] bytes of each token in the text (equal for tokens without text, such as </s>)
    int32_t *token_begin, *token_end;
    /// the visual tokens
    CellGrid grid;
    /// of the maps; 1 and 1 where they are averaged
    int layers, heads;
    /// [num_tokens][layers][heads][grid.rows * grid.columns]
    float *maps;
    /// of a given text: its utterances, in order; NULL for a generated one
    TokenRange *utterances;
    int num_utterances;
    /// which pixels of the original image the visual tokens cover
    TokenFrame frame;
    /// of the original image
    int image_height, image_width;
    /// by the model's end of sequence, not by the limit of new tokens; a given text: not cut off by
    /// the longest sequence
    bool ended;
} Answer;

void answer_free(Answer *answer);

/// The answer's maps [num_tokens][rows * columns], averaged over its layers and heads in the order
/// in which asking averages them; the caller frees them. layers and heads: indices into those that
/// the answer has, NULL: all.
float *answer_mean_maps(const Answer *answer, const int *layers, int num_layers, const int *heads,
                        int num_heads);
