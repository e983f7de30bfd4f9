/// Pictures as 8-bit RGB, and the files they come from.
///
/// Files are told apart by content, whatever their name: JPEG, PNG, GIF, WebP, BMP, TIFF. Reading
/// gives what Pillow's Image.open(path).convert("RGB") gives: the first frame or page, grey and
/// palettes expanded, alpha dropped, CMYK converted by its formula, grey of 16 bits clipped at 255
/// (with a warning). As there, the orientation that a camera notes is not applied, except TIFF's. A
/// PNG whose damage lies behind its last pixel (no end, a wrong checksum) is read, with a warning.
/// Other damage is an error: data that end early, also where Pillow would fill the rest.
#pragma once
#include "autograd/error.h"

#include <stddef.h>
#include <stdint.h>

typedef struct Image {
    int width;
    int height;
    /// [height, width, 3], owned
    uint8_t *pixels;
} Image;

/// Pictures with more pixels than this are refused (Pillow's limit against decompression bombs).
#define IMAGE_MAX_PIXELS 178956970LL

/// Undefined pixels. Width and height are positive and within the limit.
Image image_new(int width, int height);
/// Frees the pixels; an Image of zeros is allowed.
void image_free(Image *image);

/// Who hears that a file is damaged though its picture is whole, from now on and for all; NULL, as
/// at first: nobody. Called by whatever thread reads the file.
typedef void ImageWarning(const char *message);
void image_on_warning(ImageWarning *warning);

/// The formats that are read, for messages.
#define IMAGE_FORMATS "JPEG, PNG, GIF, WebP, BMP, TIFF"

/// Reads a file, or a member of an archive (data/archive/archive_path.h). The caller frees the
/// image.
bool image_read(const char *path, Image *image, Error *error);
/// The same from memory; `name` is for messages.
bool image_decode(const void *bytes, size_t size, const char *name, Image *image, Error *error);
/// Whether image_decode() would read it, and if not, why; keeps no more than a row where the format
/// allows it (data/images/image_rows.h).
bool image_is_readable(const void *bytes, size_t size, const char *name, Error *error);

/// The number of a file's format by its first bytes (IMAGE_START of them, or all that it has); -1
/// for what is not read.
int image_format(const void *bytes, size_t size);
/// "JPEG", "PNG", ...; format: 0 to IMAGE_FORMAT_COUNT - 1.
const char *image_format_name(int format);
enum { IMAGE_START = 512, IMAGE_FORMAT_COUNT = 6 };
/// The message that it is not read, with what it is and what to do; returns false.
bool image_refuse(const void *bytes, size_t size, const char *name, Error *error);

/// Files appear whole or not at all. quality: 1 to 100.
bool image_write_png(const char *path, const Image *image, Error *error);
bool image_write_jpeg(const char *path, const Image *image, int quality, Error *error);
/// A PNG file in memory (to embed in HTML); the caller frees *bytes.
bool image_encode_png(const Image *image, void **bytes, size_t *size, Error *error);
/// pixels [height, width], as a grey PNG whose rows are not filtered: inflating its data gives a
/// zero and a row of pixels, again and again.
bool image_encode_grey_png(const uint8_t *pixels, int width, int height, void **bytes, size_t *size,
                           Error *error);
/// A JPEG file in memory; the caller frees *bytes. quality: 1 to 100.
bool image_encode_jpeg(const Image *image, int quality, void **bytes, size_t *size, Error *error);
