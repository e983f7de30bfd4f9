/// Lines that a person types, or a script sends: unlike with getline(), waiting for one ends when a
/// signal wants something else done.
#pragma once
#include "autograd/text/byte_buffer.h"

typedef struct LineReader {
    /// a terminal, a pipe or a file
    int descriptor;
    /// bytes that were read and belong to later lines
    ByteBuffer ahead;
    bool at_end;
} LineReader;

typedef enum LineOutcome {
    LINE_READ,
    /// there are no more
    LINE_END,
    /// is_wanted said no, or reading failed
    LINE_UNWANTED
} LineOutcome;

/// Waits for a line; *line receives it without its end (LF or CRLF), to be freed by the caller.
/// is_wanted: asked before waiting and whenever SIGINT, SIGTERM or SIGUSR1 has come; their handlers
/// say to it what came. A line without an end counts at the end.
LineOutcome line_reader_next(LineReader *reader, bool (*is_wanted)(void), char **line);
void line_reader_free(LineReader *reader);
