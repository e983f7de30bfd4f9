/// A folder of a whole multimodal model where one of its parts is wanted.
#pragma once
#include "models/weights.h"

/// Fails if the configuration has an object under one of the `parts` (ends with NULL), each of
/// which describes what is wanted within a whole model: "the language model". Nothing happens for
/// CLIP, whose text tower is no such language model.
void refuse_whole_model(Weights *weights, const char *wanted, const char *const *parts);
