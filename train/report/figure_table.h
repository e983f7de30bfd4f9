/// Figures of evaluations beside each other on a page: a table with intervals and differences to a
/// base, and a chart per figure.
#pragma once
#include "eval/pages/sortable_table.h"
#include "train/evaluation/evaluated_figures.h"

typedef struct FigureRow {
    const char *name;
    /// in small print below the name; NULL: nothing
    const char *note;
    /// [num_figures]
    const FigureEstimate *figures;
    bool is_base;
    /// of the palette, in charts
    int color;
    /// [num_extras] what stands between the name and the figures
    const TableField *extras;
} FigureRow;

typedef struct FigureTable {
    /// [num_figures]
    const char *const *figures;
    int num_figures;
    const FigureRow *rows;
    int num_rows;
    /// what the first column is called
    const char *row_header;
    const TableHeader *extra_headers;
    int num_extras;
    /// a figure, or -1
    int sorted_by;
    /// what rows are compared with; NULL: with nothing
    const char *base;
} FigureTable;

/// A figure of one evaluation; text and note are to be freed.
TableField figure_field(Interval figure);
/// The table: of each figure a column, and one of differences where there is a base, marked where
/// the interval leaves out zero.
void figure_table_add(HtmlReport *page, const FigureTable *table);
/// Charts of the rows' values or of their differences to the base, one for each figure that has
/// any but zeros: a dot and its interval a row.
void figure_table_add_charts(HtmlReport *page, const FigureTable *table, bool differences);
