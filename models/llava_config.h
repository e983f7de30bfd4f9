/// What the configuration of a LLaVA checkpoint says of the images that its language model was
/// trained with.
#pragma once
#include "autograd/error.h"

#include <stdbool.h>

/// Checks the keys "mm_..." in the configuration of the language model in `directory` against what
/// the LLaVA of this program is: the hidden state before the last layer of a CLIP tower of that
/// width, without its class token, through a projector of two layers. True without such keys and
/// for a folder without a configuration, which is somebody else's complaint.
bool llava_config_check(const char *directory, int clip_width, Error *error);
