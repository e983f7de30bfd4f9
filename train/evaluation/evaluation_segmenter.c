#include "train/evaluation/evaluation_setup.h"

bool evaluation_segmenter(const Config *config, Device *device, Segmenter **segmenter,
                          Error *error) {
    const EvalSection *eval = &config->eval;
    (void)device;
    *segmenter = NULL;
    switch (eval->segmenter) {
    case SEGMENTER_NONE:
        return true;
    case SEGMENTER_REGION_GROWING:
        *segmenter = segmenter_region_growing();
        return true;
    case SEGMENTER_TRUTH:
        *segmenter = segmenter_truth();
        return true;
    case SEGMENTER_SAM:
    case SEGMENTER_REGIONS:
        break;
    }
    return config_refuse(config, "eval.segmenter", error, "is not there yet");
}
