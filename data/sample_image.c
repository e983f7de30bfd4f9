#include "data/sample_image.h"

bool sample_image_read(const Sample *sample, Image *image, Error *error) {
    const PackImage *packed = &sample->packed_image;
    return packed->bytes
               ? image_decode(packed->bytes, (size_t)packed->size, sample->image_path, image, error)
               : image_read(sample->image_path, image, error);
}

bool sample_image_to_float(const Sample *sample, const ImageView *view, float *out,
                           ImageGeometry *geometry, Error *error) {
    Image image, square;
    ImageGeometry unused;
    if (!sample_image_read(sample, &image, error)) return false;
    bool ok = image_preprocess(&image, view->aspect, view->normalization, view->size, &square,
                               geometry ? geometry : &unused, error);
    image_free(&image);
    if (!ok) return error_context(error, "%s", sample->image_path);
    image_to_float(&square, view->normalization, out);
    image_free(&square);
    return true;
}
