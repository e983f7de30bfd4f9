// One training of each run is compared with those of the same name: stage1 with stage1. A run that
// has none of that name is left out there, so runs of other stages may be compared in part.
#include "train/report/report_compare.h"

#include "eval/pages/plot.h"
#include "train/report/report_compare_parts.h"
#include "train/report/report_parts.h"

#include <stdlib.h>
#include <string.h>

char *report_numbered(int run, const char *name) { return format_string("%d  %s", run + 1, name); }

/// Adds a name unless it is there.
static void add_name(const char **names, int *count, const char *name) {
    for (int i = 0; i < *count; i++)
        if (!strcmp(names[i], name)) return;
    names[(*count)++] = name;
}

static void add_stage(HtmlReport *page, const ComparedStage *stage, const char *legend) {
    html_report_heading(page, stage->name);
    html_report_paragraph(page,
                          "Last loss: mean of the last twentieth of the steps; best loss: the "
                          "lowest of a single step; tokens/s: over the whole time, evaluations "
                          "included. A star marks the best value of a column.");
    report_compare_figures(page, stage);
    html_report_legend(page, legend);
    report_compared_charts(page, stage->trainings, stage->names, stage->count);
    report_compare_settings(page, stage);
    report_compare_starts(page, stage);
}

static void add_stages(HtmlReport *page, const ReportRun *runs, const char *const *names,
                       int count) {
    int capacity = 1, found = 0;
    for (int i = 0; i < count; i++) capacity += runs[i].num_trainings;
    const char **stages = checked_calloc((unsigned long)capacity, sizeof *stages);
    const ReportTraining **trainings = checked_calloc((unsigned long)count, sizeof *trainings);
    for (int i = 0; i < count; i++)
        for (int k = 0; k < runs[i].num_trainings; k++)
            add_name(stages, &found, runs[i].trainings[k].name);
    char *legend = plot_legend_html(names, count);
    for (int s = 0; s < found; s++) {
        for (int i = 0; i < count; i++) trainings[i] = report_run_training(&runs[i], stages[s]);
        ComparedStage stage = {stages[s], trainings, names, count};
        add_stage(page, &stage, legend);
    }
    free(legend);
    free(trainings);
    free(stages);
}

HtmlReport *report_compare(const ReportRun *runs, const char *const *names, int count) {
    enum { MOST_IN_SUBTITLE = 6 };
    char *title = format_string("%d runs compared", count), *subtitle = checked_strdup("");
    for (int i = 0; i < count && count <= MOST_IN_SUBTITLE; i++) {
        char *longer = format_string("%s%s%s", subtitle, i ? ", " : "", names[i]);
        free(subtitle);
        subtitle = longer;
    }
    HtmlReport *page = html_report_new(title, *subtitle ? subtitle : NULL);
    report_compare_evaluations(page, runs, names, count);
    add_stages(page, runs, names, count);
    free(title);
    free(subtitle);
    return page;
}
