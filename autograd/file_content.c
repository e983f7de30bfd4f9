#include "autograd/file_content.h"

#include "autograd/text/byte_buffer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

static const char LFS[] = "a git-lfs pointer", HTML[] = "an HTML page", UTF_16[] = "text in UTF-16",
                  UTF_32[] = "text in UTF-32";

/// What files begin with, behind `skipped` bytes that may be anything. The first that fits counts:
/// UTF-32's mark begins with UTF-16's.
static const struct {
    const char *content;
    size_t skipped, length;
    const char *bytes;
} beginnings[] = {
#define BEGINS(content, skipped, bytes) \
    { content, skipped, sizeof bytes - 1, bytes }
    BEGINS(LFS, 0, "version https://git-lfs.github.com/spec/"),
    BEGINS(UTF_32, 0, "\xff\xfe\0\0"),
    BEGINS(UTF_32, 0, "\0\0\xfe\xff"),
    BEGINS(UTF_16, 0, "\xff\xfe"),
    BEGINS(UTF_16, 0, "\xfe\xff"),
    BEGINS("a JPEG image", 0, "\xff\xd8\xff"),
    BEGINS("a PNG image", 0, "\x89PNG\r\n\x1a\n"),
    BEGINS("a GIF image", 0, "GIF8"),
    BEGINS("a WebP image", 8, "WEBPVP8"),
    BEGINS("an AVIF image", 4, "ftypavif"),
    BEGINS("a HEIC image", 4, "ftyphei"),
    BEGINS("a HEIC image", 4, "ftypmif1"),
    BEGINS("a JPEG 2000 image", 4, "jP  \r\n\x87\n"),
    BEGINS("a JPEG XL image", 4, "JXL \r\n\x87\n"),
    BEGINS("a TIFF image", 0, "II*\0"),
    BEGINS("a TIFF image", 0, "MM\0*"),
    BEGINS("a TIFF image", 0, "II+\0"),
    BEGINS("an MP4 video", 4, "ftyp"),
    BEGINS("a PDF document", 0, "%PDF-"),
    BEGINS("a gzip archive", 0, "\x1f\x8b"),
    BEGINS("a Zstandard archive", 0, "\x28\xb5\x2f\xfd"),
    BEGINS("a zip archive", 0, "PK\x03\x04"),
    BEGINS("an HDF5 file", 0, "\x89HDF\r\n\x1a\n"),
    BEGINS("a Parquet file", 0, "PAR1"),
    BEGINS("a GGUF file", 0, "GGUF"),
    BEGINS("an SVG image", 0, "<svg"),
#undef BEGINS
};

/// A header of one of the known sizes follows the file's own of 14 bytes.
static bool is_bitmap(const unsigned char *bytes, size_t size) {
    static const unsigned char headers[] = {12, 40, 52, 56, 64, 108, 124};
    return size >= 18 && !memcmp(bytes, "BM", 2) && memchr(headers, bytes[14], sizeof headers) &&
           !memcmp(bytes + 15, "\0\0", 3);
}

/// Without a byte-order mark, of text that begins with two characters of ASCII.
static bool is_utf_16(const unsigned char *bytes, size_t size) {
    if (size < 4) return false;
    const int high = bytes[0] ? 1 : 0, low = 1 - high;
    return !bytes[high] && !bytes[high + 2] && bytes[low] >= '\t' && bytes[low] < 0x7f &&
           bytes[low + 2] >= '\t' && bytes[low + 2] < 0x7f;
}

static bool begins_with_word(const char *text, size_t size, const char *word) {
    return size >= strlen(word) && strncasecmp(text, word, strlen(word)) == 0;
}

