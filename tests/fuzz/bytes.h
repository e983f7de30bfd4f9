/// A file's content in memory, to be changed.
#pragma once
#include <stdbool.h>
#include <stddef.h>

/// data[size] is always 0.
typedef struct Bytes {
    unsigned char *data;
    size_t size, capacity;
} Bytes;

void bytes_free(Bytes *bytes);
Bytes bytes_copy(const void *data, size_t size);
/// Puts `count` bytes where `removed` bytes stood.
void bytes_replace(Bytes *bytes, size_t at, size_t removed, const void *data, size_t count);
void bytes_append(Bytes *bytes, const void *data, size_t count);
void bytes_print(Bytes *bytes, const char *format, ...) __attribute__((format(printf, 2, 3)));

/// False if the file cannot be read.
bool bytes_read(Bytes *bytes, const char *path);
/// Everything that has been written to an open file.
bool bytes_read_descriptor(Bytes *bytes, int descriptor);
bool bytes_write(const Bytes *bytes, const char *path);

/// The text with \n, \\ and \xHH in place of what no line of text holds; the caller frees it.
char *escape(const void *data, size_t size);
/// Undoes escape(), in place; returns the length.
size_t unescape(char *text);
