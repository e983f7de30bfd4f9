#include "autograd/output/journal.h"

#include "autograd/crc32c.h"
#include "autograd/text/byte_buffer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char MAGIC[8] = "dlmmlog1";
/// size (8 bytes, little endian) and checksum (4) in front of every record
enum { HEAD = 12 };

struct Journal {
    char *path;
    int file;
    /// [count + 1] where records begin; the last: where the next one goes
    int64_t *offsets;
    int64_t count, capacity;
};

static bool failed(const Journal *journal, const char *what, Error *error) {
    return error_set(error, "%s: %s: %s", journal->path, what, strerror(errno));
}

static bool read_at(const Journal *journal, void *bytes, size_t size, int64_t at) {
    for (char *to = bytes; size;) {
        ssize_t got = pread(journal->file, to, size, at);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return false;
        to += got;
        at += got;
        size -= (size_t)got;
    }
    return true;
}

static bool write_at(const Journal *journal, const char *bytes, size_t size, int64_t at) {
    while (size) {
        ssize_t written = pwrite(journal->file, bytes, size, at);
        if (written < 0 && errno == EINTR) continue;
        if (written <= 0) return false;
        bytes += written;
        at += written;
        size -= (size_t)written;
    }
    return true;
}

static uint64_t little_endian(const uint8_t *bytes, int size) {
    uint64_t value = 0;
    for (int i = size; i-- > 0;) value = value << 8 | bytes[i];
    return value;
}

static void remember(Journal *journal, int64_t next) {
    if (journal->count + 1 == journal->capacity) {
        journal->capacity *= 2;
        journal->offsets =
            checked_realloc(journal->offsets, (size_t)journal->capacity * sizeof *journal->offsets);
    }
    journal->offsets[++journal->count] = next;
}

/// The bytes of the record at `at`, or NULL if there is no whole one.
static char *record_at(const Journal *journal, int64_t at, int64_t end, size_t *size) {
    uint8_t head[HEAD];
    if (end - at < HEAD || !read_at(journal, head, HEAD, at)) return NULL;
    uint64_t length = little_endian(head, 8);
    if (length > (uint64_t)(end - at - HEAD)) return NULL;
    char *bytes = checked_malloc(length + 1);
    bytes[length] = '\0';
    if (!read_at(journal, bytes, length, at + HEAD) ||
        crc32c(0, bytes, length) != little_endian(head + 8, 4)) {
        free(bytes);
        return NULL;
    }
    *size = length;
    return bytes;
}

/// Finds the records that are whole.
static bool scan(Journal *journal, bool append, Error *error) {
    struct stat about;
    char magic[sizeof MAGIC];
    if (fstat(journal->file, &about) != 0) return failed(journal, "cannot be read", error);
    int64_t end = about.st_size, at = sizeof MAGIC;
    size_t begun = end < at ? (size_t)end : sizeof MAGIC; // a kill may have cut the mark short
    if (!S_ISREG(about.st_mode) || !read_at(journal, magic, begun, 0) ||
        memcmp(magic, MAGIC, begun) != 0)
        return error_set(error, "%s: is not a journal of an evaluation; move it away",
                         journal->path);
    if (append && begun < sizeof MAGIC && !write_at(journal, MAGIC, sizeof MAGIC, 0))
        return failed(journal, "cannot be written", error);
    journal->offsets[0] = at;
    size_t size;
    for (char *record; (record = record_at(journal, at, end, &size)); free(record))
        remember(journal, at += HEAD + (int64_t)size);
    if (append && end > at && ftruncate(journal->file, at) != 0)
        return failed(journal, "cannot be cut to its whole records", error);
    return true;
}

Journal *journal_open(const char *path, bool append, Error *error) {
    Journal *journal = checked_calloc(1, sizeof *journal);
    journal->path = format_string("%s", path);
    journal->capacity = 64;
    journal->offsets = checked_malloc((size_t)journal->capacity * sizeof *journal->offsets);
    journal->file = open(path, (append ? O_RDWR | O_CREAT : O_RDONLY) | O_CLOEXEC, 0666);
    if (journal->file < 0)
        failed(journal, "cannot be opened", error);
    else if (scan(journal, append, error))
        return journal;
    journal_close(journal);
    return NULL;
}

void journal_close(Journal *journal) {
    if (!journal) return;
    if (journal->file >= 0) close(journal->file);
    free(journal->offsets);
    free(journal->path);
    free(journal);
}

int64_t journal_count(const Journal *journal) { return journal->count; }

char *journal_read(const Journal *journal, int64_t index, size_t *size, Error *error) {
    CHECK(index >= 0 && index < journal->count, "record %lld of %lld", (long long)index,
          (long long)journal->count);
    char *record = record_at(journal, journal->offsets[index], journal->offsets[index + 1], size);
    if (!record)
        error_set(error, "%s: record %lld has changed since the file was opened", journal->path,
                  (long long)index);
    return record;
}

bool journal_append(Journal *journal, const void *bytes, size_t size, Error *error) {
    ByteBuffer record = {0};
    byte_buffer_put_little_endian(&record, size, 8);
    byte_buffer_put_little_endian(&record, crc32c(0, bytes, size), 4);
    byte_buffer_put(&record, bytes, size);
    int64_t at = journal->offsets[journal->count];
    bool ok = write_at(journal, record.data, record.size, at);
    if (ok) {
        remember(journal, at + (int64_t)record.size);
    } else {
        failed(journal, "cannot be written", error);
        if (ftruncate(journal->file, at) != 0) { // what is left of it is passed over in any case
        }
    }
    byte_buffer_free(&record);
    return ok;
}
