// Which explorers belong to a report, where they lie, and what leads to them.
#include "autograd/text/utf8.h"
#include "train/report/report_evaluations.h"
#include "train/report/report_explorer.h"

#include <stdlib.h>
#include <string.h>

/// A report whose explorers are made.
typedef struct Report {
    HtmlReport *page;
    const char *path;
    const ExplorerChoice *choice;
    int num_links;
} Report;

/// "explorer-NAME.html" for index.html, "PAGE-explorer-NAME.html" for PAGE.html; the caller frees
/// it. A link has no folder.
static char *file_name(const char *page_path, const char *name) {
    const char *slash = strrchr(page_path, '/'), *file = slash ? slash + 1 : page_path,
               *dot = strrchr(file, '.');
    int stem = dot ? (int)(dot - file) : (int)strlen(file);
    if (!strncmp(file, "index.", 6)) return format_string("explorer-%s.html", name);
    return format_string("%.*s-explorer-%s.html", stem, file, name);
}

bool report_is_explorer(const char *page_path, const char *path) {
    char *any = file_name(page_path, ""); // "comparison-explorer-.html"
    const char *slash = strrchr(page_path, '/');
    size_t folder = slash ? (size_t)(slash + 1 - page_path) : 0, begin = strlen(any) - 5,
           length = strlen(path);
    bool is_one = length > folder + begin + 5 && !strncmp(path, page_path, folder) &&
                  !strncmp(path + folder, any, begin) && !strcmp(path + length - 5, ".html");
    free(any);
    return is_one;
}

static bool save(const Report *report, const Explorer *explorer, const char *file, Error *error) {
    const char *slash = strrchr(report->path, '/');
    int folder = slash ? (int)(slash + 1 - report->path) : 0;
    char *path = format_string("%.*s%s", folder, report->path, file);
    bool ok = explorer_save(explorer, path, error);
    free(path);
    return ok;
}

static void add_link(Report *report, const char *file, const char *text) {
    if (!report->num_links++) {
        html_report_heading(report->page, "Explore: every word, and where it looks");
        html_report_paragraph(
            report->page,
            "Each page shows examples of an evaluation: pointing at a word lays its attention over "
            "the picture, with its point, its mask and the truth.");
    }
    html_report_link(report->page, file, text);
}

/// False if the page cannot be written, or with `is_asked_for` not made.
static bool add_explorer(Report *report, const ExploredFolder *folders, int num_folders,
                         const char *name, const char *text, bool is_asked_for, Error *error) {
    Error reason = {0};
    char *title = format_string("Where it looks: %s", text), *file = file_name(report->path, name);
    Explorer *explorer = report_explorer(folders, num_folders, report->choice, title, &reason);
    bool ok = true;
    if (explorer) {
        ok = save(report, explorer, file, error);
        if (ok) add_link(report, file, text);
    } else if (is_asked_for) {
        ok = error_set(error, "no explorer of %s: %s", text, reason.message);
    } else {
        utf8_print(stderr, "warning: no explorer of %s: %s\n", text, reason.message);
    }
    explorer_free(explorer);
    free(title);
    free(file);
    return ok;
}

static char *folder_of(const ReportRun *run, const ReportEvaluation *evaluation) {
    return format_string("%s/eval/%s", run->folder, evaluation->name);
}

static bool points(const ReportEvaluation *evaluation) {
    return !report_is_of_task(evaluation->results, "caption");
}

static bool add_of_one(Report *report, const ReportRun *run, Error *error) {
    bool ok = true;
    for (int i = 0; ok && i < run->num_evaluations; i++) {
        const ReportEvaluation *evaluation = &run->evaluations[i];
        if (!points(evaluation)) continue;
        char *folder = folder_of(run, evaluation);
        ok = add_explorer(report, &(ExploredFolder){folder, evaluation->name}, 1, evaluation->name,
                          evaluation->name, false, error);
        free(folder);
    }
    return ok;
}

/// Two evaluations of one run.
static bool add_together(Report *report, const ReportRun *run, const char *const *names,
                         Error *error) {
    ExploredFolder folders[EXPLORER_SIDES];
    char *paths[EXPLORER_SIDES] = {NULL};
    bool ok = true;
    for (int s = 0; ok && s < EXPLORER_SIDES; s++) {
        const ReportEvaluation *evaluation = report_run_evaluation(run, names[s]);
        ok = evaluation || error_set(error, "%s has no evaluation '%s'", run->folder, names[s]);
        if (ok) paths[s] = folder_of(run, evaluation);
        folders[s] = (ExploredFolder){paths[s], names[s]};
    }
    char *name = format_string("%s-%s", names[0], names[1]),
         *text = format_string("%s and %s side by side", names[0], names[1]);
    ok = ok && add_explorer(report, folders, EXPLORER_SIDES, name, text, true, error);
    for (int s = 0; s < EXPLORER_SIDES; s++) free(paths[s]);
    free(name);
    free(text);
    return ok;
}

/// What the first two runs both have.
static bool add_of_two(Report *report, const ReportRun *runs, const char *const *names,
                       Error *error) {
    bool ok = true;
    for (int i = 0; ok && i < runs[0].num_evaluations; i++) {
        const ReportEvaluation *first = &runs[0].evaluations[i],
                               *second = report_run_evaluation(&runs[1], first->name);
        if (!second || !points(first) || !points(second)) continue;
        char *paths[] = {folder_of(&runs[0], first), folder_of(&runs[1], second)},
             *text = format_string("%s: %s and %s", first->name, names[0], names[1]);
        ExploredFolder folders[] = {{paths[0], names[0]}, {paths[1], names[1]}};
        ok = add_explorer(report, folders, 2, first->name, text, false, error);
        free(paths[0]);
        free(paths[1]);
        free(text);
    }
    return ok;
}

bool report_add_explorers(HtmlReport *page, const char *page_path, const ReportRun *runs,
                          const char *const *names, int count, const char *const *side_by_side,
                          const ExplorerChoice *choice, Error *error) {
    Report report = {page, page_path, choice, 0};
    if (!choice->examples) return true;
    if (count > 1) return add_of_two(&report, runs, names, error);
    return (!side_by_side || add_together(&report, &runs[0], side_by_side, error)) &&
           add_of_one(&report, &runs[0], error);
}
