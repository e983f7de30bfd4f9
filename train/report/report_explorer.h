/// Explorers of attention (eval/pages/explorer.h) of what evaluations left: answers, their maps,
/// and verdicts. Annotations and pictures are read again, from where the evaluation's configuration
/// says; no model is.
#pragma once
#include "eval/pages/explorer.h"
#include "eval/pages/html_report.h"
#include "train/report/report_run.h"

typedef struct ExplorerChoice {
    /// most examples on a page; 0: there are no pages
    int64_t examples;
    /// the first ones; false: of one evaluation the worst, of two those whose figures differ most
    bool first;
} ExplorerChoice;

/// An evaluation: its folder (eval.output_dir), and its name for the reader.
typedef struct ExploredFolder {
    const char *folder, *name;
} ExploredFolder;

/// An explorer of an evaluation, or of two of the same task, side by side on the items that both
/// have (num_folders 1 or 2); the caller frees it. NULL, with the reason: what it needs is not
/// there any more.
Explorer *report_explorer(const ExploredFolder *folders, int num_folders,
                          const ExplorerChoice *choice, const char *title, Error *error);

/// Whether `path` is an explorer that belongs to the page at page_path.
bool report_is_explorer(const char *page_path, const char *path);

/// Writes the explorers that belong to a page about runs (names: theirs) to files beside it, and
/// links them there: of one run every evaluation; of several the first two, every evaluation that
/// both have, side by side. side_by_side: names of two evaluations of a single run, which get a
/// page together; NULL: none. An evaluation whose files are not there any more gets a warning on
/// stderr, not a page. False if a page cannot be written, or of side_by_side cannot be made.
bool report_add_explorers(HtmlReport *page, const char *page_path, const ReportRun *runs,
                          const char *const *names, int count, const char *const *side_by_side,
                          const ExplorerChoice *choice, Error *error);
