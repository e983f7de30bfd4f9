#include "data/images/image.h"
#include "autograd/file_content.h"
#include "data/images/image_codecs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

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
    const char *content;
    ImageDecoder *decode;
} formats[] = {{"a JPEG image", jpeg_decode}, {"a PNG image", png_decode},
               {"a GIF image", gif_decode},   {"a WebP image", webp_decode},
               {"a BMP image", bmp_decode},   {"a TIFF image", tiff_decode}};

static int format_of(const char *content) {
    for (int i = 0; content && i < (int)(sizeof formats / sizeof *formats); i++)
        if (!strcmp(formats[i].content, content)) return i;
    return -1;
}

bool image_decode(const void *bytes, size_t size, const char *name, Image *image, Error *error) {
    *image = (Image){0};
    const char *content = size == 0 ? "an empty file" : file_content(bytes, size);
    const int format = format_of(content);
    if (format >= 0) return formats[format].decode(bytes, size, name, image, error);
    if (!file_is_fetched(name, bytes, size, error)) return false;
    return error_set(error, "%s: not an image that is read (" IMAGE_FORMATS ")%s%s", name,
                     content ? ", but " : "", content ? content : "");
}

static bool read_all(int descriptor, uint8_t *bytes, size_t size, size_t *done) {
    *done = 0;
    while (*done < size) {
        ssize_t count = read(descriptor, bytes + *done, size - *done);
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) return false;
        if (count == 0) break;
        *done += (size_t)count;
    }
    return true;
}

bool image_read(const char *path, Image *image, Error *error) {
    static const off_t MAX_FILE_BYTES = (off_t)1 << 30;
    struct stat status;
    uint8_t *bytes = NULL;
    size_t size = 0;
    bool done = false;
    *image = (Image){0};
    int descriptor = open(path, O_RDONLY | O_CLOEXEC);
    if (descriptor < 0 || fstat(descriptor, &status) != 0) {
        error_set(error, "%s: the image cannot be read: %s", path, strerror(errno));
    } else if (!S_ISREG(status.st_mode) || status.st_size > MAX_FILE_BYTES) {
        error_set(error, "%s: not an image file", path);
    } else {
        bytes = checked_malloc((size_t)status.st_size + 1);
        done = read_all(descriptor, bytes, (size_t)status.st_size, &size);
        if (done)
            done = image_decode(bytes, size, path, image, error);
        else
            error_set(error, "%s: the image cannot be read: %s", path, strerror(errno));
    }
    if (descriptor >= 0) close(descriptor);
    free(bytes);
    return done;
}
