/// An answer with its attention, and where each phrase of it points.
#pragma once
#include "eval/attention/attention_map.h"
#include "eval/phrases/phrases.h"

#include <stdint.h>

/// A generated (or given) text, token by token, with the attention of each token over the visual
/// tokens.
typedef struct Answer {
    char *text;
    int num_tokens;
    int *token_begin,
        /// bytes of each token in the text (equal for tokens without text, such as </s>)
        *token_end;
    /// the visual tokens are grid x grid cells
    int grid;
    /// [num_tokens][grid * grid], mean over the chosen layers and heads
    float *maps;
} Answer;

void answer_free(Answer *answer);

/// A phrase and the point that attention gives it.
typedef struct GroundedPhrase {
    Phrase phrase;
    Point point;
    /// [height * width]: the upsampled map
    float *heat;
    /// [height * width], 0 or 1; NULL without a segmenter
    uint8_t *mask;
} GroundedPhrase;

typedef struct Grounding {
    GroundedPhrase *items;
    int count;
} Grounding;

/// Reads attention as attend-and-segment does: maps normalised over the answer (a copy; the answer
/// keeps its own), the tokens that overlap a phrase's noun reduced to one map, upsampled, its
/// largest pixel taken. Phrases without a token are left out. No masks yet.
Grounding ground_phrases(const Answer *answer, const PhraseList *phrases, GroupReduction reduction,
                         TokenSquare square, int height, int width);
/// Gives every phrase its mask by region growing. rgb [height,width,3].
void ground_masks_by_region_growing(Grounding *grounding, const uint8_t *rgb, int height,
                                    int width);
void grounding_free(Grounding *grounding);
