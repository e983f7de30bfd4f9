#include "data/archive/archive_path.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct Known {
    char *path;
    /// NULL: why it could not be opened is in `error`
    Archive *archive;
    Error error;
    struct Known *next;
} Known;

static Known *known_archives;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static const Known *find_known(const char *path, size_t length) {
    const Known *known = known_archives;
    while (known && (strlen(known->path) != length || memcmp(known->path, path, length) != 0))
        known = known->next;
    return known;
}

/// The archive in a file, opened now or before.
static const Archive *archive_in(const char *path, size_t length, Error *error) {
    pthread_mutex_lock(&lock);
    const Known *known = find_known(path, length);
    if (!known) {
        Known *added = checked_calloc(1, sizeof *added);
        added->path = format_string("%.*s", (int)length, path);
        added->archive = archive_open(added->path, &added->error);
        added->next = known_archives;
        known = known_archives = added;
    }
    pthread_mutex_unlock(&lock);
    if (!known->archive && error) *error = known->error;
    return known->archive;
}

void archives_forget(void) {
    while (known_archives) {
        Known *known = known_archives;
        known_archives = known->next;
        archive_close(known->archive);
        free(known->path);
        free(known);
    }
}

/// The length of the path's beginning that is a file, with more behind it; 0 if there is none.
static size_t file_within(const char *path) {
    char *beginning = checked_strdup(path);
    size_t found = 0;
    for (size_t at = 1; path[at] && !found; at++) {
        struct stat status;
        if (path[at] != '/') continue;
        beginning[at] = 0;
        if (stat(beginning, &status) == 0 && S_ISREG(status.st_mode)) found = at;
        beginning[at] = '/';
    }
    free(beginning);
    return found;
}

static bool read_member(const char *path, size_t most, ByteBuffer *bytes, Error *error) {
    const size_t length = file_within(path);
    if (!length) return error_set(error, "%s: cannot be read: %s", path, strerror(ENOTDIR));
    const Archive *archive = archive_in(path, length, error);
    errno = 0;
    if (!archive) return false;
    const ArchiveMember *member = archive_find(archive, path + length + 1);
    if (!member) {
        error_set(error, "%s: cannot be read: there is no such file in the archive", path);
        errno = ENOENT;
        return false;
    }
    errno = 0;
    return archive_read(archive, member, most, bytes, error);
}

static bool read_open_file(const char *path, int descriptor, size_t most, ByteBuffer *bytes,
                           Error *error) {
    struct stat status;
    if (fstat(descriptor, &status) != 0)
        return error_set(error, "%s: cannot be read: %s", path, strerror(errno));
    if (!S_ISREG(status.st_mode)) return error_set(error, "%s: not a file", path);
    if (status.st_size > ARCHIVE_MOST_BYTES)
        return error_set(error, "%s: larger than the limit of %d bytes", path, ARCHIVE_MOST_BYTES);
    const size_t size = (size_t)status.st_size < most ? (size_t)status.st_size : most;
    char *place = byte_buffer_reserve(bytes, size + 1);
    while (bytes->size < size) {
        const ssize_t count = read(descriptor, place + bytes->size, size - bytes->size);
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) return error_set(error, "%s: cannot be read: %s", path, strerror(errno));
        if (count == 0) break;
        bytes->size += (size_t)count;
    }
    return true;
}

bool archive_path_read(const char *path, size_t most, ByteBuffer *bytes, Error *error) {
    // Opening a named pipe would wait for a writer.
    const int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (descriptor < 0 && errno == ENOTDIR) return read_member(path, most, bytes, error);
    if (descriptor < 0) return error_set(error, "%s: cannot be read: %s", path, strerror(errno));
    const bool done = read_open_file(path, descriptor, most, bytes, error);
    close(descriptor);
    return done;
}

bool archive_path_is_folder(const char *path, Error *error) {
    struct stat status;
    if (stat(path, &status) != 0) return error_set(error, "%s: %s", path, strerror(errno));
    return S_ISDIR(status.st_mode) || archive_in(path, strlen(path), error) != NULL;
}
