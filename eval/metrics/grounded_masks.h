/// Figures of grounded conversation generation that are about masks: AP50, mean IoU and mask recall
/// of captions whose phrases have masks. [Rasheed et al. 2024, arXiv 2311.03356, section 5.1;
/// mbzuai-oryx/groundingLMM, eval/gcg/evaluate.py]
#pragma once
#include "eval/annotations/grounded_captions.h"
#include "eval/metrics/coco_evaluation.h"

/// How alike two phrases are: published is the cosine of their BERT embeddings.
typedef double PhraseSimilarity(const void *context, const char *truth, const char *prediction);

typedef struct GroundedMaskImage {
    /// mean IoU of pairs of a predicted and a true mask: one to one, those of largest IoU first,
    /// while it is above 0; 0 without a pair
    double mean_iou;
    int num_pairs;
    /// true phrases, and how many of them were found: pairs as above, while the IoU is at least 0.5
    /// and the phrases at least 0.5 alike; the first pair that is not ends the search
    int num_phrases, num_found;
    /// of the truth or the prediction, numbers of phrases and masks differ: nobody knows whose mask
    /// is whose, and all phrases count as missed
    bool is_unequal;
} GroundedMaskImage;

typedef struct GroundedMasks {
    /// [num_images] in the order they were given
    GroundedMaskImage *images;
    int num_images;
    /// one category, all scores 1; images in the order of their ids as strings
    CocoEvaluation *evaluation;
    /// [num_images] place of each image in that order
    int *places;
} GroundedMasks;

/// Scores the predictions of images; predictions[i] is that of truths[i], an empty one where none
/// was made. Two empty masks have an IoU of 0. Predicted masks of another size than the true ones
/// are an error that names the image.
bool grounded_masks_score(const GroundedCaption *truths, const GroundedCaption *predictions,
                          int num_images, PhraseSimilarity *similarity,
                          const void *similarity_context, GroundedMasks *out, Error *error);
void grounded_masks_free(GroundedMasks *masks);

/// The figures, as bootstrap_interval() takes them (eval/metrics/bootstrap.h); context:
/// GroundedMasks. times: how often each image counts; NULL: once.
/// COCO's average precision at IoU 0.5; NaN without a true mask.
double grounded_masks_ap50(const void *context, const uint32_t *times);
/// Mean over the images; NaN without one.
double grounded_masks_mean_iou(const void *context, const uint32_t *times);
/// Found phrases among the true phrases of all images; 0 without a phrase, as published.
double grounded_masks_recall(const void *context, const uint32_t *times);
