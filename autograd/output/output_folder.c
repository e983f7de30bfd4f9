#include "autograd/output/output_folder.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool make_one(OutputFolder *folder, const char *path, Error *error) {
    if (mkdir(path, 0777) == 0) {
        folder->made =
            checked_realloc(folder->made, (size_t)(folder->count + 1) * sizeof *folder->made);
        folder->made[folder->count++] = strlen(path);
        return true;
    }
    const int reason = errno;
    struct stat status;
    if (reason == EEXIST && stat(path, &status) == 0)
        return S_ISDIR(status.st_mode) ||
               error_set(error, "%s is a file, not a folder; choose another one", path);
    return error_set(error, "cannot create the folder %s: %s", path, strerror(reason));
}

bool output_folder_make(OutputFolder *folder, const char *path, Error *error) {
    *folder = (OutputFolder){.path = checked_strdup(path)};
    char *partial = checked_strdup(path);
    bool ok = true;
    for (char *slash = strchr(partial + (*path == '/'), '/'); ok && slash;
         slash = strchr(slash + 1, '/')) {
        *slash = 0;
        ok = make_one(folder, partial, error);
        *slash = '/';
    }
    free(partial);
    if (!ok || !make_one(folder, path, error)) return false;
    return !access(path, W_OK | X_OK) ||
           error_set(error, "cannot write to the folder %s: %m; choose another one", path);
}

void output_folder_close(OutputFolder *folder, bool has_failed) {
    while (has_failed && folder->count > 0) {
        folder->path[folder->made[--folder->count]] = 0;
        rmdir(folder->path); // fails if something is in it
    }
    free(folder->path);
    free(folder->made);
    *folder = (OutputFolder){0};
}
