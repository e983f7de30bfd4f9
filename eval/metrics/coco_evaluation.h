/// COCO's detection figures: average precision and recall over IoU thresholds, areas and numbers of
/// detections, as pycocotools' COCOeval gives them for "segm" and "bbox".
/// [Lin et al. 2014, arXiv 1405.0312; cocodataset.org, "detection evaluation"]
///
/// Matching is done once. The figures can then be had for the images as they are or for any
/// multiset of them: as if each image stood there as often as told, copies next to each other.
#pragma once
#include "data/coco_mask.h"

/// What overlap is measured on.
typedef enum CocoOverlap { COCO_SEGM, COCO_BBOX } CocoOverlap;

typedef struct CocoTruth {
    int image, category;
    /// the annotation's "area", which the ranges small, medium and large are of
    double area;
    /// matched by any number of detections, and never counted as missed
    bool is_crowd;
    /// x, y, width, height; for COCO_BBOX
    double box[4];
    /// for COCO_SEGM; borrowed while the evaluation is made
    const CocoMask *mask;
} CocoTruth;

typedef struct CocoDetection {
    int image, category;
    /// finite
    double score;
    double box[4];
    const CocoMask *mask;
} CocoDetection;

typedef enum CocoFigure {
    /// mean over the thresholds 0.50, 0.55, ..., 0.95, of at most 100 detections per image and
    /// category; the next two at one threshold, the three behind them of objects of below 32^2, up
    /// to 96^2 and more pixels
    COCO_AP,
    COCO_AP50,
    COCO_AP75,
    COCO_AP_SMALL,
    COCO_AP_MEDIUM,
    COCO_AP_LARGE,
    /// of at most 1, 10, 100 detections, then of 100 by area
    COCO_AR_1,
    COCO_AR_10,
    COCO_AR_100,
    COCO_AR_SMALL,
    COCO_AR_MEDIUM,
    COCO_AR_LARGE,
    COCO_NUM_FIGURES,
} CocoFigure;

/// "AP", "AP50", "ARs", ...
extern const char *const COCO_FIGURE_NAMES[COCO_NUM_FIGURES];

typedef struct CocoEvaluation CocoEvaluation;

/// Matches detections with the truth of their image and category. Images are 0 .. num_images - 1 in
/// the order that decides between detections of equal score: COCOeval's is that of ascending ids.
/// Masks of an image must have one size. Unlike in COCOeval a truth has no id, so none is unmatched
/// because its id is 0. The caller frees it by coco_evaluation_free().
CocoEvaluation *coco_evaluation_new(CocoOverlap overlap, const CocoTruth *truths, int num_truths,
                                    const CocoDetection *detections, int num_detections,
                                    int num_images, int num_categories);
void coco_evaluation_free(CocoEvaluation *evaluation);

/// All figures of one category, or of category -1: their mean over the categories that have any
/// truth. times: [num_images] how often each image counts; NULL: once each. A figure that nothing
/// is there for (no truth of that area) is -1.
void coco_evaluation_figures(const CocoEvaluation *evaluation, int category, const uint32_t *times,
                             double figures[COCO_NUM_FIGURES]);

/// One figure, for bootstrap_interval() (eval/metrics/bootstrap.h); context: a CocoFigureOf. NaN
/// where nothing is there for it.
typedef struct CocoFigureOf {
    const CocoEvaluation *evaluation;
    int category;
    CocoFigure figure;
} CocoFigureOf;
double coco_evaluation_figure(const void *context, const uint32_t *times);
