/// What the page about one run and the page about several have in common: curves, and where they
/// come from.
#pragma once
#include "eval/pages/html_report.h"
#include "train/report/report_run.h"

/// One training, alone: its held-out loss lies in the chart of the loss, and steps that were out of
/// line or left out are marked. Behind them a chart for each figure of eval.tasks.
void report_training_charts(HtmlReport *page, const ReportTraining *training);

/// The trainings that are not NULL, over each other; training i has the number i in the legend that
/// the page shows with plot_legend_html(). Quantities and figures of eval.tasks that none of them
/// logged are left out.
void report_compared_charts(HtmlReport *page, const ReportTraining *const *trainings,
                            const char *const *names, int count);

/// Steps whose loss or gradient norm was out of line with those before, and steps that were not
/// applied.
typedef struct ReportEvents {
    int outliers, left_out;
} ReportEvents;

ReportEvents report_count_events(const ReportTraining *training);

/// A box that the reader opens: each start of the training with its command, and its configuration.
/// Nothing if neither is known.
void report_add_origin(HtmlReport *page, const ReportTraining *training, const char *summary);
