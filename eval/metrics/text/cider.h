/// CIDEr of captions [Vedantam et al. 2015, arXiv 1411.5726], as pycocoevalcap computes it.
///
/// What goes by the name there, and in published figures, is the paper's CIDEr-D without stemming:
/// n-grams of 1 to 4 words weighted by count times log(images / images with the n-gram among their
/// references), counts of the candidate clipped to the reference's, a Gaussian penalty (sigma 6) on
/// the difference of lengths (counted in bigrams), cosines averaged over n and over references,
/// times 10. The document frequencies are those of the references that are evaluated: a subset of
/// the images has other frequencies, and so other scores of the same captions. One image alone has
/// score 0.
#pragma once
#include "eval/metrics/text/caption_tokens.h"

#include <stdint.h>

typedef struct CiderScores {
    int count;
    /// [count], of each image
    double *scores;
} CiderScores;

CiderScores *cider_scores(const CaptionTokens *tokens);
void cider_scores_free(CiderScores *scores);

/// Mean score, images counted `times` [count] times each (NULL: once); 0 of no images. For a
/// bootstrap over images: the document frequencies stay those of the whole set.
double cider_corpus(const CiderScores *scores, const uint32_t *times);
