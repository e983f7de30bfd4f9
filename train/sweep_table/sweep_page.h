/// The table of a sweep as a page (html_report.h): tables that the reader sorts, and charts.
#pragma once
#include "eval/pages/html_report.h"
#include "train/sweep_table/sweep_table_parts.h"

/// The page about a table that table_estimate() has filled in; the caller frees it.
HtmlReport *sweep_page(const TableContent *content);

/// The figures of table_headline(), where there are any.
void sweep_page_add_headline(HtmlReport *page, const TableContent *content);

/// Of every figure of the task, but those that are the same for all lines, a chart over every key
/// whose values are numbers: lines with intervals, and for eval.layers and eval.heads, where single
/// ones are swept, bars or, over both, a heat map. Other settings are lines or charts beside each
/// other, or, if they are many, their mean.
void sweep_page_add_charts(HtmlReport *page, const TableContent *content, const TableTask *task);
