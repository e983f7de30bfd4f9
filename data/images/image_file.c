#include "data/archive/archive_path.h"
#include "data/images/image.h"
#include "data/images/preprocess.h"

#include <string.h>

bool image_read(const char *path, Image *image, Error *error) {
    ByteBuffer bytes = {0};
    *image = (Image){0};
    const bool done = archive_path_read(path, SIZE_MAX, &bytes, error) &&
                      image_decode(bytes.data, bytes.size, path, image, error);
    byte_buffer_free(&bytes);
    return done;
}

bool image_read_preprocess(const char *path, const ImageView *view, float *out,
                           ImageGeometry *geometry, Error *error) {
    ByteBuffer bytes = {0};
    bool done = archive_path_read(path, SIZE_MAX, &bytes, error);
    if (done)
        done = image_decode_preprocess(bytes.data, bytes.size, path, view, out, geometry, error);
    else
        memset(out, 0, 3 * (size_t)view->size * (size_t)view->size * sizeof *out);
    byte_buffer_free(&bytes);
    return done;
}
