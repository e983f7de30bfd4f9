/// A file's content in memory, to be changed. Behind the last byte of a ByteBuffer stands a zero.
#pragma once
#include "autograd/text/byte_buffer.h"

ByteBuffer bytes_copy(const void *data, size_t size);
/// Puts `count` bytes where `removed` bytes stood; they may be the buffer's own.
void bytes_replace(ByteBuffer *bytes, size_t at, size_t removed, const void *data, size_t count);

/// False if the file cannot be read: nothing is in the buffer then.
bool bytes_read(ByteBuffer *bytes, const char *path);
/// Everything that has been written to an open file.
bool bytes_read_descriptor(ByteBuffer *bytes, int descriptor);
bool bytes_write(const ByteBuffer *bytes, const char *path);

/// The text with \n, \\ and \xHH in place of what no line of text holds; the caller frees it.
char *escape(const void *data, size_t size);
/// Undoes escape(), in place; returns the length.
size_t unescape(char *text);
