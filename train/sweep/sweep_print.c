#include "train/sweep/sweep_print.h"

#include "autograd/text/utf8.h"
#include "train/log/progress.h"
#include "train/plan/plan.h"
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

/// The disk that the job is planned to take, at most; -1: not known.
static int64_t planned_bytes(const SweepJob *job) {
    const PlanOptions options = {.processes = 1};
    Plan *plan = plan_make(job->config, &options);
    int64_t bytes = -1;
    if (job->kind == SWEEP_TRAIN && plan->disk.known)
        bytes = plan->disk.kept * plan->disk.checkpoint_bytes;
    if (job->kind == SWEEP_ASK && plan->evaluation.known) bytes = plan->evaluation.answer_bytes;
    plan_free(plan);
    return bytes;
}

/// Of one of its kind, by those that are done, or as the first that is not is planned.
static int64_t bytes_of_one(const SweepJobs *jobs, SweepJobKind kind, const KindFigures *figures) {
    if (figures->done) return figures->bytes / figures->done;
    for (int i = 0; i < jobs->count; i++)
        if (jobs->list[i].kind == kind) return planned_bytes(&jobs->list[i]);
    return -1;
}

static char *known_bytes(int64_t bytes) {
    return bytes < 0 ? checked_strdup("not known") : format_bytes(bytes);
}

static void print_kind(const SweepJobs *jobs, SweepJobKind kind, int64_t *bytes_left, FILE *out) {
    static const char *const NAMES[SWEEP_KINDS] = {"trainings", "questions", "judgements"};
    const KindFigures figures = figures_of(jobs, kind);
    const int64_t bytes = bytes_of_one(jobs, kind, &figures);
    if (!figures.count) return;
    char *time = figures.seconds > 0 ? format_duration(figures.seconds / figures.done)
                                     : checked_strdup("not known"),
         *disk = known_bytes(bytes);
    utf8_print(out, "%-12s %6d %6d %12s %12s\n", NAMES[kind], figures.count, figures.done, time,
               disk);
    if (bytes > 0) *bytes_left += bytes * (figures.count - figures.done);
    free(time);
    free(disk);
}

static void print_costs(const SweepJobs *jobs, int at_once, FILE *out) {
    int64_t bytes_left = 0;
    utf8_print(out, "\n%-12s %6s %6s %12s %12s\n", "", "all", "done", "time of one", "disk of one");
    for (int k = 0; k < SWEEP_KINDS; k++) print_kind(jobs, (SweepJobKind)k, &bytes_left, out);
    const double seconds = sweep_seconds_left(jobs) / at_once;
    char *time = isnan(seconds) ? checked_strdup("not known before a training is done")
                                : format_duration(seconds),
         *disk = format_bytes(bytes_left),
         *free_bytes = known_bytes(plan_free_bytes(jobs->section->output_dir));
    utf8_print(out, "left to do: %s; disk: some %s of %s that are free\n", time, disk, free_bytes);
    free(time);
    free(disk);
    free(free_bytes);
}

void sweep_print(const SweepJobs *jobs, int at_once, FILE *out) {
    utf8_print(out, "%d cells in %s\n", jobs->cells->count, jobs->section->output_dir);
    for (int c = 0; c < jobs->cells->count; c++) print_cell(jobs, c, out);
    print_shared(jobs, SWEEP_TRAIN, "Trainings", out);
    print_shared(jobs, SWEEP_ASK, "Answers", out);
    print_costs(jobs, at_once, out);
}
