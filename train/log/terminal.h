/// What a terminal shows: its size, its colours, and where its cursor is.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

typedef struct TerminalSize {
    int columns, rows;
} TerminalSize;

/// Of the terminal behind `out` at this moment; 80 by 24 where it does not say.
TerminalSize terminal_size(FILE *out);

typedef enum TerminalColors {
    /// no terminal, one that is dumb (TERM), or the user wants none: NO_COLOR is set and not empty
    /// [no-color.org]
    TERMINAL_PLAIN,
    /// the 256 of xterm
    TERMINAL_256,
    /// any: COLORTERM says truecolor or 24bit
    TERMINAL_TRUE_COLOR
} TerminalColors;

TerminalColors terminal_colors(FILE *out);

/// What switches to bold text of a colour on such a terminal, "\033[1;38;2;66;105;208m", or nothing
/// on a plain one. TERMINAL_COLOR_END switches back.
typedef struct TerminalCode {
    char text[32];
} TerminalCode;
TerminalCode terminal_color(TerminalColors colors, uint8_t red, uint8_t green, uint8_t blue);
#define TERMINAL_COLOR_END "\033[0m"

/// Where printing has led to, from the first column of row 0 on, on a terminal of `columns`.
typedef struct TerminalCursor {
    int columns, row, column;
} TerminalCursor;

/// Goes on by text[0, length) of UTF-8, as utf8_print() shows it: lines that are too long are
/// broken by the terminal, wide characters take two columns.
void terminal_advance(TerminalCursor *cursor, const char *text, size_t length);
