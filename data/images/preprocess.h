/// From a picture of any size to the square of numbers that the networks see, as LLaVA and
/// CLIPImageProcessor do it.
#pragma once
#include "data/images/image.h"

/// image_aspect_ratio.
typedef enum ImageAspect {
    /// "square": shortest edge resized to the size, centre cropped (stage 1)
    IMAGE_CENTER_CROP,
    /// "pad": padded to a square with the normalisation's colour, picture centred, then resized
    /// (stage 2)
    IMAGE_PAD,
} ImageAspect;

/// image_normalization: what numbers stand for a pixel, u = pixel / 255, and with which colour,
/// int(255 * mean), a picture is padded.
typedef enum ImageNormalization {
    /// "half": (u - 0.5) / 0.5, in [-1, 1]; (127, 127, 127)
    IMAGE_NORMALIZATION_HALF,
    /// "clip_twice": (u - mean) / std with CLIP's mean and std of each channel, -1.8 to 2.2;
    /// (122, 116, 104). DiffLMM's published adapters were trained so: the VAE gets these numbers,
    /// and as they are then taken for numbers in [-1, 1], CLIP gets them normalised again.
    IMAGE_NORMALIZATION_CLIP_TWICE,
} ImageNormalization;

/// Where the picture's pixels lie in the square, in continuous coordinates (a pixel's centre is at
/// +0.5): square = original * scale + offset, for x and y. With padding, the square's border shows
/// no original pixel; with cropping, some original pixels lie outside of [0, size].
typedef struct ImageGeometry {
    int original_width;
    int original_height;
    /// side of the square
    int size;
    double scale_x, scale_y;
    double offset_x, offset_y;
} ImageGeometry;

/// How the networks see a picture.
typedef struct ImageView {
    ImageAspect aspect;
    ImageNormalization normalization;
    /// side of the square in pixels
    int size;
} ImageView;

/// Makes the square (bicubic), out: [size, size, 3], normalised. Fails for pictures so long and
/// thin that the resized one would pass the limit of pixels; out is 0 then.
bool image_preprocess(const Image *image, const ImageView *view, float *out,
                      ImageGeometry *geometry, Error *error);
/// The same of a file in memory, while its rows are decoded (data/images/image_rows.h); `name` is
/// for messages. Fails where image_decode() does, too.
bool image_decode_preprocess(const void *bytes, size_t size, const char *name,
                             const ImageView *view, float *out, ImageGeometry *geometry,
                             Error *error);
/// The same of a file, or of a member of an archive.
bool image_read_preprocess(const char *path, const ImageView *view, float *out,
                           ImageGeometry *geometry, Error *error);

/// The whole picture, its longer side of `size` pixels and the other rounded (bilinear), as
/// segment-anything's ResizeLongestSide does it; the caller frees *resized. Fails for pictures so
/// long and thin that nothing of a side would be left.
bool image_resize_longest_side(const Image *image, int size, Image *resized, Error *error);
