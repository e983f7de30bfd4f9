#include "data/sample_image.h"

bool sample_image_read(const Sample *sample, Image *image, Error *error) {
    const PackImage *packed = &sample->packed_image;
    return packed->bytes
               ? image_decode(packed->bytes, (size_t)packed->size, sample->image_path, image, error)
               : image_read(sample->image_path, image, error);
}

bool sample_image_to_float(const Sample *sample, const ImageView *view, float *out,
                           ImageGeometry *geometry, Error *error) {
    const PackImage *packed = &sample->packed_image;
    const char *path = sample->image_path;
    ImageGeometry unused;
    if (!geometry) geometry = &unused;
    return packed->bytes ? image_decode_preprocess(packed->bytes, (size_t)packed->size, path, view,
                                                   out, geometry, error)
                         : image_read_preprocess(path, view, out, geometry, error);
}
