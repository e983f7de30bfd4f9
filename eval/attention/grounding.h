/// Where the words of an answer point: attend-and-segment's reading of attention, from token maps
/// to a point per phrase (arXiv 2410.08209, section 3.2).
#pragma once
#include "eval/attention/answer.h"
#include "eval/phrases/phrases.h"
#include "eval/segmenters/segmenter.h"

/// How attention is read.
typedef struct GroundingOptions {
    GroupReduction reduction;
    /// the answer's mean map is subtracted from every map
    bool normalise;
    /// the corner cells get the smallest value of all maps of the answer's groups (groundLMM's
    /// `remove_corner`)
    bool remove_corner;
    /// which of the answer's layers and heads are averaged; NULL: all
    const int *layers, *heads;
    int num_layers, num_heads;
} GroundingOptions;

/// An answer whose maps are averaged and normalised; it refers to the answer.
typedef struct ReadAnswer {
    const Answer *answer;
    GroundingOptions options;
    /// [num_tokens][cells], owned
    float *maps;
    /// of the maps of groups that were noted
    float smallest;
} ReadAnswer;

ReadAnswer answer_read(const Answer *answer, const GroundingOptions *options);
void read_answer_free(ReadAnswer *read);
/// With remove_corner: lets the group's map count for what the corner cells become. Every group of
/// an answer is to be noted before the first one points; a group's own map counts in any case.
/// tokens: indices, at least one.
void read_answer_note_group(ReadAnswer *read, const int *tokens, int num_tokens);

/// Where a group of tokens looks.
typedef struct Pointing {
    /// [cells] the group's map; owned
    float *map;
    /// [image_height * image_width] the same upsampled; owned
    float *heat;
    Point point;
} Pointing;

/// tokens: indices, at least one.
Pointing point_of_tokens(const ReadAnswer *read, const int *tokens, int num_tokens);
void pointing_free(Pointing *pointing);

/// What a segmenter that has seen the picture finds at the point of an answer's tokens; truth: the
/// picture's true masks [num_truth], for the segmenter that takes the true one. Free with
/// segments_free().
bool segments_of_pointing(Segmenter *segmenter, const Answer *answer, const Pointing *pointing,
                          const CocoMask *truth, int num_truth, Segments *segments, Error *error);

/// tokens_of_span() (eval/phrases/token_spans.h) of an answer.
int tokens_overlapping(const Answer *answer, int begin, int end, int *tokens);

/// A phrase and the point that attention gives it.
typedef struct GroundedPhrase {
    Phrase phrase;
    Point point;
    /// [cells] and, upsampled, [height * width]: Pointing's
    float *map, *heat;
    /// [height * width], 0 or 1; NULL without a segmenter, or where it finds nothing
    uint8_t *mask;
} GroundedPhrase;

typedef struct Grounding {
    GroundedPhrase *items;
    int count;
} Grounding;

/// Points of phrases: of each the tokens that overlap its noun. Phrases without a token are left
/// out. No masks yet.
Grounding ground_phrases(const Answer *answer, const PhraseList *phrases,
                         const GroundingOptions *options);
/// Gives every phrase its mask by a segmenter that has seen the answer's picture.
bool ground_masks(Grounding *grounding, const Answer *answer, Segmenter *segmenter, Error *error);
/// The same by region growing. rgb [height,width,3].
void ground_masks_by_region_growing(Grounding *grounding, const uint8_t *rgb, int height,
                                    int width);
void grounding_free(Grounding *grounding);
