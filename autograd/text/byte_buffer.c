#include "autograd/text/byte_buffer.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SMALLEST = 64 };

char *byte_buffer_reserve(ByteBuffer *buffer, size_t size) {
    const size_t limit = buffer->limit ? buffer->limit : SIZE_MAX / 4;
    buffer->is_over = buffer->is_over || size > limit - buffer->size;
    if (buffer->is_over) return NULL;
    const size_t needed = buffer->size + size + 1; // the zero
    if (needed > buffer->capacity) {
        const size_t twice = 2 * buffer->capacity > SMALLEST ? 2 * buffer->capacity : SMALLEST;
        buffer->capacity = needed > twice ? needed : twice;
        buffer->data = checked_realloc(buffer->data, buffer->capacity);
        buffer->data[buffer->size] = 0;
    }
    return buffer->data + buffer->size;
}

void byte_buffer_put(ByteBuffer *buffer, const void *data, size_t size) {
    char *place = byte_buffer_reserve(buffer, size);
    if (!place) return;
    if (size > 0) memcpy(place, data, size);
    place[size] = 0;
    buffer->size += size;
}

void byte_buffer_put_byte(ByteBuffer *buffer, int byte) {
    const char value = (char)byte;
    byte_buffer_put(buffer, &value, 1);
}

void byte_buffer_put_text(ByteBuffer *buffer, const char *text) {
    byte_buffer_put(buffer, text, strlen(text));
}

void byte_buffer_print(ByteBuffer *buffer, const char *format, ...) {
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    const int length = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    CHECK(length >= 0, "byte_buffer_print: '%s' cannot be formatted", format);
    char *place = byte_buffer_reserve(buffer, (size_t)length);
    if (place) {
        vsnprintf(place, (size_t)length + 1, format, again);
        buffer->size += (size_t)length;
    }
    va_end(again);
}

void byte_buffer_put_little_endian(ByteBuffer *buffer, unsigned long long value, int size) {
    unsigned char bytes[8];
    CHECK(size >= 0 && size <= 8, "byte_buffer_put_little_endian: %d bytes", size);
    for (int i = 0; i < size; i++) bytes[i] = (unsigned char)(value >> (8 * i));
    byte_buffer_put(buffer, bytes, (size_t)size);
}

void byte_buffer_clear(ByteBuffer *buffer) {
    buffer->size = 0;
    buffer->is_over = false;
    if (buffer->data) buffer->data[0] = 0;
}

void byte_buffer_free(ByteBuffer *buffer) {
    free(buffer->data);
    *buffer = (ByteBuffer){.limit = buffer->limit, .name = buffer->name};
}

char *byte_buffer_take(ByteBuffer *buffer) {
    char *data = buffer->data ? buffer->data : checked_calloc(1, 1);
    *buffer = (ByteBuffer){.limit = buffer->limit, .name = buffer->name};
    return data;
}

bool byte_buffer_check(const ByteBuffer *buffer, Error *error) {
    return !buffer->is_over || error_set(error, "%s: more than %zu bytes",
                                         buffer->name ? buffer->name : "a buffer", buffer->limit);
}
