/// What can be known of a data set before a run begins: that its samples suit the configuration,
/// and that something will be learned.
///
/// train asks before its first step, and every rank comes to the same answer; plan lists every
/// reason.
#pragma once
#include "data/llava_dataset.h"
#include "data/tokenizers/tokenizer.h"
#include "train/config/config.h"

typedef struct TrainingFacts {
    const Config *config;
    const Tokenizer *tokenizer;
    /// What an image becomes.
    int num_visual_tokens;
    const Dataset *data;
    /// data.eval and not data.train: it need not teach.
    bool is_held_out;
} TrainingFacts;

enum { TRAINING_CHECKS = 4 };

/// Makes check number `check` (0 to TRAINING_CHECKS - 1). On failure *key is the configuration's
/// key that it is about.
bool training_check(int check, const TrainingFacts *facts, const char **key, Error *error);

/// The part of it that needs no data: an image fits into data.model_max_length with a token before
/// and after it.
bool training_check_image_fits(const Config *config, int num_visual_tokens, Error *error);
