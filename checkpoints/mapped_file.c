#include "checkpoints/mapped_file.h"

#include "autograd/file_content.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static bool map(MappedFile *file, int descriptor, Error *error) {
    struct stat status;
    if (descriptor < 0 || fstat(descriptor, &status) != 0)
        return error_set(error, "%s: cannot be read: %s", file->path, strerror(errno));
    if (!S_ISREG(status.st_mode)) return error_set(error, "%s: not a file", file->path);
    file->size = (size_t)status.st_size;
    if (file->size == 0) return true;
    void *bytes = mmap(NULL, file->size, PROT_READ, MAP_PRIVATE, descriptor, 0);
    if (bytes == MAP_FAILED)
        return error_set(error, "%s: cannot be mapped: %s", file->path, strerror(errno));
    file->bytes = bytes;
    return file_is_fetched(file->path, bytes, file->size, error);
}

bool mapped_file_open(MappedFile *file, const char *path, Error *error) {
    *file = (MappedFile){.path = checked_strdup(path)};
    // Opening a named pipe for reading would wait for a writer.
    int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    bool mapped = map(file, descriptor, error);
    if (descriptor >= 0) close(descriptor);
    if (!mapped) mapped_file_close(file);
    return mapped;
}

void mapped_file_close(MappedFile *file) {
    if (file->bytes) munmap((void *)file->bytes, file->size);
    free(file->path);
    *file = (MappedFile){0};
}
