// Preloaded: fsync of a checkpoint takes SLOW_DISK_SECONDS longer, and opening a network's weights
// SLOW_WEIGHTS_SECONDS, whatever signals come.
#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int is_checkpoint(int descriptor) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, path, sizeof path - 1);
    path[length > 0 ? length : 0] = 0;
    return strstr(path, "/checkpoint-") != NULL;
}

int fsync(int descriptor) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    const char *seconds = getenv("SLOW_DISK_SECONDS");
    if (seconds && is_checkpoint(descriptor)) sleep((unsigned)atoi(seconds));
    return real(descriptor);
}

static int open_slowly(const char *name, const char *path, int flags, mode_t mode) {
    int (*real)(const char *, int, ...) = (int (*)(const char *, int, ...))dlsym(RTLD_NEXT, name);
    const char *seconds = getenv("SLOW_WEIGHTS_SECONDS");
    unsigned left = seconds && strstr(path, ".safetensors") ? (unsigned)atoi(seconds) : 0;
    while (left) left = sleep(left);
    return real(path, flags, mode);
}

#define OPEN_SLOWLY(name)                             \
    int name(const char *path, int flags, ...) {      \
        va_list arguments;                            \
        va_start(arguments, flags);                   \
        mode_t mode = va_arg(arguments, mode_t);      \
        va_end(arguments);                            \
        return open_slowly(#name, path, flags, mode); \
    }
OPEN_SLOWLY(open)
OPEN_SLOWLY(open64)
