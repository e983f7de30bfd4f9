/// Point accuracy: how often the point of a noun lies in a ground-truth mask of its class. Measures
/// attention alone, without any segmenter: the quickest health check of emergent grounding.
#pragma once
#include "data/coco_annotations.h"
#include "eval/attention/grounding.h"

typedef struct PointAccuracy {
    int64_t images;
    /// said about objects: names of a category
    int64_t nouns;
    /// of these, nouns whose class is in the image; the figures below are over them
    int64_t present;
    /// points inside a mask of the noun's class
    int64_t hits;
    /// the image's centre pixel instead
    int64_t centre_hits;
    /// a uniformly random point instead: sum of the classes' shares of their images
    double random_hits;
    /// sum of IoU of the phrase's mask with the class's mask (0 where there is no mask)
    double iou;
} PointAccuracy;

/// About one phrase: whether its class is in the image, and whether its point lies in a mask of it.
typedef struct PointVerdict {
    bool present, hit;
} PointVerdict;

/// Counts one image's grounded answer. Categories of the phrases are indices into
/// annotations->category_names. `verdicts` [grounding->count] receives what was found about each
/// phrase; NULL: not wanted.
void point_accuracy_add(PointAccuracy *sum, const CocoAnnotations *annotations, int image,
                        const Grounding *grounding, PointVerdict *verdicts);

/// hits / present; 0 if nothing was said.
double point_accuracy_share(double hits, const PointAccuracy *sum);
