/// Inside of the page about several runs: its parts.
#pragma once
#include "train/report/report_compare.h"

#define REPORT_MISSING "\u2013"

/// "2  tiny" of the second run, as the legend has it; the caller frees it.
char *report_numbered(int run, const char *name);

/// Trainings of one name, NULL where a run has none.
typedef struct ComparedStage {
    const char *name;
    /// [count]
    const ReportTraining **trainings;
    /// of the runs
    const char *const *names;
    int count;
} ComparedStage;

/// The trainings' figures side by side, the best ones marked.
void report_compare_figures(HtmlReport *page, const ComparedStage *stage);
/// The keys in which their configurations differ.
void report_compare_settings(HtmlReport *page, const ComparedStage *stage);
/// Who began them, where and with what.
void report_compare_starts(HtmlReport *page, const ComparedStage *stage);

/// The runs' evaluations, task by task: of those of one name the figures with their intervals and
/// the differences to the first run that has one, paired over images; then those that only one run
/// has; and a chart of each figure. Nothing if no run has any.
void report_compare_evaluations(HtmlReport *page, const ReportRun *runs, const char *const *names,
                                int count);
