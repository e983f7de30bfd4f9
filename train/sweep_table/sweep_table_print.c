// The figure that was asked for in full, the others beside each other.
#include "autograd/text/utf8.h"
#include "train/sweep_table/sweep_table_parts.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { LEAST_NAME = 12, MOST_NAME = 56, VALUE_WIDTH = 9, MOST_LINES = 60 };

static int letters_of(const char *text) {
    int letters = 0;
    for (const char *c = text; *c; c++) letters += (*c & 0xc0) != 0x80;
    return letters;
}

/// A text that is longer ends in "...".
static void print_padded(FILE *out, const char *text, int width) {
    char *shown = utf8_printable(text);
    int letters = letters_of(shown);
    if (letters > width) {
        char *end = shown;
        for (int left = width - 2; left > 0; left -= (*++end & 0xc0) != 0x80) {}
        *end = 0;
        fprintf(out, "%s...", shown);
    } else {
        fprintf(out, "%s%*s", shown, width - letters, "");
    }
    free(shown);
}

/// The first lines, and the base wherever it is.
static bool is_printed(const TableTask *task, int line) {
    return line < MOST_LINES || task->lines[line].is_base;
}

static int name_width(const TableTask *task) {
    int width = letters_of(task->name) > LEAST_NAME ? letters_of(task->name) : LEAST_NAME;
    for (int l = 0; l < task->num_lines; l++) {
        int letters = letters_of(task->lines[l].name);
        if (letters > width) width = letters;
    }
    return width < MOST_NAME ? width : MOST_NAME;
}

static void print_interval(FILE *out, const char *format, double value, double low, double high) {
    fprintf(out, "  ");
    if (isfinite(value))
        fprintf(out, format, value);
    else
        fprintf(out, "%7s", "-");
    if (isfinite(low) && isfinite(high)) {
        fprintf(out, " (");
        fprintf(out, format, low);
        fprintf(out, " to ");
        fprintf(out, format, high);
        fprintf(out, ")");
    } else {
        fprintf(out, "%22s", "");
    }
}

static void print_line(FILE *out, const TableContent *content, const TableTask *task,
                       const TableLine *line, int width) {
    const FigureEstimate *figure = &line->figures[task->sorted_by];
    print_padded(out, line->name, width);
    if (content->has_seeds) fprintf(out, " %5d", line->count);
    print_interval(out, "%7.4f", figure->value, figure->low, figure->high);
    if (line->is_base)
        fprintf(out, "  the base");
    else if (isfinite(figure->difference)) {
        print_interval(out, "%+7.4f", figure->difference, figure->difference_low,
                       figure->difference_high);
        fprintf(out, "%s", figure_estimate_differs(figure) ? " *" : "");
    }
    fprintf(out, "\n");
}

static void print_others(FILE *out, const TableTask *task, int width) {
    print_padded(out, "", width);
    for (int f = 0; f < task->num_figures; f++) {
        if (f == task->sorted_by) continue;
        fprintf(out, "  %*s ", VALUE_WIDTH, task->figures[f]);
    }
    fprintf(out, "\n");
    for (int l = 0; l < task->num_lines; l++) {
        if (!is_printed(task, l)) continue;
        print_padded(out, task->lines[l].name, width);
        for (int f = 0; f < task->num_figures; f++) {
            const FigureEstimate *figure = &task->lines[l].figures[f];
            int column = (int)strlen(task->figures[f]);
            if (column < VALUE_WIDTH) column = VALUE_WIDTH;
            if (f == task->sorted_by) continue;
            if (isfinite(figure->value))
                fprintf(out, "  %*.4f", column, figure->value);
            else
                fprintf(out, "  %*s", column, "-");
            fprintf(out, "%s", figure_estimate_differs(figure) ? "*" : " ");
        }
        fprintf(out, "\n");
    }
}

static void print_task(FILE *out, const TableContent *content, const TableTask *task) {
    int width = name_width(task);
    fprintf(out, "\n");
    print_padded(out, task->name, width);
    if (content->has_seeds) fprintf(out, " %5s", "seeds");
    const char *name = task->num_figures ? task->figures[task->sorted_by] : "";
    fprintf(out, "  %-29s%s\n", name, content->has_base ? "  difference to the base" : "");
    if (!task->num_figures) return;
    for (int l = 0; l < task->num_lines; l++)
        if (is_printed(task, l)) print_line(out, content, task, &task->lines[l], width);
    fprintf(out, "\n");
    if (task->num_figures > 1) print_others(out, task, width);
    if (task->num_lines > MOST_LINES)
        fprintf(out, "\nand so on: all %d lines are in table.csv and index.html\n",
                task->num_lines);
}

