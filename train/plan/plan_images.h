/// difflmm plan --check-images: every image of the data, as a training would see it.
#pragma once
#include "train/config/config.h"

#include <stdio.h>

/// Decodes the images of data.train and data.eval, whatever data.missing_image says, each file
/// once, on all cores, and prints a line for every one that cannot be used, with its sample, in the
/// samples' order, and one of how many there are. Sets *bad to their number. Fails where the data
/// cannot be read, and on a request to stop. progress: NULL for none.
bool plan_check_images(const Config *config, FILE *out, FILE *progress, int64_t *bad, Error *error);
