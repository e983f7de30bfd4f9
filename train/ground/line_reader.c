#include "train/ground/line_reader.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

/// The first line of what was read ahead, if it is whole.
static bool take_line(LineReader *reader, char **line) {
    ByteBuffer *ahead = &reader->ahead;
    const char *end = ahead->size ? memchr(ahead->data, '\n', ahead->size) : NULL;
    if (!end && !(reader->at_end && ahead->size)) return false;
    size_t length = end ? (size_t)(end - ahead->data) : ahead->size, used = length + (end != NULL);
    if (length > 0 && ahead->data[length - 1] == '\r') length--;
    *line = format_string("%.*s", (int)length, ahead->data);
    memmove(ahead->data, ahead->data + used, ahead->size - used);
    ahead->size -= used;
    return true;
}

/// Waits until there is something to be read, or a signal comes: these are let in only while it
/// waits, so that none comes between asking and waiting.
static bool wait_for_input(LineReader *reader, bool (*is_wanted)(void)) {
    sigset_t held, before;
    sigemptyset(&held);
    sigaddset(&held, SIGINT);
    sigaddset(&held, SIGTERM);
    sigaddset(&held, SIGUSR1);
    sigprocmask(SIG_BLOCK, &held, &before);
    struct pollfd input = {reader->descriptor, POLLIN, 0};
    int ready = 0;
    bool wanted;
    while ((wanted = is_wanted()) && (ready = ppoll(&input, 1, NULL, &before)) < 0 &&
           errno == EINTR)
        ;
    sigprocmask(SIG_SETMASK, &before, NULL);
    return wanted && ready > 0;
}

LineOutcome line_reader_next(LineReader *reader, bool (*is_wanted)(void), char **line) {
    enum { AT_ONCE = 4096 };
    while (!take_line(reader, line)) {
        if (reader->at_end) return LINE_END;
        if (!wait_for_input(reader, is_wanted)) return LINE_UNWANTED;
        ssize_t got =
            read(reader->descriptor, byte_buffer_reserve(&reader->ahead, AT_ONCE), AT_ONCE);
        if (got < 0 && errno != EINTR) return LINE_UNWANTED;
        if (got > 0) reader->ahead.size += (size_t)got;
        reader->at_end = got == 0;
    }
    return LINE_READ;
}

void line_reader_free(LineReader *reader) { byte_buffer_free(&reader->ahead); }