/// Each reason once, with the first line that it holds for.
static void print_remarks(FILE *out, const TableTask *task) {
    for (int l = 0; l < task->num_lines; l++) {
        const char *text = task->lines[l].remark;
        bool is_said = !text;
        for (int k = 0; k < l && !is_said; k++)
            is_said = task->lines[k].remark && !strcmp(task->lines[k].remark, text);
        if (!is_said) utf8_print(out, "\n%s: %s\n", task->lines[l].name, text);
    }
}

/// Values, with a star where they differ from the base's.
static void print_headline_row(FILE *out, const Headline *headline, const HeadlineRow *row,
                               const char *label, int width) {
    print_padded(out, label, width);
    for (int c = 0; c < headline->num_columns; c++) {
        const FigureEstimate *estimate = table_headline_estimate(row, c);
        const int letters = letters_of(headline->columns[c]),
                  column = letters < VALUE_WIDTH ? VALUE_WIDTH : letters;
        if (estimate && isfinite(estimate->value))
            fprintf(out, "  %*.4f", column, estimate->value);
        else
            fprintf(out, "  %*s", column, "-");
        fprintf(out, "%s", estimate && figure_estimate_differs(estimate) ? "*" : " ");
    }
    fprintf(out, "\n");
}

static char *headline_label(const HeadlineRow *row) {
    return format_string("%s: %s%s%s", row->headline->evaluation, row->headline->figure,
                         row->task->stage ? " after " : "",
                         row->task->stage ? row->task->stage : "");
}

static void print_headline(FILE *out, const TableContent *content) {
    Headline headline = table_headline(content);
    int width = LEAST_NAME;
    for (int r = 0; r < headline.num_rows; r++) {
        char *label = headline_label(&headline.rows[r]);
        const int letters = letters_of(label);
        if (letters > width) width = letters < MOST_NAME ? letters : MOST_NAME;
        free(label);
    }
    if (headline.num_rows) {
        fprintf(out, "\n");
        print_padded(out, "headline", width);
        for (int c = 0; c < headline.num_columns; c++) {
            char *shown = utf8_printable(headline.columns[c]);
            fprintf(out, "  %*s%s ",
                    letters_of(shown) < VALUE_WIDTH ? VALUE_WIDTH - letters_of(shown) : 0, "",
                    shown);
            free(shown);
        }
        fprintf(out, "\n");
    }
    for (int r = 0; r < headline.num_rows; r++) {
        char *label = headline_label(&headline.rows[r]);
        print_headline_row(out, &headline, &headline.rows[r], label, width);
        free(label);
    }
    for (int r = 0; r < headline.num_rows; r++)
        if (headline.rows[r].figure < 0)
            utf8_print(out, "\n%s has no figure '%s'\n", headline.rows[r].task->name,
                       headline.rows[r].headline->figure);
    table_headline_free(&headline);
}

/// A figure that no task has was misspelt.
static void say_unknown_figure(FILE *out, const TableContent *content) {
    const char *wanted = content->table->sort_by;
    bool is_known = !wanted || !content->num_tasks;
    for (int t = 0; t < content->num_tasks; t++)
        is_known |= table_figure(&content->tasks[t], wanted) >= 0;
    if (!is_known)
        utf8_print(out, "\nno figure is called '%s': lines are sorted by the first\n", wanted);
}

void table_print(const TableContent *content, FILE *out) {
    bool has_mark = false;
    say_unknown_figure(out, content);
    for (int t = 0; t < content->num_tasks; t++) {
        const TableTask *task = &content->tasks[t];
        print_task(out, content, task);
        print_remarks(out, task);
        for (int l = 0; l < task->num_lines; l++)
            for (int f = 0; f < task->num_figures; f++)
                has_mark |= figure_estimate_differs(&task->lines[l].figures[f]);
    }
    print_headline(out, content);
    if (has_mark)
        fprintf(out,
                "\n* the 95%% interval of the paired difference to the base leaves out zero\n");
    if (content->num_failed) fprintf(out, "\nfailed:\n");
    for (int c = 0; c < content->table->num_cells; c++)
        if (content->cells[c].failure)
            utf8_print(out, "%s: %s\n", content->cells[c].cell->name, content->cells[c].failure);
}
