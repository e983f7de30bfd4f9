#include "data/archive/archive_path.h"
#include "data/images/image.h"

bool image_read(const char *path, Image *image, Error *error) {
    ByteBuffer bytes = {0};
    *image = (Image){0};
    const bool done = archive_path_read(path, SIZE_MAX, &bytes, error) &&
                      image_decode(bytes.data, bytes.size, path, image, error);
    byte_buffer_free(&bytes);
    return done;
}
