/// An answer on the terminal: its text while it is written, then its phrases in the colours that
/// their masks have in overlay.png, and where they point. In a pipe or a file the same without
/// colours:
///
///   A small red ring and a blue bar on the sand.
///     1  a small red ring  at x 31, y 40
///     2  a blue bar  at x 96, y 12
#pragma once
#include "train/ground/grounder.h"
#include "train/log/terminal.h"

/// Prints an answer as it comes: a listener's context.
typedef struct AnswerPrinter {
    FILE *out;
    TerminalColors colors;
    /// where the text has led to
    TerminalCursor cursor;
    /// asked at every token whether the answer goes on; NULL: it does
    bool (*goes_on)(void);
} AnswerPrinter;

AnswerPrinter answer_printer(FILE *out, bool (*goes_on)(void));
/// AnswerListener.hear, with the printer as context. Question 0 is printed.
bool answer_printer_hear(void *printer, int question, const char *piece, size_t length);

/// Behind the answer's last piece. On a terminal with colours the text is written once more in its
/// place, with its phrases coloured; below the old one where that has scrolled away. Then the
/// phrases follow, one a line.
void answer_printer_end(AnswerPrinter *printer, const GroundedAnswer *answer);
/// The phrases alone.
void print_phrases(FILE *out, TerminalColors colors, const GroundedAnswer *answer);
