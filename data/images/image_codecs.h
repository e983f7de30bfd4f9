/// The two file formats behind data/images/image.h. Not for use elsewhere.
#pragma once
#include "data/images/image.h"

bool jpeg_decode(const uint8_t *bytes, size_t size, const char *name, Image *image, Error *error);
bool png_decode(const uint8_t *bytes, size_t size, const char *name, Image *image, Error *error);
/// Tells who hears warnings (image_on_warning()), printf style.
void image_warn(const char *format, ...) __attribute__((format(printf, 1, 2)));
/// False, with the message, if a picture of this size is refused.
bool image_check_size(uint64_t width, uint64_t height, const char *name, Error *error);
