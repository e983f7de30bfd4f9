// The usage and the help of a command, from its table.
#include "train/arguments.h"

#include "autograd/text/byte_buffer.h"

#include <string.h>

enum { WIDTH = 100, WIDEST_NAME = 24 };

/// "--out DIR"
static void put_name(ByteBuffer *out, const Argument *row) {
    byte_buffer_put_text(out, row->name);
    if (row->value_name) byte_buffer_print(out, " %s", row->value_name);
}

/// "[--words WORD,WORD,...]", "RUN...", "[section.key=value ...]"
static void put_usage(ByteBuffer *out, const Argument *row) {
    const bool is_required = row->rules & ARGUMENT_REQUIRED,
               is_repeatable = row->kind == ARGUMENT_SETTINGS || (row->rules & ARGUMENT_REPEATABLE);
    byte_buffer_put_text(out, is_required ? " " : " [");
    put_name(out, row);
    if (is_repeatable) byte_buffer_put_text(out, " ...");
    if (!is_required) byte_buffer_put_byte(out, ']');
}

char *arguments_usage(const CommandLine *line) {
    ByteBuffer out = {0};
    byte_buffer_print(&out, "difflmm %s", line->verb);
    for (const Argument *row = line->arguments; row->name; row++) put_usage(&out, row);
    return byte_buffer_take(&out);
}

// ---- in lines

static void new_line(ByteBuffer *out, int indent, int *column) {
    byte_buffer_print(out, "\n%*s", indent, "");
    *column = indent;
}

/// Puts words of `text` up to the end of its line from `column` on, in as many lines as they take.
static const char *put_words(ByteBuffer *out, const char *text, int indent, int *column) {
    bool is_first = true;
    while (*text && *text != '\n') {
        const int length = (int)strcspn(text, " \n");
        if (!is_first && *column + 1 + length > WIDTH) {
            new_line(out, indent, column);
            is_first = true;
        }
        byte_buffer_print(out, "%s%.*s", is_first ? "" : " ", length, text);
        *column += length + !is_first;
        is_first = false;
        text += length;
        text += *text == ' ';
    }
    return text;
}

/// Paragraphs; lines that begin with a space stay as they are.
static void put_paragraphs(ByteBuffer *out, const char *text) {
    while (*text) {
        int column = 0;
        const int length = (int)strcspn(text, "\n");
        if (*text == ' ') {
            byte_buffer_print(out, "%.*s", length, text);
            text += length;
        } else {
            text = put_words(out, text, 0, &column);
        }
        byte_buffer_put_byte(out, '\n');
        text += *text == '\n';
    }
}

static void put_rows(ByteBuffer *out, const Argument *rows) {
    ByteBuffer name = {0};
    int widest = 0;
    for (const Argument *row = rows; row->name; row++) {
        byte_buffer_clear(&name);
        put_name(&name, row);
        if ((int)name.size > widest && name.size <= WIDEST_NAME) widest = (int)name.size;
    }
    const int indent = 2 + widest + 2;
    for (const Argument *row = rows; row->name; row++) {
        byte_buffer_clear(&name);
        put_name(&name, row);
        int column = indent;
        byte_buffer_print(out, "  %-*s  ", widest, name.data);
        if ((int)name.size > widest) new_line(out, indent, &column);
        put_words(out, row->help, indent, &column);
        byte_buffer_put_byte(out, '\n');
    }
    byte_buffer_free(&name);
}

char *arguments_help(const CommandLine *line) {
    ByteBuffer out = {0};
    static const char usage[] = "usage: difflmm ";
    byte_buffer_print(&out, "%s%s", usage, line->verb);
    const int indent = (int)out.size;
    int column = indent;
    for (const Argument *row = line->arguments; row->name; row++) {
        ByteBuffer one = {0};
        put_usage(&one, row);
        if (column + (int)one.size > WIDTH) new_line(&out, indent, &column);
        byte_buffer_put(&out, one.data, one.size);
        column += (int)one.size;
        byte_buffer_free(&one);
    }
    byte_buffer_put_text(&out, "\n\n");
    put_paragraphs(&out, line->description);
    byte_buffer_put_byte(&out, '\n');
    put_rows(&out, line->arguments);
    byte_buffer_put_text(&out, "\nexamples:\n");
    byte_buffer_put_text(&out, line->examples);
    return byte_buffer_take(&out);
}
