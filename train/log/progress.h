/// How far a long task is: a bar on a terminal, plain lines elsewhere.
///
/// On a terminal one line is redrawn at most ten times a second, as wide as the terminal is at that
/// moment:
///
///   stage 1 [=======>            ]  40% 240/600  loss 1.234  lr 1.9e-03  812 tokens/s  1:02, 1:33
///   left
///
/// Elsewhere (a file, a pipe, a job's log) a line is written every `plain_interval` units or 10
/// seconds, whichever is longer ago, and at the end.
#pragma once
#include <stdint.h>
#include <stdio.h>

typedef struct Progress Progress;

/// Begins a task of `total` units, of which `done` were done before (a resumed run): time left is
/// estimated from the others. out: usually stderr; NULL shows nothing (every rank but the first),
/// and so does a NULL handle in all functions. progress_end() frees.
Progress *progress_begin(FILE *out, const char *title, int64_t done, int64_t total,
                         int64_t plain_interval);

/// `done` units are done now. The text, printf style, says what else is of interest: "loss 1.234 lr
/// 1e-3".
void progress_update(Progress *progress, int64_t done, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/// What is left takes so many seconds, which the caller knows better than the units tell; NAN: it
/// is not known.
void progress_expect(Progress *progress, double seconds_left);

/// Prints a line of its own, for a warning or an intermediate result, without garbling the bar.
void progress_print(Progress *progress, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/// Shows the last state, leaves the line and frees.
void progress_end(Progress *progress);

/// One line of at most `width` columns (0: any) about a task; the caller frees it. `elapsed`
/// seconds were spent on the units since `first`. Without a `bar` the bar is left out.
char *progress_format(const char *title, int64_t first, int64_t done, int64_t total, double elapsed,
                      const char *details, int width, int bar);

/// "0:07", "12:34", "3:25:45", "2d 03:25" for a number of seconds; the caller frees it.
char *format_duration(double seconds);

/// "512 B", "3.2 MiB", "17.4 GiB"; the caller frees it.
char *format_bytes(int64_t bytes);
