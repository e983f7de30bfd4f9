#include "data/images/preprocess.h"
#include "data/images/image_codecs.h"
#include "data/images/resize.h"

enum { CHANNELS = 3, LEVELS = 256 };

/// Of u = pixel / 255.
typedef struct ChannelStatistics {
    float mean[CHANNELS], std[CHANNELS];
} ChannelStatistics;

static const ChannelStatistics STATISTICS[] = {
    [IMAGE_NORMALIZATION_HALF] = {{0.5f, 0.5f, 0.5f}, {0.5f, 0.5f, 0.5f}},
    // OPENAI_CLIP_MEAN and OPENAI_CLIP_STD of transformers, whatever the vision tower's own are
    [IMAGE_NORMALIZATION_CLIP_TWICE] = {{0.48145466f, 0.4578275f, 0.40821073f},
                                        {0.26862954f, 0.26130258f, 0.27577711f}},
};

static bool center_crop(const Image *image, int size, Image *square, ImageGeometry *geometry,
                        Error *error) {
    // The long edge is cut to an integer, as the reference does, so the two scales may differ
    // slightly.
    const bool wide = image->width > image->height;
    const int64_t shorter = wide ? image->height : image->width;
    const int64_t longer = wide ? image->width : image->height;
    const int64_t resized = (int64_t)((double)(size * longer) / (double)shorter);
    if (!image_check_size((uint64_t)resized, (uint64_t)size, "after resizing its shortest edge",
                          error))
        return error_context(error, "a picture of %d x %d pixels", image->width, image->height);
    const int width = wide ? (int)resized : size, height = wide ? size : (int)resized;
    const int left = (width - size) / 2, top = (height - size) / 2;
    const ResizeCanvas canvas = {.width = image->width, .height = image->height};
    *square = image_resize_part(image, &canvas, width, height, &(ResizePart){left, top, size, size},
                                RESIZE_BICUBIC);
    geometry->scale_x = (double)width / image->width;
    geometry->scale_y = (double)height / image->height;
    geometry->offset_x = -left;
    geometry->offset_y = -top;
    return true;
}

static bool pad(const Image *image, ImageNormalization normalization, int size, Image *square,
                ImageGeometry *geometry, Error *error) {
    const int side = image->width > image->height ? image->width : image->height;
    if (!image_check_size((uint64_t)side, (uint64_t)side, "after padding to a square", error))
        return error_context(error, "a picture of %d x %d pixels", image->width, image->height);
    const int left = (side - image->width) / 2, top = (side - image->height) / 2;
    ResizeCanvas canvas = {side, side, left, top, {0}};
    for (int c = 0; c < CHANNELS; c++)
        canvas.colour[c] = (uint8_t)(255 * STATISTICS[normalization].mean[c]);
    *square = image_resize_part(image, &canvas, size, size, &(ResizePart){0, 0, size, size},
                                RESIZE_BICUBIC);
    geometry->scale_x = geometry->scale_y = (double)size / side;
    geometry->offset_x = left * geometry->scale_x;
    geometry->offset_y = top * geometry->scale_y;
    return true;
}

bool image_preprocess(const Image *image, ImageAspect aspect, ImageNormalization normalization,
                      int size, Image *square, ImageGeometry *geometry, Error *error) {
    *geometry = (ImageGeometry){
        .original_width = image->width, .original_height = image->height, .size = size};
    return aspect == IMAGE_PAD ? pad(image, normalization, size, square, geometry, error)
                               : center_crop(image, size, square, geometry, error);
}

bool image_resize_longest_side(const Image *image, int size, Image *resized, Error *error) {
    const int longest = image->width > image->height ? image->width : image->height;
    const double scale = (double)size / longest;
    const int width = (int)(image->width * scale + 0.5),
              height = (int)(image->height * scale + 0.5);
    if (width < 1 || height < 1)
        return error_set(
            error,
            "a picture of %d x %d pixels is too thin: at %d pixels for its longer side "
            "nothing is left of the other",
            image->width, image->height, size);
    *resized = image_resize(image, width, height, RESIZE_BILINEAR);
    return true;
}

void image_to_float(const Image *image, ImageNormalization normalization, float *out) {
    const ChannelStatistics *of = &STATISTICS[normalization];
    float values[CHANNELS][LEVELS];
    for (int c = 0; c < CHANNELS; c++)
        for (int i = 0; i < LEVELS; i++)
            values[c][i] = ((float)(i * (1 / 255.0)) - of->mean[c]) / of->std[c];
    const int64_t count = (int64_t)image->width * image->height;
    for (int64_t i = 0; i < count; i++)
        for (int c = 0; c < CHANNELS; c++)
            out[CHANNELS * i + c] = values[c][image->pixels[CHANNELS * i + c]];
}
