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

uint8_t image_grey_16(unsigned value, bool *is_clipped) {
    if (value <= 255) return (uint8_t)value;
    *is_clipped = true;
    return 255;
}

void image_warn_clipped(const char *name) {
    image_warn("%s: a grey image of 16 bits: values above 255 become white, as Pillow shows them; "
               "scale them to 8 bits if that is not wanted",
               name);
}

/// What is read, by what file_content() calls it.
static const struct {
    const char *name, *content;
    ImageRowDecoder *by_rows;
    /// where that is NULL
    ImageDecoder *whole;
} formats[] = {
    {"JPEG", "a JPEG image", jpeg_decode, NULL}, {"PNG", "a PNG image", png_decode, NULL},
    {"GIF", "a GIF image", NULL, gif_decode},    {"WebP", "a WebP image", NULL, webp_decode},
    {"BMP", "a BMP image", NULL, bmp_decode},    {"TIFF", "a TIFF image", NULL, tiff_decode}};

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

bool image_decode_into(const void *bytes, size_t size, const char *name, ImageSink *sink,
                       Error *error) {
    Image image = {0};
    const int format = image_format(bytes, size);
    if (format < 0) return image_refuse(bytes, size, name, error);
    if (formats[format].by_rows) return formats[format].by_rows(bytes, size, name, sink, error);
    if (!formats[format].whole(bytes, size, name, &image, error)) return false;
    sink->take(sink, &image);
    return true;
}

// ---- sinks that keep all rows, and none

static void begin_image(ImageSink *sink, int width, int height) {
    Image *image = sink->context;
    *image = image_new(width, height);
    sink->row = image->pixels;
}

static void put_in_image(ImageSink *sink) {
    const Image *image = sink->context;
    sink->row += 3 * (size_t)image->width;
}

static void take_image(ImageSink *sink, Image *image) { *(Image *)sink->context = *image; }

bool image_decode(const void *bytes, size_t size, const char *name, Image *image, Error *error) {
    ImageSink sink = {
        .begin = begin_image, .put = put_in_image, .take = take_image, .context = image};
    *image = (Image){0};
    const bool decoded = image_decode_into(bytes, size, name, &sink, error);
    if (!decoded) image_free(image);
    return decoded;
}

static void begin_nothing(ImageSink *sink, int width, int height) {
    (void)height;
    sink->row = sink->context = checked_malloc(3 * (size_t)width);
}

static void put_nowhere(ImageSink *sink) { (void)sink; }

static void take_nothing(ImageSink *sink, Image *image) {
    (void)sink;
    image_free(image);
}

bool image_is_readable(const void *bytes, size_t size, const char *name, Error *error) {
    ImageSink sink = {.begin = begin_nothing, .put = put_nowhere, .take = take_nothing};
    const bool decoded = image_decode_into(bytes, size, name, &sink, error);
    free(sink.context);
    return decoded;
}
