#include "train/output_folder.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool make_one(const char *path, Error *error) {
    return !mkdir(path, 0777) || errno == EEXIST ||
           error_set(error, "cannot create the folder %s: %m", path);
}

bool output_folder_make(const char *path, Error *error) {
    char *partial = checked_strdup(path);
    bool ok = true;
    for (char *slash = strchr(partial + 1, '/'); ok && slash; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        ok = make_one(partial, error);
        *slash = '/';
    }
    free(partial);
    if (!ok || !make_one(path, error)) return false;
    return !access(path, W_OK | X_OK) ||
           error_set(error, "cannot write to the folder %s: %m; choose another one", path);
}
