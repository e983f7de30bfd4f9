#include "train/report/report_run.h"

#include <stdlib.h>
#include <string.h>

/// The last `parts` parts of a path without double slashes.
static const char *last_parts(const char *path, int parts) {
    const char *at = path + strlen(path);
    for (; at > path; at--)
        if (at[-1] == '/' && parts-- == 1) break;
    return at;
}

static bool are_different(const char *const *names, int count) {
    for (int i = 0; i < count; i++)
        for (int k = 0; k < i; k++)
            if (!strcmp(names[i], names[k])) return false;
    return true;
}

void report_names_free(char **names, int count) {
    for (int i = 0; names && i < count; i++) free(names[i]);
    free(names);
}

static bool refuse_twice(const ReportRun *runs, char *const *paths, int count, Error *error) {
    for (int i = 0; i < count; i++)
        for (int k = 0; k < i; k++)
            if (!strcmp(paths[i], paths[k]))
                return error_set(error, "%s and %s are the same folder", runs[k].folder,
                                 runs[i].folder);
    return true;
}

char **report_names(const ReportRun *runs, int count, Error *error) {
    char **paths = checked_calloc((unsigned long)count, sizeof *paths),
         **names = checked_calloc((unsigned long)count, sizeof *names);
    const char **parts = checked_calloc((unsigned long)count, sizeof *parts);
    for (int i = 0; i < count; i++) {
        paths[i] = realpath(runs[i].folder, NULL);
        if (!paths[i]) paths[i] = checked_strdup(runs[i].folder);
    }
    bool ok = refuse_twice(runs, paths, count, error);
    for (int length = 1; ok; length++) {
        for (int i = 0; i < count; i++) parts[i] = last_parts(paths[i], length);
        if (are_different(parts, count)) break;
    }
    for (int i = 0; ok && i < count; i++) names[i] = checked_strdup(parts[i]);
    report_names_free(paths, count);
    free(parts);
    if (ok) return names;
    free(names);
    return NULL;
}
