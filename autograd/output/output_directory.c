// The temporary folder lies beside the target, because rename() is atomic only within one file
// system.
#include "autograd/output/output_directory.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct OutputDirectory {
    char *path;
    char *temporary_path;
};

static void directory_free(OutputDirectory *directory) {
    free(directory->path);
    free(directory->temporary_path);
    free(directory);
}

static bool make_folder(OutputDirectory *directory, Error *error) {
    struct stat status;
    if (lstat(directory->path, &status) == 0)
        return error_set(error, "%s exists already; remove it or choose another name",
                         directory->path);
    if (!mkdtemp(directory->temporary_path))
        return error_set(error,
                         "%s: cannot be made: %s. The folder above it must exist and be writable",
                         directory->path, strerror(errno));
    mode_t mask = umask(0); // mkdtemp makes it private; the user's umask is what is meant
    umask(mask);
    if (!chmod(directory->temporary_path, 0777 & ~mask)) return true;
    error_set(error, "%s: %s", directory->temporary_path, strerror(errno));
    rmdir(directory->temporary_path);
    return false;
}

OutputDirectory *output_directory_create(const char *path, Error *error) {
    OutputDirectory *directory = checked_calloc(1, sizeof *directory);
    directory->path = checked_strdup(path);
    size_t length = strlen(path);
    while (length > 1 && directory->path[length - 1] == '/') directory->path[--length] = '\0';
    directory->temporary_path = format_string("%s.XXXXXX", directory->path);
    if (make_folder(directory, error)) return directory;
    directory_free(directory);
    return NULL;
}

const char *output_directory_temporary_path(const OutputDirectory *directory) {
    return directory->temporary_path;
}

/// Makes what a folder lists durable. File systems that cannot sync a folder (some network ones)
/// order it themselves.
static void sync_folder(const char *path) {
    int descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (descriptor < 0) return;
    fsync(descriptor);
    close(descriptor);
}

/// rename() would silently take the place of an empty folder. Not every file system can do it the
/// strict way.
static bool rename_new(const char *from, const char *to) {
    if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0) return true;
    return (errno == EINVAL || errno == ENOSYS) && rename(from, to) == 0;
}

bool output_directory_commit(OutputDirectory *directory, Error *error) {
    sync_folder(directory->temporary_path);
    if (!rename_new(directory->temporary_path, directory->path)) {
        error_set(error, "%s: cannot be made: %s", directory->path, strerror(errno));
        output_directory_abandon(directory);
        return false;
    }
    char *slash = strrchr(directory->path, '/');
    if (slash == directory->path)
        slash[1] = 0;
    else if (slash)
        *slash = 0;
    sync_folder(slash ? directory->path : ".");
    directory_free(directory);
    return true;
}

static int remove_entry(const char *path, const struct stat *status, int type, struct FTW *walk) {
    (void)status, (void)type, (void)walk;
    return remove(path);
}

void output_directory_abandon(OutputDirectory *directory) {
    if (!directory) return;
    nftw(directory->temporary_path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    directory_free(directory);
}

/// "<name>.XXXXXX", of letters and digits.
static bool is_remains_of(const char *entry, const char *name) {
    enum { SUFFIX_LETTERS = 6 };
    size_t length = strlen(name), letters = 0;
    if (strncmp(entry, name, length) != 0 || entry[length] != '.') return false;
    const char *suffix = entry + length + 1;
    while (isalnum((unsigned char)suffix[letters])) letters++;
    return letters == SUFFIX_LETTERS && !suffix[letters];
}

void output_directory_remove_remains(const char *path) {
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    char *folder = slash ? format_string("%.*s", (int)(name - path), path) : checked_strdup(".");
    DIR *directory = opendir(folder);
    for (struct dirent *entry; directory && (entry = readdir(directory));) {
        char *beside = format_string("%s/%s", folder, entry->d_name);
        struct stat status;
        if (is_remains_of(entry->d_name, name) && lstat(beside, &status) == 0 &&
            S_ISDIR(status.st_mode))
            nftw(beside, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
        free(beside);
    }
    if (directory) closedir(directory);
    free(folder);
}
