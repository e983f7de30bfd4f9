/// The bytes of a file in memory, for tests that build files which no writer would write.
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

typedef struct FileBytes {
    unsigned char *data;
    size_t size, capacity;
} FileBytes;

static inline void file_bytes_put(FileBytes *bytes, const void *data, size_t size) {
    if (bytes->size + size > bytes->capacity) {
        bytes->capacity = 2 * (bytes->size + size);
        bytes->data = realloc(bytes->data, bytes->capacity);
        assert_non_null(bytes->data);
    }
    if (size) memcpy(bytes->data + bytes->size, data, size);
    bytes->size += size;
}

/// A little-endian number of `size` bytes.
static inline void file_bytes_number(FileBytes *bytes, uint64_t number, int size) {
    unsigned char data[8];
    for (int i = 0; i < size; i++) data[i] = (unsigned char)(number >> (8 * i));
    file_bytes_put(bytes, data, (size_t)size);
}

static inline void file_bytes_free(FileBytes *bytes) {
    free(bytes->data);
    *bytes = (FileBytes){0};
}

static inline FileBytes file_bytes_read(const char *path) {
    FileBytes bytes = {0};
    unsigned char part[4096];
    FILE *file = fopen(path, "rb");
    if (!file) fail_msg("%s cannot be read", path);
    for (size_t size; (size = fread(part, 1, sizeof part, file)) > 0;)
        file_bytes_put(&bytes, part, size);
    fclose(file);
    return bytes;
}

static inline void file_bytes_write(const FileBytes *bytes, const char *path) {
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    if (bytes->size) assert_int_equal(fwrite(bytes->data, 1, bytes->size, file), bytes->size);
    assert_int_equal(fclose(file), 0);
}

/// A file that never sees a disk; one at a time. Returns its path.
static inline const char *file_bytes_in_memory(const FileBytes *bytes) {
    static int descriptor = -1;
    static char path[64];
    if (descriptor < 0) descriptor = memfd_create("file_bytes", 0);
    snprintf(path, sizeof path, "/proc/self/fd/%d", descriptor);
    assert_int_equal(ftruncate(descriptor, (off_t)bytes->size), 0);
    assert_int_equal(pwrite(descriptor, bytes->data, bytes->size, 0), bytes->size);
    return path;
}

static inline uint32_t file_bytes_random(uint32_t *random, uint32_t below) {
    *random = *random * 1664525u + 1013904223u; // Numerical Recipes' generator
    return (*random >> 8) % below;
}

/// Changes a few bytes, or inserts, removes or repeats some.
static inline void file_bytes_mutate(FileBytes *bytes, uint32_t *random) {
    static const unsigned char telling[] = {0, 1, 0x7f, 0x80, 0xff, '(', 'R', 'h', 'q', '.'};
    for (uint32_t changes = 1 + file_bytes_random(random, 3); changes && bytes->size > 8;
         changes--) {
        size_t at = file_bytes_random(random, (uint32_t)bytes->size);
        size_t count = 1 + file_bytes_random(random, 8);
        if (count > bytes->size - at) count = bytes->size - at;
        FileBytes whole = *bytes, changed = {0};
        switch (file_bytes_random(random, 6)) {
        case 0: // without some bytes
            memmove(bytes->data + at, bytes->data + at + count, bytes->size - at - count);
            bytes->size -= count;
            break;
        case 1: // some bytes twice
            file_bytes_put(&changed, whole.data, at + count);
            file_bytes_put(&changed, whole.data + at, whole.size - at);
            free(whole.data);
            *bytes = changed;
            break;
        case 2:
            bytes->data[at] = telling[file_bytes_random(random, sizeof telling)];
            break;
        default:
            bytes->data[at] ^= (unsigned char)(1u << file_bytes_random(random, 8));
        }
    }
}
