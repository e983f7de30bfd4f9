#include "train/ground/ground_print.h"

#include "autograd/text/utf8.h"
#include "eval/pages/palette.h"

#include <string.h>

AnswerPrinter answer_printer(FILE *out, bool (*goes_on)(void)) {
    return (AnswerPrinter){
        out, terminal_colors(out), {.columns = terminal_size(out).columns}, goes_on};
}

bool answer_printer_hear(void *context, int question, const char *piece, size_t length) {
    AnswerPrinter *printer = context;
    if (question == 0 && length > 0) {
        utf8_print(printer->out, "%.*s", (int)length, piece);
        fflush(printer->out);
        terminal_advance(&printer->cursor, piece, length);
    }
    return !printer->goes_on || printer->goes_on();
}

static TerminalCode color_of(TerminalColors colors, int phrase) {
    Color color = palette_color(phrase);
    return terminal_color(colors, color.red, color.green, color.blue);
}

static void print_part(FILE *out, const char *text, int begin, int end) {
    utf8_print(out, "%.*s", end - begin, text + begin);
}

/// Phrases that overlap an earlier one stay as they are.
static void print_colored(FILE *out, TerminalColors colors, const char *text,
                          const Grounding *grounding) {
    int done = 0;
    for (int i = 0; i < grounding->count; i++) {
        const Phrase *phrase = &grounding->items[i].phrase;
        if (phrase->begin < done) continue;
        print_part(out, text, done, phrase->begin);
        fputs(color_of(colors, i).text, out);
        print_part(out, text, phrase->begin, phrase->end);
        fprintf(out, "[%d]" TERMINAL_COLOR_END, i + 1);
        done = phrase->end;
    }
    print_part(out, text, done, (int)strlen(text));
}

void answer_printer_end(AnswerPrinter *printer, const GroundedAnswer *answer) {
    FILE *out = printer->out;
    if (printer->colors != TERMINAL_PLAIN && answer->grounding.count) {
        int up = printer->cursor.row;
        if (up >= terminal_size(out).rows)
            fputs("\n\n", out);
        else if (up)
            fprintf(out, "\r\033[%dA\033[J", up);
        else
            fputs("\r\033[J", out);
        print_colored(out, printer->colors, answer->answer.text, &answer->grounding);
    }
    fputc('\n', out);
    print_phrases(out, printer->colors, answer);
    fflush(out);
}

void print_phrases(FILE *out, TerminalColors colors, const GroundedAnswer *answer) {
    for (int i = 0; i < answer->grounding.count; i++) {
        const GroundedPhrase *item = &answer->grounding.items[i];
        bool plain = colors == TERMINAL_PLAIN;
        fprintf(out, "  %s%d  ", color_of(colors, i).text, i + 1);
        print_part(out, answer->answer.text, item->phrase.begin, item->phrase.end);
        fprintf(out, "%s  at x %d, y %d\n", plain ? "" : TERMINAL_COLOR_END, item->point.column,
                item->point.row);
    }
}
