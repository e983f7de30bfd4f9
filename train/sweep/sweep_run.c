// The loop over jobs: what has ended is noted, what can be started is, and what others have is
// looked after. Nobody is asked what a job's state is but its folder.
#include "train/sweep/sweep_run.h"

#include "autograd/clock.h"
#include "autograd/output/output_folder.h"
#include "autograd/stop_request.h"
#include "train/group/core_count.h"
#include "train/log/progress.h"
#include "train/sweep/sweep_child.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { POLL_MILLISECONDS = 50 };
/// Between two looks at jobs that others have, seconds.
static const double BETWEEN_LOOKS = 1;

typedef struct Runner {
    SweepJobs *jobs;
    const SweepRun *run;
    SweepShare share;
    SweepChild *children;
    Progress *progress;
    /// by the clock of the folder's file system: failures before are tried again
    struct timespec started;
    double next_look;
} Runner;

static int count_in(const SweepJobs *jobs, SweepJobState state) {
    int count = 0;
    for (int i = 0; i < jobs->count; i++) count += jobs->list[i].state == state;
    return count;
}

// ---- progress

/// Seconds that a job of that kind takes by those that are done; NAN: none is.
static double usual_seconds(const SweepJobs *jobs, SweepJobKind kind) {
    double seconds = 0;
    int count = 0;
    for (int i = 0; i < jobs->count; i++) {
        const SweepJob *job = &jobs->list[i];
        if (job->kind != kind || job->state != SWEEP_DONE || !(job->seconds > 0)) continue;
        seconds += job->seconds;
        count++;
    }
    return count ? seconds / count : NAN;
}

/// Of one job; kinds of which none is done do not count, but trainings, which take the longest.
double sweep_seconds_left(const SweepJobs *jobs) {
    double usual[SWEEP_KINDS], seconds = 0;
    for (int k = 0; k < SWEEP_KINDS; k++) usual[k] = usual_seconds(jobs, (SweepJobKind)k);
    for (int i = 0; i < jobs->count; i++) {
        const SweepJob *job = &jobs->list[i];
        if (job->state != SWEEP_PENDING && job->state != SWEEP_RUNNING) continue;
        if (!isnan(usual[job->kind]) || job->kind == SWEEP_TRAIN) seconds += usual[job->kind];
    }
    return seconds;
}

/// What is running has run for a while.
static double seconds_left(const Runner *runner) {
    double seconds = sweep_seconds_left(runner->jobs);
    for (int i = 0; i < runner->run->at_once; i++) {
        const SweepChild *child = &runner->children[i];
        if (!child->job) continue;
        double usual = usual_seconds(runner->jobs, child->job->kind),
               so_far = clock_seconds() - child->started;
        if (!isnan(usual)) seconds -= so_far < usual ? so_far : usual;
    }
    return seconds / runner->run->slots;
}

static void show(const Runner *runner) {
    const SweepJobs *jobs = runner->jobs;
    const SweepJob *first = NULL;
    const int over = count_in(jobs, SWEEP_DONE) + count_in(jobs, SWEEP_FAILED);
    int running = 0;
    for (int i = 0; i < runner->run->at_once; i++) {
        if (!runner->children[i].job) continue;
        if (!first) first = runner->children[i].job;
        running++;
    }
    char more[32] = "";
    if (running > 1) snprintf(more, sizeof more, " and %d more", running - 1);
    progress_expect(runner->progress, seconds_left(runner));
    if (first)
        progress_update(runner->progress, over, "%s %s%s", sweep_job_kind(first), first->name,
                        more);
    else
        progress_update(runner->progress, over, "%s", over < jobs->count ? "waiting" : "");
}

// ---- what has ended

static void fail(Runner *runner, SweepJob *job, const char *reason) {
    sweep_job_note_failure(job, reason);
    progress_print(runner->progress, "%s %s failed: %s (%s/log.txt)", sweep_job_kind(job),
                   job->name, reason, job->folder);
}

/// A training that was told to stop ends without a failure as well, and where its steps follow from
/// the epochs its checkpoints do not tell whether it was at its end.
static bool may_be_cut_short(const SweepJob *job) {
    return stop_requested() && job->kind == SWEEP_TRAIN && job->config->training.max_steps < 0;
}

static void conclude(Runner *runner, SweepChild *child, int status) {
    SweepJob *job = child->job;
    Error error;
    const bool is_done = WIFEXITED(status) && WEXITSTATUS(status) == 0 && !may_be_cut_short(job);
    job->state = SWEEP_PENDING;
    if (is_done && sweep_job_has_result(job, &error)) {
        if (!sweep_job_note_done(job, clock_seconds() - child->started, &error))
            fail(runner, job, error.message);
    } else if (!stop_requested()) {
        char *words = is_done ? checked_strdup(error.message) : sweep_child_last_words(job, status);
        fail(runner, job, words);
        free(words);
    }
    run_lock_release(child->lock);
    *child = (SweepChild){0};
    runner->next_look = 0;
}

static void look_at_children(Runner *runner) {
    for (int i = 0; i < runner->run->at_once; i++) {
        int status;
        SweepChild *child = &runner->children[i];
        if (child->job && sweep_child_has_ended(child, &status)) conclude(runner, child, status);
    }
}

// ---- what can be started

static int free_slot(const Runner *runner) {
    for (int i = 0; i < runner->run->at_once; i++)
        if (!runner->children[i].job) return i;
    return -1;
}

