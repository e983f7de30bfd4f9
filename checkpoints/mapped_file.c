// What a signal handler may read is a table that never moves: a place in it is taken and left by
// one atomic pointer.
#include "checkpoints/mapped_file.h"

#include "autograd/file_content.h"
#include "autograd/text/utf8.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MOST_FILES = 4096 };

typedef struct Mapping {
    /// NULL: the place is free.
    _Atomic(const unsigned char *) begin;
    const unsigned char *end;
    /// as a terminal takes it
    char *path;
} Mapping;

/// Files beyond MOST_FILES are mapped all the same; only their bus errors are not explained.
static Mapping mappings[MOST_FILES];
/// for whoever changes the table
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct sigaction earlier;

static const char *path_at(const unsigned char *address) {
    for (int i = 0; i < MOST_FILES; i++) {
        const unsigned char *begin = atomic_load(&mappings[i].begin);
        if (begin && address >= begin && address < mappings[i].end) return mappings[i].path;
    }
    return NULL;
}

static void print(const char *text) {
    if (write(STDERR_FILENO, text, strlen(text)) < 0) return;
}

static void on_bus_error(int number, siginfo_t *info, void *context) {
    const bool is_fault = info->si_code > 0; // and not sent by a process
    const char *path = is_fault ? path_at(info->si_addr) : NULL;
    if (path) {
        print(isatty(STDERR_FILENO) ? "\ndifflmm: " : "difflmm: "); // behind a progress bar
        print(path);
        print(": the file was changed while it was in use, and has become shorter; or its disk "
              "failed. Write new weights to another file, or rename it into this one's place\n");
        _exit(1);
    }
    static atomic_bool is_passed_on; // to one that may ask us in turn
    if (earlier.sa_flags & SA_SIGINFO && !atomic_exchange(&is_passed_on, true)) {
        earlier.sa_sigaction(number, info, context);
        atomic_store(&is_passed_on, false);
        return;
    }
    if (earlier.sa_flags & SA_SIGINFO) earlier = (struct sigaction){.sa_handler = SIG_DFL};
    sigaction(number, &earlier, NULL); // the same fault again
    if (!is_fault) raise(number);
}

/// Takes the signal unless it is ours already. What others install later, MPI for one, comes first
/// or asks us.
static void take_signal(void) {
    struct sigaction now, action = {.sa_sigaction = on_bus_error, .sa_flags = SA_SIGINFO};
    if (sigaction(SIGBUS, NULL, &now) != 0) return;
    if (now.sa_flags & SA_SIGINFO && now.sa_sigaction == on_bus_error) return;
    earlier = now;
    sigaction(SIGBUS, &action, NULL);
}

static void enter(const MappedFile *file) {
    pthread_mutex_lock(&lock);
    take_signal();
    int i = 0;
    while (i < MOST_FILES && mappings[i].begin) i++;
    if (i < MOST_FILES) {
        mappings[i].end = file->bytes + file->size;
        mappings[i].path = utf8_printable(file->path);
        atomic_store(&mappings[i].begin, file->bytes);
    }
    pthread_mutex_unlock(&lock);
}

static void leave(const MappedFile *file) {
    pthread_mutex_lock(&lock);
    for (int i = 0; i < MOST_FILES; i++) {
        if (mappings[i].begin != file->bytes) continue;
        atomic_store(&mappings[i].begin, NULL);
        free(mappings[i].path);
    }
    pthread_mutex_unlock(&lock);
}

static bool map(MappedFile *file, int descriptor, Error *error) {
    struct stat status;
    if (descriptor < 0 || fstat(descriptor, &status) != 0)
        return error_set(error, "%s: cannot be read: %s", file->path, strerror(errno));
    if (!S_ISREG(status.st_mode)) return error_set(error, "%s: not a file", file->path);
    file->size = (size_t)status.st_size;
    if (file->size == 0) return true;
    void *bytes = mmap(NULL, file->size, PROT_READ, MAP_PRIVATE, descriptor, 0);
    if (bytes == MAP_FAILED)
        return error_set(error, "%s: cannot be mapped: %s", file->path, strerror(errno));
    file->bytes = bytes;
    enter(file);
    return file_is_fetched(file->path, bytes, file->size, error);
}

bool mapped_file_open(MappedFile *file, const char *path, Error *error) {
    *file = (MappedFile){.path = checked_strdup(path)};
    // Opening a named pipe for reading would wait for a writer.
    int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    bool mapped = map(file, descriptor, error);
    if (descriptor >= 0) close(descriptor);
    if (!mapped) mapped_file_close(file);
    return mapped;
}

void mapped_file_close(MappedFile *file) {
    if (file->bytes) {
        leave(file);
        munmap((void *)file->bytes, file->size);
    }
    free(file->path);
    *file = (MappedFile){0};
}
