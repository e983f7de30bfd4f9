#include "train/log/terminal.h"

#include "autograd/text/utf8.h"

#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <utf8proc.h>

enum { USUAL_COLUMNS = 80, USUAL_ROWS = 24, TAB = 8, ESCAPED_BYTE = 4 };

TerminalSize terminal_size(FILE *out) {
    struct winsize size = {0};
    if (ioctl(fileno(out), TIOCGWINSZ, &size)) size = (struct winsize){0};
    return (TerminalSize){size.ws_col ? size.ws_col : USUAL_COLUMNS,
                          size.ws_row ? size.ws_row : USUAL_ROWS};
}

static bool is_set_to(const char *variable, const char *a, const char *b) {
    const char *value = getenv(variable);
    return value && (!strcmp(value, a) || !strcmp(value, b));
}

TerminalColors terminal_colors(FILE *out) {
    const char *unwanted = getenv("NO_COLOR");
    if (!isatty(fileno(out)) || (unwanted && *unwanted) || !getenv("TERM") ||
        is_set_to("TERM", "dumb", ""))
        return TERMINAL_PLAIN;
    return is_set_to("COLORTERM", "truecolor", "24bit") ? TERMINAL_TRUE_COLOR : TERMINAL_256;
}

/// The nearest of the six levels of xterm's colour cube: 0, 95, 135, 175, 215, 255.
static int cube_level(uint8_t value) {
    return value < 48 ? 0 : value < 115 ? 1 : (value - 35) / 40;
}

TerminalCode terminal_color(TerminalColors colors, uint8_t red, uint8_t green, uint8_t blue) {
    TerminalCode code = {""};
    if (colors == TERMINAL_TRUE_COLOR)
        snprintf(code.text, sizeof code.text, "\033[1;38;2;%d;%d;%dm", red, green, blue);
    if (colors == TERMINAL_256)
        snprintf(code.text, sizeof code.text, "\033[1;38;5;%dm",
                 16 + 36 * cube_level(red) + 6 * cube_level(green) + cube_level(blue));
    return code;
}

static int width_of(const char *text, size_t length) {
    utf8proc_int32_t character;
    utf8proc_ssize_t taken =
        utf8proc_iterate((const utf8proc_uint8_t *)text, (utf8proc_ssize_t)length, &character);
    return taken > 0 ? utf8proc_charwidth(character) : 1;
}

/// A terminal goes to the next row when something is to be shown behind the last column, not
/// before.
static void show(TerminalCursor *cursor, int width) {
    if (cursor->column + width > cursor->columns) {
        cursor->row++;
        cursor->column = 0;
    }
    cursor->column += width;
}

void terminal_advance(TerminalCursor *cursor, const char *text, size_t length) {
    for (size_t at = 0, count; at < length; at += count) {
        count = 1;
        if (text[at] == '\n') {
            cursor->row++;
            cursor->column = 0;
        } else if (text[at] == '\t') {
            int next = (cursor->column / TAB + 1) * TAB;
            cursor->column = next < cursor->columns ? next : cursor->columns - 1;
        } else if ((count = utf8_printable_length(text + at, length - at)) > 0) {
            show(cursor, width_of(text + at, count));
        } else {
            for (int i = 0; i < ESCAPED_BYTE; i++) show(cursor, 1); // "\xNN"
            count = 1;
        }
    }
}
