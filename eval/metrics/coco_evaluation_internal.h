/// What matching leaves behind for the figures. Not for use outside of coco_*.c.
#pragma once
#include "eval/metrics/coco_evaluation.h"

enum { COCO_NUM_THRESHOLDS = 10, COCO_NUM_AREAS = 4, COCO_MOST_DETECTIONS = 100 };

/// A detection, matched: bit t is threshold t.
typedef struct CocoMatch {
    double score;
    int image;
    /// by score, within its image and category
    int rank;
    /// matched a truth; does not count (matched a crowd or a truth of another area, or matched none
    /// and is of another area itself)
    uint16_t is_matched[COCO_NUM_AREAS], is_ignored[COCO_NUM_AREAS];
} CocoMatch;

/// The truth of one image that counts, by area.
typedef struct CocoTruthCount {
    int image;
    int count[COCO_NUM_AREAS];
} CocoTruthCount;

typedef struct CocoCategoryMatches {
    /// from the highest score down, those of equal score in the order of images
    CocoMatch *matches;
    int num_matches;
    CocoTruthCount *truths;
    int num_truths;
} CocoCategoryMatches;

struct CocoEvaluation {
    CocoCategoryMatches *categories;
    int num_categories, num_images;
};
