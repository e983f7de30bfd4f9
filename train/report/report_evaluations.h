/// The evaluations of a run on its page: a table per task, with intervals.
#pragma once
#include "eval/pages/html_report.h"
#include "train/report/report_run.h"

/// Whether results are of that task; those of point accuracy had another name once, or none.
bool report_is_of_task(const json_t *results, const char *task);

/// What a task is called on a page, and what its figures mean: the task's name and "" where no more
/// is known.
const char *report_task_heading(const char *task);
const char *report_task_text(const char *task);

/// A table for every task but point accuracy that was evaluated: a row per evaluation, a column per
/// figure, "value (low to high)" with its 95% interval.
void report_add_tasks(HtmlReport *page, const ReportRun *run);

/// {"<evaluation>": {"task", "<figure>": value, ...}} of those tasks.
json_t *report_task_summary(const ReportRun *run);
