#include "data/images/preprocess.h"
#include "data/images/image_codecs.h"
#include "data/images/resize.h"

#include <string.h>

/// int(0.5 * 255): the grey that a mean of 0.5 stands for.
enum { PAD_VALUE = 127 };

static Image crop(const Image *image, int left, int top, int width, int height) {
    Image result = image_new(width, height);
    for (int y = 0; y < height; y++)
        memcpy(result.pixels + (size_t)y * (size_t)width * 3,
               image->pixels + ((size_t)(y + top) * (size_t)image->width + (size_t)left) * 3,
               (size_t)width * 3);
    return result;
}

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
    Image scaled = image_resize(image, width, height, RESIZE_BICUBIC);
    *square = crop(&scaled, left, top, size, size);
    image_free(&scaled);
    geometry->scale_x = (double)width / image->width;
    geometry->scale_y = (double)height / image->height;
    geometry->offset_x = -left;
    geometry->offset_y = -top;
    return true;
}

static bool pad(const Image *image, int size, Image *square, ImageGeometry *geometry,
                Error *error) {
    const int side = image->width > image->height ? image->width : image->height;
    if (!image_check_size((uint64_t)side, (uint64_t)side, "after padding to a square", error))
        return error_context(error, "a picture of %d x %d pixels", image->width, image->height);
    const int left = (side - image->width) / 2, top = (side - image->height) / 2;
    Image padded = image_new(side, side);
    memset(padded.pixels, PAD_VALUE, (size_t)side * (size_t)side * 3);
    for (int y = 0; y < image->height; y++)
        memcpy(padded.pixels + ((size_t)(y + top) * (size_t)side + (size_t)left) * 3,
               image->pixels + (size_t)y * (size_t)image->width * 3, (size_t)image->width * 3);
    *square = image_resize(&padded, size, size, RESIZE_BICUBIC);
    image_free(&padded);
    geometry->scale_x = geometry->scale_y = (double)size / side;
    geometry->offset_x = left * geometry->scale_x;
    geometry->offset_y = top * geometry->scale_y;
    return true;
}

bool image_preprocess(const Image *image, ImageAspect aspect, int size, Image *square,
                      ImageGeometry *geometry, Error *error) {
    *geometry = (ImageGeometry){
        .original_width = image->width, .original_height = image->height, .size = size};
    return aspect == IMAGE_PAD ? pad(image, size, square, geometry, error)
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

void image_to_float(const Image *image, float *out) {
    float values[256];
    for (int i = 0; i < 256; i++) values[i] = ((float)(i * (1 / 255.0)) - 0.5f) / 0.5f;
    const int64_t count = (int64_t)image->width * image->height * 3;
    for (int64_t i = 0; i < count; i++) out[i] = values[image->pixels[i]];
}
