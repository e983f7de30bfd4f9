#include "data/text_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BLOCK = 1 << 20 };

struct TextFile {
    char *path;
    int descriptor;
    int64_t size;
};

static bool open_file(TextFile *file, Error *error) {
    struct stat status;
    // Opening a named pipe for reading would wait for a writer.
    file->descriptor = open(file->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (file->descriptor < 0 || fstat(file->descriptor, &status) != 0)
        return error_set(error, "%s: cannot be read: %s", file->path, strerror(errno));
    if (!S_ISREG(status.st_mode)) return error_set(error, "%s: not a file", file->path);
    file->size = (int64_t)status.st_size;
    return true;
}

TextFile *text_file_open(const char *path, Error *error) {
    TextFile *file = checked_calloc(1, sizeof *file);
    file->path = checked_strdup(path);
    if (open_file(file, error)) return file;
    text_file_close(file);
    return NULL;
}

void text_file_close(TextFile *file) {
    if (!file) return;
    if (file->descriptor >= 0) close(file->descriptor);
    free(file->path);
    free(file);
}

int64_t text_file_size(const TextFile *file) { return file->size; }

bool text_file_changed(const TextFile *file, const char *what, Error *error) {
    return error_set(error,
                     "%s: the file was changed while it was in use: %s. Write new data to another "
                     "file, or rename it into this one's place",
                     file->path, what);
}

bool text_file_read(const TextFile *file, int64_t begin, size_t size, char *to, Error *error) {
    CHECK(begin >= 0 && begin <= file->size && size <= (size_t)(file->size - begin),
          "text_file_read: %zu bytes from %lld of %lld", size, (long long)begin,
          (long long)file->size);
    for (size_t done = 0; done < size;) {
        const ssize_t count =
            pread(file->descriptor, to + done, size - done, (off_t)begin + (off_t)done);
        if (count < 0 && errno == EINTR) continue;
        if (count < 0)
            return error_set(error, "%s: cannot be read: %s", file->path, strerror(errno));
        if (count == 0) return text_file_changed(file, "it has become shorter", error);
        done += (size_t)count;
    }
    return true;
}

int64_t text_file_newlines(const TextFile *file, int64_t begin, int64_t end) {
    int64_t newlines = 0;
    char *block = checked_malloc(BLOCK);
    for (; begin < end; begin += BLOCK) {
        const size_t size = (size_t)(end - begin < BLOCK ? end - begin : BLOCK);
        if (!text_file_read(file, begin, size, block, NULL)) break;
        for (size_t i = 0; i < size; i++) newlines += block[i] == '\n';
    }
    free(block);
    return newlines;
}

int64_t text_file_line(const TextFile *file, int64_t offset) {
    return 1 + text_file_newlines(file, 0, offset);
}

/// Puts the next bytes of the file into the block, behind those that are kept.
static void read_block(TextReader *reader) {
    ByteBuffer *block = &reader->block;
    const int64_t end = reader->begin + (int64_t)block->size;
    const int64_t left = reader->file->size - end;
    const size_t kept = (size_t)(end - reader->mark);
    if (kept > 0) memmove(block->data, block->data + block->size - kept, kept);
    block->size = kept;
    reader->begin = reader->mark;
    const size_t size = (size_t)(left < BLOCK ? left : BLOCK);
    char *place = byte_buffer_reserve(block, size);
    reader->has_failed = !place ? !byte_buffer_check(block, &reader->failure)
                                : !text_file_read(reader->file, end, size, place, &reader->failure);
    if (!reader->has_failed) block->size += size;
}

/// Bytes at hand from the current place on; 0 at the file's end or after a failure.
static size_t at_hand(TextReader *reader) {
    if (reader->has_failed || reader->at >= reader->file->size) return 0;
    if (reader->at == reader->begin + (int64_t)reader->block.size) read_block(reader);
    return reader->has_failed ? 0
                              : (size_t)(reader->begin + (int64_t)reader->block.size - reader->at);
}

static const char *current(const TextReader *reader) {
    return reader->block.data + (reader->at - reader->begin);
}

int text_reader_peek(TextReader *reader) {
    return at_hand(reader) > 0 ? (unsigned char)*current(reader) : -1;
}

size_t text_reader_take(void *to, size_t size, void *context) {
    TextReader *reader = context;
    size_t done = 0;
    for (size_t count; done < size && (count = at_hand(reader)) > 0; done += count) {
        if (count > size - done) count = size - done;
        memcpy((char *)to + done, current(reader), count);
        reader->at += (int64_t)count;
    }
    return done;
}

const char *text_reader_marked(const TextReader *reader) {
    return reader->block.data + (reader->mark - reader->begin);
}

void text_reader_free(TextReader *reader) { byte_buffer_free(&reader->block); }
