/// The picture of a sample, wherever it is: a file, or in a pack.
#pragma once
#include "data/images/preprocess.h"
#include "data/instruction_sample.h"

/// Reads it; the sample has one. The caller frees the image.
bool sample_image_read(const Sample *sample, Image *image, Error *error);

/// Reads it and makes out: [size, size, 3], normalised, while it is decoded; out is 0 if that
/// fails. geometry: where its pixels went; NULL: not asked for.
bool sample_image_to_float(const Sample *sample, const ImageView *view, float *out,
                           ImageGeometry *geometry, Error *error);
