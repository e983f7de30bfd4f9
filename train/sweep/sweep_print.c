#include "train/sweep/sweep_print.h"

#include "autograd/text/utf8.h"
#include "train/log/progress.h"
#include "train/sweep/sweep_run.h"

#include <ftw.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/// Jobs of a kind: of those that are done, what they took.
typedef struct KindFigures {
    int count, done;
    double seconds;
    int64_t bytes;
} KindFigures;

static int64_t bytes_of_tree;

static int add_bytes(const char *path, const struct stat *about, int type, struct FTW *where) {
    (void)path, (void)where;
    if (type == FTW_F) bytes_of_tree += about->st_size;
    return 0;
}

static int64_t bytes_in(const char *folder) {
    enum { OPEN_FOLDERS = 16 };
    bytes_of_tree = 0;
    nftw(folder, add_bytes, OPEN_FOLDERS, FTW_PHYS);
    return bytes_of_tree;
}

static KindFigures figures_of(const SweepJobs *jobs, SweepJobKind kind) {
    KindFigures figures = {0};
    for (int i = 0; i < jobs->count; i++) {
        const SweepJob *job = &jobs->list[i];
        if (job->kind != kind) continue;
        figures.count++;
        if (job->state != SWEEP_DONE) continue;
        figures.done++;
        figures.seconds += job->seconds;
        figures.bytes += bytes_in(job->product);
    }
    return figures;
}

static void print_cell(const SweepJobs *jobs, int c, FILE *out) {
    const char *failure = sweep_cell_failure(jobs, c), *name = jobs->cells->list[c].name;
    const SweepJob *judging = jobs->of_cell[c] < 0 ? NULL : &jobs->list[jobs->of_cell[c]],
                   *asking = judging && judging->after >= 0 ? &jobs->list[judging->after] : NULL;
    if (failure) {
        utf8_print(out, "  %-40s cannot be run: %s\n", name, failure);
        return;
    }
    utf8_print(out, "  %-40s %s", name, judging->state == SWEEP_DONE ? "done" : "to do");
    if (asking) utf8_print(out, ", answers %s", asking->hash);
    for (int i = asking ? asking->after : -1; i >= 0; i = jobs->list[i].after)
        utf8_print(out, ", %s %s", sweep_job_kind(&jobs->list[i]), jobs->list[i].hash);
    fputc('\n', out);
}

static void print_shared(const SweepJobs *jobs, SweepJobKind kind, const char *title, FILE *out) {
    bool is_first = true;
    for (int i = 0; i < jobs->count; i++) {
        const SweepJob *job = &jobs->list[i];
        if (job->kind != kind) continue;
        if (is_first) utf8_print(out, "\n%s\n", title);
        is_first = false;
        utf8_print(out, "  %s  %-6s for %d cell%s: %s\n", job->hash,
                   job->state == SWEEP_DONE ? "done" : "to do", job->cells,
                   job->cells == 1 ? "" : "s", job->name);
    }
}

/// By what those took that are done.
static void print_costs(const SweepJobs *jobs, int at_once, FILE *out) {
    static const char *const NAMES[SWEEP_KINDS] = {"trainings", "questions", "judgements"};
    double seconds = 0;
    bool is_known = true;
    utf8_print(out, "\n%-12s %6s %6s %12s %12s\n", "", "all", "done", "time of one", "disk of one");
    for (int k = 0; k < SWEEP_KINDS; k++) {
        KindFigures figures = figures_of(jobs, (SweepJobKind)k);
        if (!figures.count) continue;
        const int left = figures.count - figures.done;
        double one = figures.done ? figures.seconds / figures.done : NAN;
        char *time = figures.done ? format_duration(one) : checked_strdup("not known"),
             *disk = figures.done ? format_bytes(figures.bytes / figures.done)
                                  : checked_strdup("not known");
        utf8_print(out, "%-12s %6d %6d %12s %12s\n", NAMES[k], figures.count, figures.done, time,
                   disk);
        if (left && !figures.done) is_known = false;
        if (left && figures.done) seconds += left * one;
        free(time);
        free(disk);
    }
    char *time = format_duration(seconds / at_once);
    utf8_print(out, "time left: %s%s\n", is_known ? "about " : "not known; of the kinds known ",
               time);
    free(time);
}

void sweep_print(const SweepJobs *jobs, int at_once, FILE *out) {
    utf8_print(out, "%d cells in %s\n", jobs->cells->count, jobs->section->output_dir);
    for (int c = 0; c < jobs->cells->count; c++) print_cell(jobs, c, out);
    print_shared(jobs, SWEEP_TRAIN, "Trainings", out);
    print_shared(jobs, SWEEP_ASK, "Answers", out);
    print_costs(jobs, at_once, out);
}
