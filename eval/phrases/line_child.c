// Its input is a socket: send(MSG_NOSIGNAL) tells of a child that is gone without SIGPIPE. Request
// and answer go on at the same time, so that neither side waits for a full pipe for ever.
#include "eval/phrases/line_child.h"
#include "autograd/clock.h"
#include "autograd/stop_request.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { POLL_MILLISECONDS = 200, READ_BYTES = 1 << 16 };
static const double SECONDS_TO_END = 1;

struct LineChild {
    char *command;
    /// 0: it has ended, and its files are closed
    pid_t pid;
    int input, output;
    /// What it printed beyond the lines that were asked for.
    ByteBuffer unread;
    /// Why nothing is asked of it any more.
    Error failure;
    bool has_failed;
};

static void become_command(const char *command, int input, int output, pid_t parent) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    setpgid(0, 0);
    if (getppid() != parent) _exit(127); // the parent died before it could be waited for
    if (dup2(input, STDIN_FILENO) < 0 || dup2(output, STDOUT_FILENO) < 0) _exit(127);
    execl("/bin/sh", "sh", "-c", command, (char *)NULL);
    _exit(127);
}

LineChild *line_child_start(const char *command, Error *error) {
    int sockets[2], pipes[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) != 0) {
        error_set(error, "command '%s': %s", quote(command).text, strerror(errno));
        return NULL;
    }
    if (pipe2(pipes, O_CLOEXEC) != 0) {
        error_set(error, "command '%s': %s", quote(command).text, strerror(errno));
        close(sockets[0]);
        close(sockets[1]);
        return NULL;
    }
    const pid_t parent = getpid(), pid = fork();
    if (pid == 0) become_command(command, sockets[1], pipes[1], parent);
    const int fork_error = errno;
    close(sockets[1]);
    close(pipes[1]);
    if (pid < 0) {
        close(sockets[0]);
        close(pipes[0]);
        error_set(error, "command '%s': %s", quote(command).text, strerror(fork_error));
        return NULL;
    }
    setpgid(pid, pid); // whoever of the two is first
    fcntl(pipes[0], F_SETFL, O_NONBLOCK);
    LineChild *child = checked_calloc(1, sizeof *child);
    child->command = checked_strdup(command);
    child->pid = pid;
    child->input = sockets[0];
    child->output = pipes[0];
    return child;
}

/// Waits for its end, at most `seconds`; returns whether it has ended, and how.
static bool wait_for_end(LineChild *child, double seconds, int *status) {
    const double deadline = clock_seconds() + seconds;
    for (;;) {
        const pid_t ended = waitpid(child->pid, status, WNOHANG);
        if (ended == child->pid || (ended < 0 && errno != EINTR)) return true;
        if (clock_seconds() >= deadline) return false;
        poll(NULL, 0, 5);
    }
}

/// Ends the process, if there is one still: closes its input, waits for `seconds`, then kills it.
/// Returns whether it ended by itself, and how.
static bool end_process(LineChild *child, double seconds, int *status) {
    *status = 0;
    if (child->pid == 0) return false;
    close(child->input);
    const bool has_ended = wait_for_end(child, seconds, status);
    kill(-child->pid, SIGKILL); // what it started as well
    if (!has_ended) waitpid(child->pid, status, 0);
    close(child->output);
    child->pid = 0;
    return has_ended;
}

void line_child_stop(LineChild *child) {
    if (!child) return;
    int status;
    end_process(child, SECONDS_TO_END, &status);
    byte_buffer_free(&child->unread);
    free(child->command);
    free(child);
}

/// Keeps what went wrong, and stops the process.
static bool fail(LineChild *child, const Error *reason, Error *error) {
    child->failure = *reason;
    child->has_failed = true;
    error_context(&child->failure, "command '%s'", quote(child->command).text);
    int status;
    end_process(child, 0, &status);
    return error_set(error, "%s", child->failure.message);
}

/// It closed its output: says how it ended.
static bool fail_at_end(LineChild *child, Error *error) {
    Error reason = {0};
    int status;
    if (!end_process(child, SECONDS_TO_END, &status))
        error_set(&reason, "it closed its output");
    else if (WIFSIGNALED(status))
        error_set(&reason, "it was ended by signal %d (%s)", WTERMSIG(status),
                  strsignal(WTERMSIG(status)));
    else
        error_set(&reason, "it ended with exit status %d%s", WEXITSTATUS(status),
                  WEXITSTATUS(status) == 127 ? ": there may be no such program" : "");
    return fail(child, &reason, error);
}

/// Moves the first line of what is unread to `line`; false if there is no whole one.
static bool take_line(LineChild *child, ByteBuffer *line) {
    const char *end =
        child->unread.size ? memchr(child->unread.data, '\n', child->unread.size) : NULL;
    if (!end) return false;
    const size_t size = (size_t)(end - child->unread.data), behind = child->unread.size - size - 1;
    byte_buffer_put(line, child->unread.data, size);
    memmove(child->unread.data, end + 1, behind);
    child->unread.size = behind;
    return true;
}

/// A line on its way to the child.
typedef struct Sending {
    ByteBuffer line;
    size_t sent;
    /// It closed its input: what it has to say is still read.
    bool is_refused;
} Sending;

static void send_some(LineChild *child, Sending *sending) {
    const ssize_t count = send(child->input, sending->line.data + sending->sent,
                               sending->line.size - sending->sent, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (count >= 0)
        sending->sent += (size_t)count;
    else
        sending->is_refused = errno != EAGAIN && errno != EINTR;
}

/// Reads what there is. False at the end of its output.
static bool read_some(LineChild *child) {
    char bytes[READ_BYTES];
    const ssize_t count = read(child->output, bytes, sizeof bytes);
    if (count > 0) byte_buffer_put(&child->unread, bytes, (size_t)count);
    return count > 0 || (count < 0 && (errno == EAGAIN || errno == EINTR));
}

/// Waits a moment for the child, and sends and reads what is possible. False at the end of its
/// output.
static bool exchange_some(LineChild *child, Sending *sending) {
    const bool is_sending = !sending->is_refused && sending->sent < sending->line.size;
    struct pollfd both[] = {{.fd = child->output, .events = POLLIN},
                            {.fd = is_sending ? child->input : -1, .events = POLLOUT}};
    if (poll(both, 2, POLL_MILLISECONDS) <= 0) return true;
    if (both[1].revents) send_some(child, sending);
    return !both[0].revents || read_some(child);
}

bool line_child_exchange(LineChild *child, const ByteBuffer *request, double seconds,
                         size_t most_bytes, ByteBuffer *line, Error *error) {
    if (child->has_failed) return error_set(error, "%s", child->failure.message);
    Sending sending = {0};
    if (request) {
        byte_buffer_put(&sending.line, request->data, request->size);
        byte_buffer_put_byte(&sending.line, '\n');
    }
    byte_buffer_clear(line);
    byte_buffer_put(line, "", 0);
    const double deadline = clock_seconds() + seconds;
    bool is_answered;
    while (!(is_answered = take_line(child, line))) {
        Error reason = {0};
        if (child->unread.size > most_bytes)
            error_set(&reason, "it printed a line of more than %zu bytes", most_bytes);
        else if (clock_seconds() >= deadline)
            error_set(&reason, "it did not answer within %g seconds", seconds);
        else if (stop_requested())
            stop_request_error(&reason);
        if (reason.message[0]) {
            fail(child, &reason, error);
            break;
        }
        if (!exchange_some(child, &sending)) {
            fail_at_end(child, error);
            break;
        }
    }
    byte_buffer_free(&sending.line);
    return is_answered;
}
