/// Average recall of panoptic narrative grounding: the area under the curve of recall over the IoU
/// from which a phrase counts as found. [González et al. 2021, arXiv 2109.04988]
///
/// Recall at t is the share of phrases with an IoU of at least t, a step function, so the area from
/// 0 to 1 is the mean IoU exactly. The published scripts sum rectangles at steps of 1e-5 instead.
#pragma once
#include <stdbool.h>
#include <stdint.h>

/// One phrase's mask against its truth.
typedef struct PhraseOverlap {
    int image;
    /// 0 to 1
    double iou;
    bool is_thing, is_plural;
} PhraseOverlap;

typedef enum PhraseSubset {
    PHRASES_ALL,
    PHRASES_THINGS,
    PHRASES_STUFF,
    PHRASES_SINGULAR,
    PHRASES_PLURAL,
    NUM_PHRASE_SUBSETS,
} PhraseSubset;

/// "all", "things", ...
extern const char *const PHRASE_SUBSET_NAMES[NUM_PHRASE_SUBSETS];

/// The phrases of an evaluation; the context of the figures below.
typedef struct PhraseOverlaps {
    const PhraseOverlap *items;
    int count;
    PhraseSubset subset;
} PhraseOverlaps;

/// The figures, as bootstrap_interval() takes them (eval/metrics/bootstrap.h); context:
/// PhraseOverlaps. times: how often each image's phrases count; NULL: once. NaN without a phrase.
double average_recall(const void *context, const uint32_t *times);
/// The left Riemann sum over the thresholds 0, 1e-5, ..., 0.99999, as published [BCV-Uniandes/PNG,
/// wusize/F-LMM].
double average_recall_published(const void *context, const uint32_t *times);