const char *file_content(const void *bytes, size_t size) {
    const char *text = bytes;
    size_t space = 0;
    for (size_t i = 0; i < sizeof beginnings / sizeof *beginnings; i++) {
        if (size < beginnings[i].skipped + beginnings[i].length ||
            memcmp(text + beginnings[i].skipped, beginnings[i].bytes, beginnings[i].length))
            continue;
        return beginnings[i].content;
    }
    if (is_bitmap(bytes, size)) return "a BMP image";
    if (is_utf_16(bytes, size)) return UTF_16;
    while (space < size && strchr(" \t\r\n", text[space]) && text[space]) space++;
    if (begins_with_word(text + space, size - space, "<!doctype html") ||
        begins_with_word(text + space, size - space, "<html"))
        return HTML;
    return NULL;
}

bool file_is_fetched(const char *path, const void *bytes, size_t size, Error *error) {
    return file_content(bytes, size) != LFS ||
           error_set(error, "%s: a git-lfs pointer, not the file itself: 'git lfs pull' fetches it",
                     path);
}

bool file_at_is_fetched(const char *path, Error *error) {
    char start[64];
    int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    ssize_t count = descriptor < 0 ? -1 : read(descriptor, start, sizeof start);
    if (descriptor >= 0) close(descriptor);
    return count <= 0 || file_is_fetched(path, start, (size_t)count, error);
}

bool file_begin_text(const char *path, const char **text, size_t *length, Error *error) {
    static const char MARK[] = "\xef\xbb\xbf";
    const char *content = file_content(*text, *length);
    if (!file_is_fetched(path, *text, *length, error)) return false;
    if (content == HTML)
        return error_set(error,
                         "%s: an HTML page, as servers send it in place of a file that needs a "
                         "login; fetch the file again",
                         path);
    if (content == UTF_16 || content == UTF_32)
        return error_set(error, "%s: %s; expected UTF-8: save it in that encoding", path, content);
    if (*length >= sizeof MARK - 1 && memcmp(*text, MARK, sizeof MARK - 1) == 0) {
        *text += sizeof MARK - 1;
        *length -= sizeof MARK - 1;
    }
    return true;
}

/// All bytes of an open file, at most `limit`. One more is asked for than its size says, so that a
/// file that grows is noticed as too long or read whole.
static bool read_bytes(const char *path, int descriptor, size_t limit, ByteBuffer *bytes,
                       Error *error) {
    enum { PIECE = 1 << 16 };
    struct stat status;
    if (fstat(descriptor, &status) != 0)
        return error_set(error, "%s: cannot be read: %s", path, strerror(errno));
    if (S_ISDIR(status.st_mode)) return error_set(error, "%s: a folder, not a file", path);
    if (S_ISCHR(status.st_mode) || S_ISBLK(status.st_mode))
        return error_set(error, "%s: a device, not a file", path);
    const bool is_sized =
        S_ISREG(status.st_mode) && status.st_size >= 0 && (size_t)status.st_size <= limit;
    size_t piece = is_sized ? (size_t)status.st_size + 1 : PIECE;
    for (ssize_t count = 1; count != 0;) {
        char *place = byte_buffer_reserve(bytes, piece);
        count = read(descriptor, place, piece);
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) return error_set(error, "%s: cannot be read: %s", path, strerror(errno));
        bytes->size += (size_t)count;
        piece = (size_t)count < piece ? piece - (size_t)count : PIECE;
        if (bytes->size > limit)
            return error_set(error, "%s: longer than %zu bytes, which no such file is", path,
                             limit);
    }
    byte_buffer_put(bytes, "", 0); // the zero behind them
    return true;
}

bool file_read_text(const char *path, size_t limit, char **text, size_t *length, Error *error) {
    ByteBuffer bytes = {0};
    *text = NULL;
    // Opening a named pipe for reading would wait for a writer; reading waits only if there is one.
    int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (descriptor < 0) return error_set(error, "%s: cannot be read: %s", path, strerror(errno));
    fcntl(descriptor, F_SETFL, 0);
    bool done = read_bytes(path, descriptor, limit, &bytes, error);
    close(descriptor);
    const char *begin = bytes.data;
    *length = bytes.size;
    if (!done || !file_begin_text(path, &begin, length, error)) {
        byte_buffer_free(&bytes);
        return false;
    }
    *text = byte_buffer_take(&bytes);
    memmove(*text, begin, *length + 1);
    return true;
}
