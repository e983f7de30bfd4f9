#include "tests/fuzz/bytes.h"

#include "autograd/error.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

ByteBuffer bytes_copy(const void *data, size_t size) {
    ByteBuffer bytes = {0};
    byte_buffer_put(&bytes, data, size);
    return bytes;
}

void bytes_replace(ByteBuffer *bytes, size_t at, size_t removed, const void *data, size_t count) {
    if (at > bytes->size) at = bytes->size;
    if (removed > bytes->size - at) removed = bytes->size - at;
    ByteBuffer changed = {0};
    byte_buffer_put(&changed, bytes->data, at);
    byte_buffer_put(&changed, data, count);
    byte_buffer_put(&changed, bytes->data ? bytes->data + at + removed : NULL,
                    bytes->size - at - removed);
    byte_buffer_free(bytes);
    *bytes = changed;
}

bool bytes_read_descriptor(ByteBuffer *bytes, int descriptor) {
    struct stat status;
    *bytes = (ByteBuffer){0};
    if (fstat(descriptor, &status) || !S_ISREG(status.st_mode)) return false;
    char *place = byte_buffer_reserve(bytes, (size_t)status.st_size);
    ssize_t got = pread(descriptor, place, (size_t)status.st_size, 0);
    bytes->size = got > 0 ? (size_t)got : 0;
    bytes->data[bytes->size] = 0;
    return got == status.st_size;
}

bool bytes_read(ByteBuffer *bytes, const char *path) {
    *bytes = (ByteBuffer){0};
    int descriptor = open(path, O_RDONLY | O_CLOEXEC);
    if (descriptor < 0) return false;
    bool ok = bytes_read_descriptor(bytes, descriptor);
    close(descriptor);
    return ok;
}

bool bytes_write(const ByteBuffer *bytes, const char *path) {
    int descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (descriptor < 0) return false;
    bool ok = write(descriptor, bytes->data, bytes->size) == (ssize_t)bytes->size;
    return close(descriptor) == 0 && ok;
}

char *escape(const void *data, size_t size) {
    ByteBuffer out = {0};
    byte_buffer_put(&out, "", 0);
    for (size_t i = 0; i < size; i++) {
        unsigned char c = ((const unsigned char *)data)[i];
        if (c == '\n')
            byte_buffer_put(&out, "\\n", 2);
        else if (c == '\\')
            byte_buffer_put(&out, "\\\\", 2);
        else if (c < 0x20 || c >= 0x7f)
            byte_buffer_print(&out, "\\x%02x", c);
        else
            byte_buffer_put(&out, &c, 1);
    }
    return out.data;
}

size_t unescape(char *text) {
    char *to = text;
    for (const char *from = text; *from; from++) {
        unsigned byte;
        if (*from != '\\') {
            *to++ = *from;
        } else if (from[1] == 'n') {
            *to++ = '\n';
            from++;
        } else if (from[1] == 'x' && sscanf(from + 2, "%2x", &byte) == 1) {
            *to++ = (char)byte;
            from += 3;
        } else if (from[1]) {
            *to++ = *++from;
        }
    }
    *to = 0;
    return (size_t)(to - text);
}
