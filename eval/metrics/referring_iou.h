/// Figures of referring expression segmentation: gIoU, the mean over expressions of the IoU of mask
/// and truth; cIoU, the sum of all intersections over the sum of all unions; and precision, the
/// share of expressions with an IoU of at least a threshold.
/// [Yu et al. 2016, arXiv 1608.00272; Lai et al. 2023 (LISA), arXiv 2308.00692]
#pragma once
#include "data/coco_mask.h"

/// One expression's mask against the truth.
typedef struct ReferringOverlap {
    int image;
    int64_t intersection, union_area;
} ReferringOverlap;

/// prediction: NULL where none was made, which is an empty mask. Of the truth's size.
ReferringOverlap referring_overlap(int image, const CocoMask *truth, const CocoMask *prediction);

typedef enum ReferringRule {
    /// intersection / union; 0 where both are empty
    REFERRING_EXACT,
    /// as LISA and GLaMM count: 1e-5 is added to each union, and where both are empty it is 1; to
    /// the sum of unions 1e-10 is added
    REFERRING_AS_LISA,
} ReferringRule;

/// All expressions of an evaluation; the context of the figures below.
typedef struct ReferringOverlaps {
    const ReferringOverlap *items;
    int count;
    ReferringRule rule;
    /// for referring_precision()
    double threshold;
} ReferringOverlaps;

double referring_iou_of(const ReferringOverlap *overlap, ReferringRule rule);

/// The figures, as bootstrap_interval() takes them (eval/metrics/bootstrap.h); context:
/// ReferringOverlaps. times: how often each image's expressions count; NULL: once. NaN without any
/// expression; cIoU also where all unions are empty.
double referring_giou(const void *context, const uint32_t *times);
double referring_ciou(const void *context, const uint32_t *times);
double referring_precision(const void *context, const uint32_t *times);
