#include "tests/fuzz/bytes.h"

#include "autograd/error.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void bytes_free(Bytes *bytes) {
    free(bytes->data);
    *bytes = (Bytes){0};
}

static void reserve(Bytes *bytes, size_t size) {
    if (size < bytes->capacity) return;
    bytes->capacity = size + size / 2 + 64;
    bytes->data = checked_realloc(bytes->data, bytes->capacity);
}

Bytes bytes_copy(const void *data, size_t size) {
    Bytes bytes = {0};
    bytes_append(&bytes, data, size);
    return bytes;
}

void bytes_replace(Bytes *bytes, size_t at, size_t removed, const void *data, size_t count) {
    if (at > bytes->size) at = bytes->size;
    if (removed > bytes->size - at) removed = bytes->size - at;
    // The data may lie in the bytes themselves.
    Bytes copy = {0};
    if (count) {
        reserve(&copy, count);
        memcpy(copy.data, data, count);
    }
    reserve(bytes, bytes->size - removed + count);
    memmove(bytes->data + at + count, bytes->data + at + removed, bytes->size - at - removed);
    if (count) memcpy(bytes->data + at, copy.data, count);
    bytes->size = bytes->size - removed + count;
    bytes->data[bytes->size] = 0;
    bytes_free(&copy);
}

void bytes_append(Bytes *bytes, const void *data, size_t count) {
    bytes_replace(bytes, bytes->size, 0, data, count);
}

void bytes_print(Bytes *bytes, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    char *text = NULL;
    int length = vasprintf(&text, format, arguments);
    va_end(arguments);
    CHECK(length >= 0, "no memory for a text");
    bytes_append(bytes, text, (size_t)length);
    free(text);
}

bool bytes_read_descriptor(Bytes *bytes, int descriptor) {
    struct stat status;
    *bytes = (Bytes){0};
    if (fstat(descriptor, &status) || !S_ISREG(status.st_mode)) return false;
    reserve(bytes, (size_t)status.st_size);
    ssize_t got = pread(descriptor, bytes->data, (size_t)status.st_size, 0);
    bytes->size = got > 0 ? (size_t)got : 0;
    bytes->data[bytes->size] = 0;
    return got == status.st_size;
}

bool bytes_read(Bytes *bytes, const char *path) {
    *bytes = (Bytes){0};
    int descriptor = open(path, O_RDONLY | O_CLOEXEC);
    if (descriptor < 0) return false;
    bool ok = bytes_read_descriptor(bytes, descriptor);
    close(descriptor);
    return ok;
}

bool bytes_write(const Bytes *bytes, const char *path) {
    int descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (descriptor < 0) return false;
    bool ok = write(descriptor, bytes->data, bytes->size) == (ssize_t)bytes->size;
    return close(descriptor) == 0 && ok;
}

char *escape(const void *data, size_t size) {
    Bytes out = {0};
    bytes_append(&out, "", 0);
    for (size_t i = 0; i < size; i++) {
        unsigned char c = ((const unsigned char *)data)[i];
        if (c == '\n')
            bytes_append(&out, "\\n", 2);
        else if (c == '\\')
            bytes_append(&out, "\\\\", 2);
        else if (c < 0x20 || c >= 0x7f)
            bytes_print(&out, "\\x%02x", c);
        else
            bytes_append(&out, &c, 1);
    }
    return (char *)out.data;
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
