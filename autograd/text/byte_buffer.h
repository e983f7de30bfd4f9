/// One buffer of bytes that grows: what is put together piece by piece, text and binary records
/// alike.
///
/// It has a name and may have a limit. Past the limit nothing more is taken, and whoever put the
/// pieces together asks once, at the end, whether the buffer is whole. A ByteBuffer of zeros is
/// empty, has no limit and is ready for use.
#pragma once
#include "autograd/error.h"

#include <stddef.h>

typedef struct ByteBuffer {
    /// What has been put, with a zero behind it that `size` does not count; NULL until something is
    /// put.
    char *data;
    size_t size;
    size_t capacity;
    /// Most bytes that it takes; 0: any number.
    size_t limit;
    /// What it holds, for the message: "the command line".
    const char *name;
    /// More was put than the limit allows: `data` is cut off.
    bool is_over;
} ByteBuffer;

void byte_buffer_put(ByteBuffer *buffer, const void *data, size_t size);
void byte_buffer_put_byte(ByteBuffer *buffer, int byte);
void byte_buffer_put_text(ByteBuffer *buffer, const char *text);
/// Puts a text, printf style.
void byte_buffer_print(ByteBuffer *buffer, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/// Puts the last `size` bytes of value, the lowest first. size <= 8.
void byte_buffer_put_little_endian(ByteBuffer *buffer, unsigned long long value, int size);
/// Makes room for `size` more bytes and returns the place of the first: the caller fills some of it
/// and adds their number to `size`. NULL if the limit does not allow it.
char *byte_buffer_reserve(ByteBuffer *buffer, size_t size);

/// Nothing in it, its memory kept.
void byte_buffer_clear(ByteBuffer *buffer);
void byte_buffer_free(ByteBuffer *buffer);
/// Hands the bytes over, never NULL, to be freed by the caller; the buffer is empty then.
char *byte_buffer_take(ByteBuffer *buffer);

/// False with the message if the limit was passed.
bool byte_buffer_check(const ByteBuffer *buffer, Error *error);