/// The job's lock, if it is to be run here and now.
static RunLock *claim(Runner *runner, SweepJob *job, Error *error) {
    OutputFolder folder = {0};
    bool is_held = false, ok = output_folder_make(&folder, job->folder, error);
    output_folder_close(&folder, !ok);
    RunLock *lock = ok ? run_lock_try(job->folder, &is_held, error) : NULL;
    if (!lock) {
        if (!is_held) fail(runner, job, error->message);
        return NULL;
    }
    // another process may have run it between our look and the lock
    sweep_job_look(job);
    if (job->state == SWEEP_PENDING && !sweep_job_failed_elsewhere(job, &runner->started))
        return lock;
    run_lock_release(lock);
    return NULL;
}

static void start(Runner *runner, SweepJob *job, int slot) {
    Error error;
    RunLock *lock = claim(runner, job, &error);
    SweepShare share = runner->share;
    share.slot = runner->run->first_slot + slot;
    if (!lock) return;
    if (sweep_child_start(&runner->children[slot], job, lock, &share,
                          &runner->jobs->section->launch, &error))
        return;
    fail(runner, job, error.message);
    run_lock_release(lock);
}

/// What waits for a job that has failed has failed too.
static void fail_behind(SweepJobs *jobs) {
    for (int i = 0; i < jobs->count; i++) {
        SweepJob *job = &jobs->list[i];
        const SweepJob *before = job->after >= 0 ? &jobs->list[job->after] : NULL;
        if (job->state != SWEEP_PENDING || !before || before->state != SWEEP_FAILED) continue;
        job->state = SWEEP_FAILED;
        job->failed_before = true;
        job->failure = before->failed_before
                           ? checked_strdup(before->failure)
                           : format_string("%s %s failed: %s", sweep_job_kind(before), before->name,
                                           before->failure);
    }
}

/// Starts what there is room for, in the jobs' order.
static void start_jobs(Runner *runner) {
    SweepJobs *jobs = runner->jobs;
    int slot;
    if (clock_seconds() < runner->next_look) return;
    for (int i = 0; i < jobs->count && !stop_requested(); i++) {
        SweepJob *job = &jobs->list[i];
        const SweepJob *before = job->after >= 0 ? &jobs->list[job->after] : NULL;
        if (job->state != SWEEP_PENDING || (before && before->state != SWEEP_DONE)) continue;
        if ((slot = free_slot(runner)) < 0) break;
        start(runner, job, slot);
    }
    fail_behind(jobs);
    runner->next_look = clock_seconds() + BETWEEN_LOOKS;
}

static bool is_over(const Runner *runner) {
    if (count_in(runner->jobs, SWEEP_RUNNING)) return false;
    return stop_requested() || !count_in(runner->jobs, SWEEP_PENDING);
}

// ---- the whole

/// The time, as the folder's file system counts it.
static bool note_start(Runner *runner, Error *error) {
    char *jobs = format_string("%s/jobs", runner->jobs->section->output_dir),
         *path = format_string("%s/started-XXXXXX", jobs);
    OutputFolder folder = {0};
    struct stat about;
    bool ok = output_folder_make(&folder, jobs, error);
    int file = ok ? mkostemp(path, O_CLOEXEC) : -1;
    if (file >= 0) {
        ok = fstat(file, &about) == 0;
        runner->started = about.st_mtim;
        close(file);
        unlink(path);
    } else if (ok) {
        ok = error_set(error, "%s: cannot be written: %s", path, strerror(errno));
    }
    output_folder_close(&folder, !ok);
    free(path);
    free(jobs);
    return ok;
}

/// mpirun and srun may have bound each process to some of the cores, which it shares with fewer.
static SweepShare share_of(const SweepRun *run) {
    const int own = cores_of_affinity(), all = (int)sysconf(_SC_NPROCESSORS_ONLN);
    int sharers = all > own ? (run->slots * own + all - 1) / all : run->slots;
    return (SweepShare){.processes = run->processes,
                        .threads =
                            cores_allowed(sharers * run->processes, run->slots * run->processes)};
}

bool sweep_run(SweepJobs *jobs, const SweepRun *run, Error *error) {
    Runner runner = {.jobs = jobs, .run = run, .share = share_of(run)};
    for (int i = 0; i < jobs->count; i++)
        if (jobs->list[i].state == SWEEP_DONE) sweep_job_remove_remains(&jobs->list[i]);
    if (!count_in(jobs, SWEEP_PENDING)) return true;
    if (!note_start(&runner, error)) return false;
    runner.children = checked_calloc((unsigned long)run->at_once, sizeof *runner.children);
    runner.progress = progress_begin(run->out, "sweep", count_in(jobs, SWEEP_DONE), jobs->count, 1);
    sweep_child_pass_on_signals(runner.children, run->at_once, jobs->section->launch.count > 0);
    while (look_at_children(&runner), start_jobs(&runner), !is_over(&runner)) {
        show(&runner);
        poll(NULL, 0, POLL_MILLISECONDS);
    }
    show(&runner);
    progress_end(runner.progress);
    stop_request_listen(); // there are no children any more
    free(runner.children);
    return !stop_requested() ||
           error_set(error, "stopped on request: what is done is kept, and the same command goes "
                            "on with the rest");
}

const char *sweep_cell_failure(const SweepJobs *jobs, int cell) {
    if (jobs->refused[cell]) return jobs->refused[cell];
    return jobs->of_cell[cell] < 0 ? NULL : jobs->list[jobs->of_cell[cell]].failure;
}
