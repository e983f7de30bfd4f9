#include "train/prepare/prepare_image.h"

#include "autograd/file_content.h"
#include "data/archive/archive_path.h"
#include "data/images/image.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/// The picture that this thread reads, for warnings about it.
static _Thread_local PreparedImage *being_read;

static void hear_warning(const char *message) {
    if (being_read && !being_read->warning[0])
        snprintf(being_read->warning, sizeof being_read->warning, "%s", message);
}

static bool read_file(const char *path, PreparedImage *image) {
    ByteBuffer bytes = {0};
    Error error = {0};
    errno = 0;
    if (!archive_path_read(path, SIZE_MAX, &bytes, &error)) {
        image->is_missing = errno == ENOENT || errno == ENOTDIR;
        snprintf(image->problem, sizeof image->problem, "%s", error.message);
        byte_buffer_free(&bytes);
        return false;
    }
    image->size = bytes.size;
    image->bytes = byte_buffer_take(&bytes);
    return true;
}

/// Names that go with what a file holds, by its first bytes; NULL: not known here.
static const char *endings_of(const char *content) {
    static const char *const KNOWN[][2] = {{"a JPEG image", ".jpg.jpeg.jpe.jfif"},
                                           {"a PNG image", ".png"},
                                           {"a GIF image", ".gif"},
                                           {"a WebP image", ".webp"},
                                           {"a BMP image", ".bmp.dib"},
                                           {"a TIFF image", ".tif.tiff"}};
    for (size_t i = 0; content && i < sizeof KNOWN / sizeof *KNOWN; i++)
        if (!strcmp(content, KNOWN[i][0])) return KNOWN[i][1];
    return NULL;
}

/// Whether the list ".jpg.jpeg" has the name's ending; a name without one may be anything.
static bool fits(const char *name, const char *endings) {
    const char *slash = strrchr(name, '/'), *dot = strrchr(slash ? slash : name, '.');
    if (!dot) return true;
    const size_t length = strlen(dot);
    for (const char *at = endings; *at; at += 1 + strcspn(at + 1, "."))
        if (1 + strcspn(at + 1, ".") == length && !strncasecmp(at, dot, length)) return true;
    return false;
}

void image_prepare(const char *path, PreparedImage *image) {
    Error error = {0};
    *image = (PreparedImage){0};
    if (!read_file(path, image)) return;
    const size_t start = image->size < IMAGE_START ? image->size : IMAGE_START;
    image->is_none = image_format(image->bytes, start) < 0;
    image_on_warning(hear_warning);
    being_read = image;
    const bool is_read = image_is_readable(image->bytes, image->size, path, &error);
    being_read = NULL;
    const char *content = file_content(image->bytes, image->size), *endings = endings_of(content);
    if (endings && !fits(path, endings))
        snprintf(image->name_note, sizeof image->name_note, "%s is %s", quote(path).text, content);
    if (!is_read) snprintf(image->problem, sizeof image->problem, "%s", error.message);
}
