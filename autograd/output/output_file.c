// The temporary file lies in the target's folder, because rename() is atomic only within one file
// system.
#include "autograd/output/output_file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SUFFIX_LETTERS = 6 };
static const char LETTERS[] = "abcdefghijklmnopqrstuvwxyz012345";

struct OutputFile {
    char *path;
    char *temporary_path;
    int descriptor;
};

static char *folder_of(const char *path) {
    const char *slash = strrchr(path, '/');
    if (!slash) return checked_strdup(".");
    if (slash == path) return checked_strdup("/");
    return format_string("%.*s", (int)(slash - path), path);
}

static void file_free(OutputFile *file) {
    if (file->descriptor >= 0) close(file->descriptor);
    free(file->path);
    free(file->temporary_path);
    free(file);
}

/// Opens a new file with the permissions that the user's umask gives (mkstemp would make it
/// private), under a name whose last six letters are random.
static int open_new(char *path) {
    char *suffix = path + strlen(path) - SUFFIX_LETTERS;
    for (int attempt = 0; attempt < 100; attempt++) {
        unsigned char random[SUFFIX_LETTERS];
        if (getentropy(random, sizeof random) != 0) return -1;
        for (int i = 0; i < SUFFIX_LETTERS; i++) suffix[i] = LETTERS[random[i] % 32];
        int descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (descriptor >= 0 || errno != EEXIST) return descriptor;
    }
    return -1;
}

OutputFile *output_create(const char *path, Error *error) {
    OutputFile *file = checked_calloc(1, sizeof *file);
    file->path = checked_strdup(path);
    file->temporary_path = format_string("%s.XXXXXX", path);
    file->descriptor = open_new(file->temporary_path);
    if (file->descriptor >= 0) return file;
    error_set(error, "%s: cannot be written: %s. The folder must exist and be writable", path,
              strerror(errno));
    file_free(file);
    return NULL;
}

const char *output_temporary_path(const OutputFile *file) { return file->temporary_path; }

static bool write_all(int descriptor, const char *path, const void *data, size_t bytes,
                      Error *error) {
    const char *next = data;
    while (bytes > 0) {
        ssize_t written = write(descriptor, next, bytes);
        if (written < 0 && errno == EINTR) continue;
        if (written < 0 && errno == EFAULT) // of a mapped file
            return error_set(error,
                             "%s: writing failed: what is to be written comes from a file that has "
                             "become shorter while it was in use",
                             path);
        if (written <= 0)
            return error_set(error, "%s: writing failed: %s", path,
                             written < 0 ? strerror(errno) : "no space was left");
        next += written;
        bytes -= (size_t)written;
    }
    return true;
}

bool output_write(OutputFile *file, const void *data, size_t bytes, Error *error) {
    return write_all(file->descriptor, file->path, data, bytes, error);
}

bool output_append(const char *path, const void *data, size_t bytes, Error *error) {
    int descriptor = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
    if (descriptor < 0) return error_set(error, "%s: cannot be written: %s", path, strerror(errno));
    off_t before = lseek(descriptor, 0, SEEK_END);
    bool written = write_all(descriptor, path, data, bytes, error);
    if (!written && ftruncate(descriptor, before) != 0)
        error_context(error, "a part of a line is left in it");
    if (close(descriptor) != 0 && written)
        written = error_set(error, "%s: writing failed: %s", path, strerror(errno));
    return written;
}

/// Makes the rename itself durable. File systems that cannot sync a folder (some network ones)
/// order it themselves.
static void sync_folder(const char *path) {
    char *folder = folder_of(path);
    int descriptor = open(folder, O_RDONLY | O_DIRECTORY);
    if (descriptor >= 0) {
        fsync(descriptor);
        close(descriptor);
    }
    free(folder);
}

bool output_commit(OutputFile *file, Error *error) {
    int failure = fsync(file->descriptor) == 0 ? 0 : errno;
    int descriptor = file->descriptor;
    file->descriptor = -1;
    if (close(descriptor) != 0 && failure == 0) failure = errno;
    if (failure == 0 && rename(file->temporary_path, file->path) != 0) failure = errno;
    if (failure != 0) {
        error_set(error, "%s: writing failed: %s", file->path, strerror(failure));
        output_abandon(file);
        return false;
    }
    sync_folder(file->path);
    file_free(file);
    return true;
}

void output_abandon(OutputFile *file) {
    if (!file) return;
    // Whoever else holds it open (a library that could not close it) shall not hold the disk's
    // space.
    if (file->descriptor >= 0 && ftruncate(file->descriptor, 0) != 0) errno = 0;
    unlink(file->temporary_path);
    file_free(file);
}

void output_remove_remains(const char *path) {
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    char *folder = folder_of(path);
    size_t length = strlen(name);
    DIR *directory = opendir(folder);
    for (struct dirent *entry; directory && (entry = readdir(directory));) {
        const char *suffix = entry->d_name + length + 1;
        if (!strncmp(entry->d_name, name, length) && entry->d_name[length] == '.' &&
            strlen(suffix) == SUFFIX_LETTERS && strspn(suffix, LETTERS) == SUFFIX_LETTERS)
            unlinkat(dirfd(directory), entry->d_name, 0);
    }
    if (directory) closedir(directory);
    free(folder);
}

bool output_whole_file(const char *path, const void *data, size_t bytes, Error *error) {
    OutputFile *file = output_create(path, error);
    if (!file) return false;
    if (!output_write(file, data, bytes, error)) {
        output_abandon(file);
        return false;
    }
    return output_commit(file, error);
}
