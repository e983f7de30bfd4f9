// Preloaded: something happens at the DISK_FAULT_AT-th change (a write, a rename, an unlink) to
// files whose path contains DISK_FAULT_PATH. What: DISK_FAULT,
//
//   kill   a write is cut in half, and the process kills itself; in front of a rename or an unlink
//   full   a write is cut in half, and from then on every one of them fails: the disk is full
//   term   the process is asked to stop, and goes on
//   hang   the process goes on no more, and does not end
//
// With DISK_FAULT_COUNT, a file, each change appends a letter to it: w, r or u.
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void *next(const char *name) { return dlsym(RTLD_NEXT, name); }

static const char *setting(const char *name) {
    const char *value = getenv(name);
    return value ? value : "";
}

static void count(char letter) {
    const char *path = getenv("DISK_FAULT_COUNT");
    int file = path ? open(path, O_WRONLY | O_APPEND | O_CREAT, 0666) : -1;
    if (file < 0) return;
    ssize_t (*real)(int, const void *, size_t) = next("write");
    if (real(file, &letter, 1) != 1) abort();
    close(file);
}

typedef enum Fault { NONE, HERE, SINCE } Fault;

/// What happens at a change to the path.
static Fault change_of(const char *path, char letter) {
    static long changes;
    const char *part = setting("DISK_FAULT_PATH");
    if (!*part || !strstr(path, part)) return NONE;
    count(letter);
    long at = atol(setting("DISK_FAULT_AT"));
    changes++;
    if (at && changes == at && !strcmp(setting("DISK_FAULT"), "term")) raise(SIGTERM);
    if (at && changes == at && !strcmp(setting("DISK_FAULT"), "hang")) raise(SIGSTOP);
    return !at || changes < at ? NONE : changes == at ? HERE : SINCE;
}

static Fault change_of_descriptor(int descriptor) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, path, sizeof path - 1);
    path[length > 0 ? length : 0] = 0;
    return change_of(path, 'w');
}

static int is(const char *what) { return !strcmp(setting("DISK_FAULT"), what); }

/// Writes what can be written; `at` < 0: where the file is.
static ssize_t change(int descriptor, const void *bytes, size_t size, off_t at) {
    ssize_t (*real_write)(int, const void *, size_t) = next("write");
    ssize_t (*real_pwrite)(int, const void *, size_t, off_t) = next("pwrite");
    Fault fault = change_of_descriptor(descriptor);
    if (fault == SINCE && is("full")) return errno = ENOSPC, -1;
    if (fault == HERE && (is("kill") || is("full"))) size /= 2;
    ssize_t written =
        at < 0 ? real_write(descriptor, bytes, size) : real_pwrite(descriptor, bytes, size, at);
    if (fault == HERE && is("kill")) raise(SIGKILL);
    return written;
}

ssize_t write(int descriptor, const void *bytes, size_t size) {
    return change(descriptor, bytes, size, -1);
}

ssize_t pwrite(int descriptor, const void *bytes, size_t size, off_t at) {
    return change(descriptor, bytes, size, at);
}

ssize_t pwrite64(int descriptor, const void *bytes, size_t size, off_t at) {
    return change(descriptor, bytes, size, at);
}

int rename(const char *from, const char *to) {
    int (*real)(const char *, const char *) = next("rename");
    if (change_of(from, 'r') == HERE && is("kill")) raise(SIGKILL);
    return real(from, to);
}

int unlink(const char *path) {
    int (*real)(const char *) = next("unlink");
    if (change_of(path, 'u') == HERE && is("kill")) raise(SIGKILL);
    return real(path);
}
