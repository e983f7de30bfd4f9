/// Several runs on one page: their evaluations with intervals and differences to the first run's,
/// their curves over each other, their figures side by side with the best ones marked, the settings
/// in which they differ, and who ran what where.
#pragma once
#include "eval/pages/html_report.h"
#include "train/report/report_run.h"

/// The page about runs with these names; the caller frees it. Differences need the evaluations'
/// verdicts and annotations where these were; without them the page says why there are none.
HtmlReport *report_compare(const ReportRun *runs, const char *const *names, int count);
