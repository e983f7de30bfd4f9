#include "train/log/progress.h"
#include "autograd/text/utf8.h"

#include "autograd/clock.h"
#include "autograd/error.h"
#include "train/log/terminal.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { WIDEST_BAR = 30, NARROWEST_BAR = 5 };
static const double REDRAW_SECONDS = 0.1, PLAIN_SECONDS = 10;

struct Progress {
    FILE *out;
    char *title, *details;
    int64_t first, done, total, plain_interval;
    /// at the last line
    int64_t shown_done;
    double begun, shown;
    /// as the caller has told it, at `expected_at`
    double expected, expected_at;
    bool is_terminal, is_drawn, is_expected;
};

char *format_duration(double seconds) {
    if (!(seconds >= 0 && seconds < 1e9)) return checked_strdup("?");
    long long whole = (long long)(seconds + 0.5);
    long long days = whole / 86400, hours = whole / 3600 % 24, minutes = whole / 60 % 60;
    if (days) return format_string("%lldd %02lld:%02lld", days, hours, minutes);
    if (hours) return format_string("%lld:%02lld:%02lld", hours, minutes, whole % 60);
    return format_string("%lld:%02lld", minutes, whole % 60);
}

char *format_bytes(int64_t bytes) {
    static const char *const UNITS[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    if (bytes < 1024) return format_string("%lld B", (long long)bytes);
    double value = (double)bytes / 1024;
    int unit = 0;
    while (value >= 1000 && unit < 5) {
        value /= 1024;
        unit++;
    }
    return format_string(value < 100 ? "%.1f %s" : "%.0f %s", value, UNITS[unit]);
}

static double fraction_of(int64_t done, int64_t total) {
    if (total <= 0) return 1;
    double fraction = (double)done / (double)total;
    return fraction < 0 ? 0 : fraction > 1 ? 1 : fraction;
}

/// By what the units done have taken; NAN before the first, and behind the last.
static double time_left(int64_t first, int64_t done, int64_t total, double elapsed) {
    if (done <= first || done >= total) return NAN;
    return elapsed / (double)(done - first) * (double)(total - done);
}

/// "1:02, 1:33 left".
static char *format_times(double elapsed, double seconds_left) {
    char *spent = format_duration(elapsed);
    if (isnan(seconds_left)) return spent;
    char *left = format_duration(seconds_left);
    char *both = format_string("%s, %s left", spent, left);
    free(spent);
    free(left);
    return both;
}

static char *format_bar(double fraction, int width) {
    char *bar = checked_malloc((unsigned long)width + 4), *end = bar;
    int filled = (int)(fraction * width);
    *end++ = '[';
    for (int i = 0; i < width; i++) *end++ = i < filled ? '=' : i == filled ? '>' : ' ';
    memcpy(end, "] ", 3);
    return bar;
}

/// Cuts the text to that many columns, never inside of a UTF-8 sequence.
static void cut_to_columns(char *text, int width) {
    int columns = 0;
    for (char *c = text; *c; c++) {
        bool begins = ((unsigned char)*c & 0xc0) != 0x80;
        if (begins && columns++ == width) {
            *c = 0;
            return;
        }
    }
}

static char *format_line(const char *title, int64_t done, int64_t total, double elapsed,
                         double seconds_left, const char *details, int width, int bar) {
    double fraction = fraction_of(done, total);
    char *times = format_times(elapsed, seconds_left);
    char *rest = format_string("%3d%% %lld/%lld%s%s  %s", (int)(100 * fraction), (long long)done,
                               (long long)total, *details ? "  " : "", details, times);
    int room = width ? width - (int)strlen(title) - (int)strlen(rest) - 4 : WIDEST_BAR;
    if (room > WIDEST_BAR) room = WIDEST_BAR;
    char *drawn = bar && room >= NARROWEST_BAR ? format_bar(fraction, room) : checked_strdup("");
    char *line = format_string("%s %s%s", title, drawn, rest);
    if (width) cut_to_columns(line, width);
    free(times);
    free(rest);
    free(drawn);
    return line;
}

char *progress_format(const char *title, int64_t first, int64_t done, int64_t total, double elapsed,
                      const char *details, int width, int bar) {
    return format_line(title, done, total, elapsed, time_left(first, done, total, elapsed), details,
                       width, bar);
}

static void show(Progress *progress) {
    double now = clock_seconds(), elapsed = now - progress->begun,
           left = progress->expected - (now - progress->expected_at);
    if (!progress->is_expected)
        left = time_left(progress->first, progress->done, progress->total, elapsed);
    else if (progress->done >= progress->total)
        left = NAN;
    // The last column stays free: writing into it makes some terminals go to the next line.
    int width = progress->is_terminal ? terminal_size(progress->out).columns - 1 : 0;
    char *line =
        format_line(progress->title, progress->done, progress->total, elapsed, left < 0 ? 0 : left,
                    progress->details, width > 0 ? width : 0, progress->is_terminal);
    if (progress->is_terminal)
        fprintf(progress->out, "\r%s\033[K", line);
    else
        utf8_print(progress->out, "%s\n", line);
    fflush(progress->out);
    free(line);
    progress->shown = clock_seconds();
    progress->shown_done = progress->done;
    progress->is_drawn = true;
}

Progress *progress_begin(FILE *out, const char *title, int64_t done, int64_t total,
                         int64_t plain_interval) {
    Progress *progress = checked_calloc(1, sizeof *progress);
    progress->out = out;
    progress->title = checked_strdup(title);
    progress->details = checked_strdup("");
    progress->first = progress->done = progress->shown_done = done;
    progress->total = total;
    progress->plain_interval = plain_interval;
    progress->begun = progress->shown = clock_seconds();
    progress->is_terminal = out && isatty(fileno(out));
    if (progress->is_terminal) show(progress);
    return progress;
}

static bool is_due(const Progress *progress) {
    double since = clock_seconds() - progress->shown;
    if (progress->is_terminal) return since >= REDRAW_SECONDS;
    return since >= PLAIN_SECONDS ||
           progress->done - progress->shown_done >= progress->plain_interval;
}

void progress_update(Progress *progress, int64_t done, const char *format, ...) {
    if (!progress || !progress->out) return;
    progress->done = done;
    va_list arguments;
    va_start(arguments, format);
    char details[512];
    vsnprintf(details, sizeof details, format, arguments);
    va_end(arguments);
    free(progress->details);
    progress->details = checked_strdup(details);
    if (is_due(progress)) show(progress);
}

void progress_expect(Progress *progress, double seconds_left) {
    if (!progress) return;
    progress->is_expected = true;
    progress->expected = seconds_left;
    progress->expected_at = clock_seconds();
}

void progress_print(Progress *progress, const char *format, ...) {
    if (!progress || !progress->out) return;
    if (progress->is_terminal) fputs("\r\033[K", progress->out);
    va_list arguments;
    va_start(arguments, format);
    utf8_vprint(progress->out, format, arguments);
    va_end(arguments);
    fputc('\n', progress->out);
    if (progress->is_terminal)
        show(progress);
    else
        fflush(progress->out);
}

void progress_end(Progress *progress) {
    if (!progress) return;
    if (progress->out) {
        bool is_shown = progress->is_drawn && progress->shown_done == progress->done;
        if (progress->is_terminal || !is_shown) show(progress);
        if (progress->is_terminal) fputc('\n', progress->out);
        fflush(progress->out);
    }
    free(progress->title);
    free(progress->details);
    free(progress);
}
