/// The file formats behind data/images/image.h. Not for use elsewhere.
#pragma once
#include "data/images/image_rows.h"

/// Reads a whole file in memory; `name` is for messages. On failure *image is left without pixels.
typedef bool ImageDecoder(const uint8_t *bytes, size_t size, const char *name, Image *image,
                          Error *error);
/// The same by rows.
typedef bool ImageRowDecoder(const uint8_t *bytes, size_t size, const char *name, ImageSink *sink,
                             Error *error);

ImageRowDecoder jpeg_decode, png_decode;
ImageDecoder gif_decode, webp_decode, bmp_decode, tiff_decode;

/// Tells who hears warnings (image_on_warning()), printf style.
void image_warn(const char *format, ...) __attribute__((format(printf, 1, 2)));
/// False, with the message, if a picture of this size is refused.
bool image_check_size(uint64_t width, uint64_t height, const char *name, Error *error);

/// One pixel of inks (255: all of it) to RGB by Pillow's formula.
void image_cmyk_to_rgb(int cyan, int magenta, int yellow, int black, uint8_t *rgb);
/// 16-bit grey as Pillow shows it: what is above 255 is white, and *is_clipped is set then.
uint8_t image_grey_16(unsigned value, bool *is_clipped);
/// The warning that this happened, once for a picture.
void image_warn_clipped(const char *name);
