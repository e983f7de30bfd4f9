#include "autograd/home_path.h"

#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/// Of the user of that name, "" being who runs the program; NULL if there is none. The caller frees
/// it.
static char *home_of(const char *user) {
    const char *home = *user ? NULL : getenv("HOME");
    if (home && *home) return checked_strdup(home);
    const struct passwd *entry = *user ? getpwnam(user) : getpwuid(getuid());
    return entry && entry->pw_dir && *entry->pw_dir ? checked_strdup(entry->pw_dir) : NULL;
}

char *home_path(const char *path, Error *error) {
    if (path[0] != '~') return checked_strdup(path);
    const size_t length = strcspn(path + 1, "/");
    char *user = format_string("%.*s", (int)length, path + 1), *home = home_of(user), *full = NULL;
    if (home)
        full = format_string("%s%s", home, path + 1 + length);
    else if (*user)
        error_set(error, "there is no user '%s'; a file of that name is ./%s", quote(user).text,
                  quote(path).text);
    else
        error_set(error, "the home folder is not known: set HOME");
    free(home);
    free(user);
    return full;
}
