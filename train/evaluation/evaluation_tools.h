/// What judging takes beside answers: who finds phrases, and who makes masks.
#pragma once
#include "eval/tasks/judging.h"
#include "train/config/config.h"

/// Whether a network makes the masks of the configured task, for which a device is needed.
bool evaluation_tools_need_device(const Config *config);
/// Opens the phrase finder and the segmenter that the configured task uses into options->phrases
/// and options->segmenter, which are zeros. `device`: where a network runs. To be closed also on
/// failure.
bool evaluation_tools_open(const Config *config, Device *device, JudgingOptions *options,
                           Error *error);
void evaluation_tools_close(JudgingOptions *options);
