// Preloaded: fsync of a checkpoint takes SLOW_DISK_SECONDS longer.
#include <dlfcn.h>
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
