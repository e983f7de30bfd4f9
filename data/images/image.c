#include "data/images/image.h"
#include "autograd/file_content.h"
#include "data/images/image_codecs.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

Image image_new(int width, int height) {
    CHECK(width > 0 && height > 0 && (int64_t)width * height <= IMAGE_MAX_PIXELS,
          "image_new: %d x %d", width, height);
    return (Image){width, height, checked_malloc((size_t)width * (size_t)height * 3)};
}

void image_free(Image *image) {
    free(image->pixels);
    *image = (Image){0};
}

static _Atomic(ImageWarning *) hear_warning;

void image_on_warning(ImageWarning *warning) { hear_warning = warning; }

void image_warn(const char *format, ...) {
    ImageWarning *hear = hear_warning;
    Error text;
    va_list arguments;
    if (!hear) return;
    va_start(arguments, format);
    vsnprintf(text.message, sizeof text.message, format, arguments);
    va_end(arguments);
    hear(text.message);
}

bool image_check_size(uint64_t width, uint64_t height, const char *name, Error *error) {
    if (width == 0 || height == 0) return error_set(error, "%s: the image has no pixels", name);
    if (width > IMAGE_MAX_PIXELS || height > (uint64_t)IMAGE_MAX_PIXELS / width)
        return error_set(error, "%s: %llu x %llu pixels are more than the limit of %lld", name,
                         (unsigned long long)width, (unsigned long long)height, IMAGE_MAX_PIXELS);
    return true;
}

static int multiply_255(int a, int b) {
    const int product = a * b + 128;
    return ((product >> 8) + product) >> 8;
}

void image_cmyk_to_rgb(int cyan, int magenta, int yellow, int black, uint8_t *rgb) {
    const int inks[] = {cyan, magenta, yellow}, light = 255 - black;
    for (int c = 0; c < 3; c++) rgb[c] = (uint8_t)(light - multiply_255(inks[c], light));
}

uint8_t image_grey_16(unsigned value, bool *is_told, const char *name) {
    if (value <= 255) return (uint8_t)value;
    if (!*is_told)
        image_warn("%s: a grey image of 16 bits: values above 255 become white, as Pillow shows "
                   "them; scale them to 8 bits if that is not wanted",
                   name);
    *is_told = true;
    return 255;
}

/// What is read, by what file_content() calls it.
static const struct {
    const char *name, *content;
    ImageDecoder *decode;
} formats[] = {{"JPEG", "a JPEG image", jpeg_decode}, {"PNG", "a PNG image", png_decode},
               {"GIF", "a GIF image", gif_decode},    {"WebP", "a WebP image", webp_decode},
               {"BMP", "a BMP image", bmp_decode},    {"TIFF", "a TIFF image", tiff_decode}};

_Static_assert(sizeof formats / sizeof *formats == IMAGE_FORMAT_COUNT,
               "as many as the header says");

int image_format(const void *bytes, size_t size) {
    const char *content = size ? file_content(bytes, size) : NULL;
    for (int i = 0; content && i < IMAGE_FORMAT_COUNT; i++)
        if (!strcmp(formats[i].content, content)) return i;
    return -1;
}

const char *image_format_name(int format) { return formats[format].name; }

bool image_refuse(const void *bytes, size_t size, const char *name, Error *error) {
    const char *content = size == 0 ? "an empty file" : file_content(bytes, size);
    const bool is_image = content && strstr(content, " image");
    if (!file_is_fetched(name, bytes, size, error)) return false;
    return error_set(error, "%s: not an image that is read (" IMAGE_FORMATS ")%s%s; %s", name,
                     content ? ", but " : "", content ? content : "",
                     is_image ? "save it as one of them" : "fetch it again");
}

bool image_decode(const void *bytes, size_t size, const char *name, Image *image, Error *error) {
    *image = (Image){0};
    const int format = image_format(bytes, size);
    if (format >= 0) return formats[format].decode(bytes, size, name, image, error);
    return image_refuse(bytes, size, name, error);
}
