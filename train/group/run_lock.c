// A lock of the open file description [fcntl(2), F_OFD_SETLK], not of the process: closing another
// descriptor of the file, as any library may, does not drop it. The kernel's lock decides; what the
// file says is for the message, and for file systems without locks.
#include "train/group/run_lock.h"

#include "autograd/clock.h"
#include "autograd/text/utf8.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/// A run that is about to end (one that was killed has memory to give back) is waited for so long,
/// seconds.
static const double PATIENCE = 3, BETWEEN_TRIES = 0.1;

struct RunLock {
    char *path;
    int descriptor;
};

/// Whom the file names.
typedef struct Holder {
    char host[256], started[64];
    /// 0: nobody.
    long pid;
} Holder;

typedef enum Outcome { TAKEN, HELD, NO_LOCKS, FAILED } Outcome;

static void this_process(Holder *holder) {
    time_t now = time(NULL);
    struct tm parts;
    *holder = (Holder){.pid = getpid()};
    if (gethostname(holder->host, sizeof holder->host - 1) || !*holder->host)
        snprintf(holder->host, sizeof holder->host, "localhost");
    strftime(holder->started, sizeof holder->started, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &parts));
}

static void read_holder(int descriptor, Holder *holder) {
    char text[512] = {0};
    *holder = (Holder){0};
    if (pread(descriptor, text, sizeof text - 1, 0) <= 0) return;
    if (sscanf(text, "host %255s pid %ld started %63s", holder->host, &holder->pid,
               holder->started) != 3)
        *holder = (Holder){0};
}

static bool write_holder(const RunLock *lock, Error *error) {
    Holder self;
    this_process(&self);
    char *text = format_string("host %s pid %ld started %s\n", self.host, self.pid, self.started);
    size_t length = strlen(text);
    ssize_t written = -1;
    if (ftruncate(lock->descriptor, 0) == 0) written = pwrite(lock->descriptor, text, length, 0);
    free(text);
    return written == (ssize_t)length ||
           error_set(error, "%s: cannot be written: %s", lock->path,
                     written < 0 ? strerror(errno) : "the disk is full");
}

/// Whether the name still leads to the file that was opened: the run before may have removed it
/// meanwhile.
static bool is_current(const RunLock *lock) {
    struct stat opened, named;
    return fstat(lock->descriptor, &opened) == 0 && stat(lock->path, &named) == 0 &&
           opened.st_dev == named.st_dev && opened.st_ino == named.st_ino;
}

static Outcome try_once(RunLock *lock, Holder *holder, Error *error) {
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    lock->descriptor = open(lock->path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (lock->descriptor < 0) {
        error_set(error, "%s: cannot be written: %s", lock->path, strerror(errno));
        return FAILED;
    }
    read_holder(lock->descriptor, holder);
    bool locked = fcntl(lock->descriptor, F_OFD_SETLK, &whole) == 0;
    bool held = !locked && (errno == EAGAIN || errno == EACCES);
    if (locked && is_current(lock)) return TAKEN;
    if (!locked && !held) return NO_LOCKS;
    close(lock->descriptor);
    lock->descriptor = -1;
    return HELD;
}

static bool is_here(const Holder *holder) {
    Holder self;
    this_process(&self);
    return holder->pid && !strcmp(holder->host, self.host);
}

/// The number of a process that has ended may be another's by now, of any program.
static bool runs_here(const Holder *holder) {
    char path[64], own[4096], its[4096];
    if (!is_here(holder) || holder->pid == getpid()) return false;
    if (kill((pid_t)holder->pid, 0) != 0 && errno == ESRCH) return false;
    snprintf(path, sizeof path, "/proc/%ld/exe", holder->pid);
    ssize_t length = readlink(path, its, sizeof its - 1),
            own_length = readlink("/proc/self/exe", own, sizeof own - 1);
    if (length < 0 || own_length < 0) return true;
    its[length] = own[own_length] = 0;
    const char *name = strrchr(its, '/'), *own_name = strrchr(own, '/');
    return name && own_name && !strcmp(name, own_name);
}

static bool refuse(const char *folder, const Holder *holder, Error *error) {
    char *who = holder->pid ? format_string("process %ld of host %s, since %s", holder->pid,
                                            holder->host, holder->started)
                            : checked_strdup("a process that did not say which");
    error_set(error,
              "%s is in use by another run: %s; wait for it, end it, or choose another folder",
              folder, who);
    free(who);
    return false;
}

/// What a free lock does not tell.
static bool judge(const char *folder, Outcome outcome, const Holder *holder, Error *error) {
    if (outcome == NO_LOCKS) {
        if (runs_here(holder)) return refuse(folder, holder, error);
        utf8_print(
            stderr,
            "warning: %s: the file system has no locks; nothing keeps a run of another machine "
            "from using it as well\n",
            folder);
    }
    if (holder->pid && !is_here(holder))
        utf8_print(stderr,
                   "warning: %s was last used by process %ld of host %s (since %s), which has not "
                   "ended in order; if it is still running, end it\n",
                   folder, holder->pid, holder->host, holder->started);
    return true;
}

/// Waits so many seconds for one who has it.
static RunLock *take(const char *folder, double patience, bool *is_held, Error *error) {
    RunLock *lock = checked_calloc(1, sizeof *lock);
    lock->path = format_string("%s/run.lock", folder);
    Holder holder;
    Outcome outcome;
    double until = clock_seconds() + patience;
    while ((outcome = try_once(lock, &holder, error)) == HELD && clock_seconds() < until)
        usleep((useconds_t)(1e6 * BETWEEN_TRIES));
    *is_held = outcome == HELD;
    bool ok = outcome == TAKEN || outcome == NO_LOCKS;
    if (outcome == HELD) refuse(folder, &holder, error);
    if (ok && judge(folder, outcome, &holder, error)) {
        if (write_holder(lock, error)) return lock;
        unlink(lock->path);
    }
    if (lock->descriptor >= 0) close(lock->descriptor);
    free(lock->path);
    free(lock);
    return NULL;
}

RunLock *run_lock_take(const char *folder, Error *error) {
    bool is_held;
    return take(folder, PATIENCE, &is_held, error);
}

RunLock *run_lock_try(const char *folder, bool *is_held, Error *error) {
    return take(folder, 0, is_held, error);
}

void run_lock_pass_on(const RunLock *lock) { fcntl(lock->descriptor, F_SETFD, 0); }

void run_lock_release(RunLock *lock) {
    if (!lock) return;
    unlink(lock->path); // before the lock is gone: who takes it then sees that the file is another
    close(lock->descriptor);
    free(lock->path);
    free(lock);
}
