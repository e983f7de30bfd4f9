#include "train/evaluation/evaluation_tools.h"

#include "train/evaluation/evaluation_setup.h"

bool evaluation_tools_need_device(const Config *config) {
    return evaluation_task(config)->looks && config->eval.segmenter == SEGMENTER_SAM;
}

bool evaluation_tools_open(const Config *config, Device *device, JudgingOptions *options,
                           Error *error) {
    const Task *task = evaluation_task(config);
    if (task->finds_phrases) {
        options->phrases = phrase_finder_open(config->eval.phrases, error);
        if (!options->phrases) return false;
    }
    return !task->looks || evaluation_segmenter(config, device, &options->segmenter, error);
}

void evaluation_tools_close(JudgingOptions *options) {
    if (options->segmenter) options->segmenter->close(options->segmenter);
    phrase_finder_close(options->phrases);
    options->segmenter = NULL;
    options->phrases = NULL;
}
