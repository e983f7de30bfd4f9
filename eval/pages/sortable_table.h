/// A table of figures that the reader sorts by a click on a header; without a script it stays in
/// its order.
#pragma once
#include "eval/pages/html_report.h"

#include <stdbool.h>

typedef struct TableField {
    /// NULL: nothing
    const char *text;
    /// in small print below the text; NULL: nothing
    const char *note;
    /// what a column of numbers is sorted by; NAN: nothing
    double value;
    bool is_marked;
} TableField;

typedef struct TableHeader {
    const char *text;
    /// its fields are numbers, to the right, and the greatest comes first
    bool is_numeric;
} TableHeader;

typedef struct SortableTable {
    /// [columns]
    const TableHeader *headers;
    /// [rows][columns]; the first column names the row
    const TableField *fields;
    int rows, columns;
    /// the column that it is sorted by, the greatest first; -1: none
    int sorted_by;
    /// the row that stands out; -1: none
    int emphasised;
} SortableTable;

void html_report_sortable_table(HtmlReport *report, const SortableTable *table);
