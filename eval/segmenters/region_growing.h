/// From a point to a mask without any weights: grows a region of similar colour around the point
/// and keeps the size at which the region is most stable.
#pragma once
#include <stdint.h>

/// What regions of a picture are grown by: CIELAB under D65 of the mean of the 3 x 3 pixels around
/// each, [height,width,3]. rgb: sRGB, [height,width,3] row-major. The caller frees it.
float *region_colours(const uint8_t *rgb, int height, int width);

/// colours: region_colours() of the picture. Writes 0 or 1 to mask [height*width]; the point itself
/// is always inside.
///
/// The flooding cost of a pixel is the smallest, over all paths from the point, of the largest
/// colour distance (CIE 1976 Delta E to the mean colour around the point) on the path. Regions
/// {cost <= t} nest; the one with the least relative growth over t is returned (the criterion of
/// maximally stable extremal regions, Matas et al. 2002), among those that cover at most 60% of the
/// image.
void region_growing(const float *colours, int height, int width, int row, int column,
                    uint8_t *mask);
