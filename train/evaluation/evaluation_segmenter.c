#include "train/evaluation/evaluation_setup.h"

/// Whether eval.annotations lists the images that the regions belong to.
static const char *images_of(const Config *config) {
    const EvalSection *eval = &config->eval;
    return eval->region_images                     ? eval->region_images
           : evaluation_task(config)->lists_images ? eval->annotations
                                                   : NULL;
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
        *segmenter = segmenter_regions(eval->regions, images_of(config), error);
        break;
    }
    return *segmenter != NULL;
}
