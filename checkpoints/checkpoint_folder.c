#include "checkpoints/checkpoint_folder.h"

#include "autograd/stop_request.h"
#include "checkpoints/training_state.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char BEST[] = "checkpoint-best.h5";

char *checkpoint_path(const char *folder, int64_t step) {
    return format_string("%s/checkpoint-%lld.h5", folder, (long long)step);
}

/// The step in "checkpoint-<step>.h5", or -1; `rest` receives what follows ".h5".
static int64_t step_of(const char *name, const char **rest) {
    static const char prefix[] = "checkpoint-", suffix[] = ".h5";
    if (strncmp(name, prefix, strlen(prefix)) != 0 || !isdigit((unsigned char)name[strlen(prefix)]))
        return -1;
    char *end;
    errno = 0;
    int64_t step = strtoll(name + strlen(prefix), &end, 10);
    if (errno != 0 || strncmp(end, suffix, strlen(suffix)) != 0) return -1;
    *rest = end + strlen(suffix);
    return step;
}

static int descending(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x < y) - (x > y);
}

/// The steps of all checkpoints, highest first (the caller frees them). A missing folder has none.
/// With `clean`, removes the temporary files of writes that a kill or a crash cut short.
static bool list_steps(const char *folder, bool clean, int64_t **steps, int64_t *count,
                       Error *error) {
    *steps = NULL;
    *count = 0;
    DIR *directory = opendir(folder);
    if (!directory && errno == ENOENT) return true;
    if (!directory) return error_set(error, "%s: cannot be read: %s", folder, strerror(errno));
    for (struct dirent *entry; (entry = readdir(directory));) {
        const char *rest = "";
        int64_t step = step_of(entry->d_name, &rest);
        if (step < 0) continue;
        if (*rest == '\0') {
            *steps = checked_realloc(*steps, (size_t)(*count + 1) * sizeof **steps);
            (*steps)[(*count)++] = step;
        } else if (clean && *rest == '.' && strlen(rest) == strlen(".XXXXXX")) {
            unlinkat(dirfd(directory), entry->d_name, 0);
        }
    }
    closedir(directory);
    if (*count > 0) qsort(*steps, (size_t)*count, sizeof **steps, descending);
    return true;
}

static bool is_intact(const char *path, Error *error) {
    StateFile *file = state_open(path, error);
    bool intact = file && state_verify(file, error);
    state_close(file);
    return intact;
}

bool checkpoint_newest(const char *folder, CheckpointWarning *warning, void *context, char **path,
                       int64_t *step, Error *error) {
    int64_t *steps, count;
    *path = NULL;
    if (!list_steps(folder, false, &steps, &count, error)) return false;
    bool ok = true;
    for (int64_t i = 0; ok && i < count && !*path; i++) {
        char *candidate = checkpoint_path(folder, steps[i]);
        Error damage = {0};
        if (is_intact(candidate, &damage)) {
            *path = candidate;
            *step = steps[i];
            break;
        }
        free(candidate);
        ok = !stop_requested(); // or it was not looked at to its end
        error_context(&damage, "passed over a checkpoint");
        if (ok && warning) warning(damage.message, context);
    }
    free(steps);
    return ok || stop_request_error(error);
}

void checkpoint_warn(const char *message, void *context) {
    (void)context;
    fprintf(stderr, "warning: %s\n", message);
}

char *checkpoint_resolve(const char *path, Error *error) {
    struct stat status;
    if (stat(path, &status)) {
        error_set(error, "%s does not exist; expected a checkpoint or a folder of checkpoints",
                  path);
        return NULL;
    }
    if (!S_ISDIR(status.st_mode)) return checked_strdup(path);
    char *newest = NULL;
    int64_t step;
    if (!checkpoint_newest(path, checkpoint_warn, NULL, &newest, &step, error)) return NULL;
    if (!newest) error_set(error, "%s holds no intact checkpoint-<step>.h5", path);
    return newest;
}

/// Points checkpoint-best.h5 at the best checkpoint, if that exists: a link under another name
/// takes the old one's place at once.
static bool link_best(const char *folder, int64_t step, Error *error) {
    char *best = checkpoint_path(folder, step), *link = format_string("%s/%s", folder, BEST),
         *fresh = format_string("%s/%s.new", folder, BEST);
    const char *target = strrchr(best, '/') + 1;
    bool ok =
        access(best, F_OK) != 0 ||
        ((unlink(fresh) == 0 || errno == ENOENT) && symlink(target, fresh) == 0 &&
         rename(fresh, link) == 0) ||
        error_set(error, "%s: cannot be made to point at %s: %s", link, target, strerror(errno));
    free(best);
    free(link);
    free(fresh);
    return ok;
}

static void remove_link_to_nothing(const char *folder) {
    char *link = format_string("%s/%s", folder, BEST);
    if (access(link, F_OK) != 0) unlink(link);
    free(link);
}

static bool stays(const CheckpointRetention *retention, int64_t step, int64_t newer) {
    return retention->newest <= 0 || newer < retention->newest ||
           (retention->every > 0 && step % retention->every == 0) || step == retention->best_step;
}

bool checkpoint_retain(const char *folder, int64_t step, const CheckpointRetention *retention,
                       Error *error) {
    int64_t *steps, total, newer = 0;
    if (retention->best_step >= 0 && !link_best(folder, retention->best_step, error)) return false;
    bool removed = true;
    if (!list_steps(folder, true, &steps, &total, error)) return false;
    for (int64_t i = 0; i < total && removed; i++) {
        if (steps[i] > step || stays(retention, steps[i], newer++)) continue;
        char *path = checkpoint_path(folder, steps[i]);
        if (unlink(path) != 0)
            removed = error_set(error, "%s: cannot be removed: %s", path, strerror(errno));
        free(path);
    }
    free(steps);
    remove_link_to_nothing(folder);
    return removed;
}

static char *new_folder_aside(const char *folder, Error *error) {
    for (int n = 1;; n++) {
        char *path = format_string("%s/set-aside-%d", folder, n);
        if (mkdir(path, 0777) == 0) return path;
        bool taken = errno == EEXIST;
        if (!taken) error_set(error, "%s: cannot be made: %s", path, strerror(errno));
        free(path);
        if (!taken) return NULL;
    }
}

static bool move_aside(const char *folder, const char *where, int64_t step, Error *error) {
    char *from = checkpoint_path(folder, step), *to = checkpoint_path(where, step);
    bool moved = rename(from, to) == 0 ||
                 error_set(error, "%s: cannot become %s: %s", from, to, strerror(errno));
    free(from);
    free(to);
    return moved;
}

bool checkpoint_set_aside(const char *folder, int64_t step, char **where, int *count,
                          Error *error) {
    int64_t *steps, total;
    *where = NULL;
    *count = 0;
    if (!list_steps(folder, false, &steps, &total, error)) return false;
    bool ok = true;
    for (int64_t i = 0; ok && i < total && steps[i] > step; i++) {
        if (!*where) *where = new_folder_aside(folder, error);
        ok = *where && move_aside(folder, *where, steps[i], error);
        *count += ok;
    }
    free(steps);
    if (*where) remove_link_to_nothing(folder);
    return ok;
}

bool checkpoint_clean(const char *folder, Error *error) {
    int64_t *steps, total;
    if (!list_steps(folder, true, &steps, &total, error)) return false;
    free(steps);
    return true;
}
