/// A sample of instruction data out of a pack.
#pragma once
#include "data/instruction_sample.h"

/// Reads the pack's sample `index`: its turns, with its tokens and, where the pack has it, its
/// picture, which are the pack's. A relative image name is one in `image_folder`. False if it is
/// damaged, or other than the pack's index says. The caller frees the sample in either case.
bool packed_sample_read(const Pack *pack, int64_t index, const char *image_folder, Sample *sample,
                        Error *error);
