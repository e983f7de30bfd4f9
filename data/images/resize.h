/// Changing the size of pictures and maps.
#pragma once
#include "data/images/image.h"
#include "data/images/resize_rows.h"

/// Pillow's Image.resize: the filter's support grows with the reduction (antialias), bicubic with a
/// = -0.5, and 8-bit rounding between the horizontal and the vertical pass, which is the second, as
/// in every Pillow up to 12.3: equal to those byte for byte. Pillow 13.0 begins with the vertical
/// pass for some sizes (most of them taller than wide), and some values then differ by its
/// rounding. Returns a new image of `width` x `height` (positive, within image.h's limit) that the
/// caller frees.
Image image_resize(const Image *image, int width, int height, ResizeFilter filter);

/// The same pixels as making the canvas, resizing it to `width` x `height` with image_resize() and
/// cutting out the part, without the rest of the work.
Image image_resize_part(const Image *image, const ResizeCanvas *canvas, int width, int height,
                        const ResizePart *part, ResizeFilter filter);

/// PyTorch's interpolate(mode="bicubic", align_corners=False): a = -0.75, no antialias, borders
/// repeated. x: [height, width], out: [out_height, out_width].
void resize_bicubic_float(const float *x, int height, int width, float *out, int out_height,
                          int out_width);
