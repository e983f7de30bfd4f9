#include "train/evaluation/evaluation_setup.h"

/// Whether eval.annotations lists the images that the regions belong to.
static const char *images_of(const EvalSection *eval) {
    bool is_coco = eval->task == EVALUATE_POINTS || eval->task == EVALUATE_POINT_ACCURACY ||
                   eval->task == EVALUATE_INSTANCES || eval->task == EVALUATE_CAPTION;
    return eval->region_images ? eval->region_images : is_coco ? eval->annotations : NULL;
}

bool evaluation_segmenter(const Config *config, Device *device, Segmenter **segmenter,
                          Error *error) {
    const EvalSection *eval = &config->eval;
    switch (eval->segmenter) {
    case SEGMENTER_NONE:
        *segmenter = NULL;
        return true;
    case SEGMENTER_REGION_GROWING:
        *segmenter = segmenter_region_growing();
        break;
    case SEGMENTER_TRUTH:
        *segmenter = segmenter_truth();
        break;
    case SEGMENTER_SAM:
        *segmenter = segmenter_sam(eval->sam, device, eval->sam_prompt, error);
        break;
    case SEGMENTER_REGIONS:
        *segmenter = segmenter_regions(eval->regions, images_of(eval), error);
        break;
    }
    return *segmenter != NULL;
}
