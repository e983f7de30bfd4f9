/// Where a phrase looked: its map over the picture.
#pragma once
#include "data/images/image.h"

/// The image, enlarged `scale` times (>= 1), dimmed and tinted by the map [height * width of the
/// image] from dark violet, its smallest value, over red and orange to light yellow, its largest. A
/// map of one value alone is dark. The caller frees the result.
Image attention_picture(const Image *image, const float *map, int scale);
