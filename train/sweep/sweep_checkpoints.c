#include "checkpoints/published_adapters.h"
#include "train/sweep/sweep_section.h"

#include <dirent.h>
#include <glob.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void sweep_strings_free(StringList *strings) {
    for (int i = 0; i < strings->count; i++) free(strings->values[i]);
    free(strings->values);
    *strings = (StringList){0};
}

void sweep_strings_add(StringList *strings, const char *text) {
    strings->values = checked_realloc(strings->values, (unsigned long)(strings->count + 1) *
                                                           sizeof *strings->values);
    strings->values[strings->count++] = checked_strdup(text);
}

/// checkpoint-<step>.h5; checkpoint-best.h5 is another name of one of them.
static bool is_checkpoint_name(const char *name) {
    static const char BEGIN[] = "checkpoint-";
    const char *number = name + sizeof BEGIN - 1;
    if (strncmp(name, BEGIN, sizeof BEGIN - 1)) return false;
    size_t digits = strspn(number, "0123456789");
    return digits > 0 && !strcmp(number + digits, ".h5");
}

static bool holds_checkpoints(const char *folder) {
    DIR *directory = opendir(folder);
    bool found = false;
    for (struct dirent *entry; directory && !found && (entry = readdir(directory));)
        found = is_checkpoint_name(entry->d_name);
    if (directory) closedir(directory);
    return found;
}

static bool is_trained(const char *path) {
    struct stat about;
    if (stat(path, &about) != 0) return false;
    const char *name = strrchr(path, '/');
    if (S_ISREG(about.st_mode) && is_checkpoint_name(name ? name + 1 : path)) return true;
    return (S_ISDIR(about.st_mode) && holds_checkpoints(path)) || published_adapters_at(path);
}

static int by_number(const void *a, const void *b) {
    return strverscmp(*(char *const *)a, *(char *const *)b);
}

bool sweep_find_checkpoints(const char *pattern, ConfigPlace place, StringList *found,
                            Error *error) {
    glob_t paths = {0};
    if (!strpbrk(pattern, "*?[") || access(pattern, F_OK) == 0) {
        sweep_strings_add(found, pattern);
        return true;
    }
    if (glob(pattern, 0, NULL, &paths) == 0)
        for (size_t i = 0; i < paths.gl_pathc; i++)
            if (is_trained(paths.gl_pathv[i])) sweep_strings_add(found, paths.gl_pathv[i]);
    globfree(&paths);
    if (found->count == 0)
        return config_refuse_at(place, error, "no checkpoint is named by '%s'",
                                quote(pattern).text);
    qsort(found->values, (size_t)found->count, sizeof *found->values, by_number);
    return true;
}
