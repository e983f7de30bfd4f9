/// A program of the user's own that answers lines with lines, on its standard input and output.
///
/// Nothing that it does hangs or ends this program: what it should not do is an error, after which
/// it is stopped and every further question is refused with the same message. It ends with this
/// process (Linux: PR_SET_PDEATHSIG, and its input ends); SIGPIPE is never raised here.
#pragma once
#include "autograd/error.h"
#include "autograd/text/byte_buffer.h"

typedef struct LineChild LineChild;

/// Starts `sh -c COMMAND` in a process group of its own, its messages on our standard error. NULL
/// on failure; that there is no such program shows when it is first listened to. Must be called by
/// a thread that lasts as long as the child.
LineChild *line_child_start(const char *command, Error *error);

/// Sends the line (its end is added; NULL: nothing is sent) and waits for one line of at most
/// `most_bytes`, at most `seconds`. False with a message that names the command, also when this
/// process is asked to stop. `line` is emptied first; the line's end is not in it.
bool line_child_exchange(LineChild *child, const ByteBuffer *request, double seconds,
                         size_t most_bytes, ByteBuffer *line, Error *error);

/// Closes its input, gives it a second to end, then kills its group. NULL is nothing.
void line_child_stop(LineChild *child);
