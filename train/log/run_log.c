#include "train/log/run_log.h"

#include "train/log/event_file.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { MAX_METRICS = 128 };

struct RunLog {
    MetricsWriter *metrics;
    /// NULL: not wanted
    EventFile *events;
    bool warned, behind;
};

static EventFile *open_events(const char *folder, int64_t resumed_step, Error *error) {
    char *path = format_string("%s/tensorboard", folder);
    EventFile *events = NULL;
    if (mkdir(path, 0777) != 0 && errno != EEXIST)
        error_set(error, "%s: cannot be made: %s", path, strerror(errno));
    else
        events = event_file_open(path, resumed_step, error);
    free(path);
    return events;
}

RunLog *run_log_open(const char *folder, int64_t resumed_step, bool tensorboard, Error *error) {
    RunLog *log = checked_calloc(1, sizeof *log);
    char *path = format_string("%s/metrics.jsonl", folder);
    log->metrics = metrics_open(path, resumed_step, error);
    free(path);
    if (log->metrics && tensorboard) log->events = open_events(folder, resumed_step, error);
    if (log->metrics && (log->events || !tensorboard)) return log;
    run_log_close(log);
    return NULL;
}

void run_log_close(RunLog *log) {
    if (!log) return;
    metrics_close(log->metrics);
    event_file_close(log->events);
    free(log);
}

static void warn_once(RunLog *log, bool ok, const Error *error) {
    if (ok || log->warned) return;
    fprintf(stderr, "warning: TensorBoard does not get everything: %s\n", error->message);
    log->warned = true;
}

static void write_metrics(RunLog *log, const char *kind, int64_t step, const Metric *metrics,
                          int count) {
    Error reason;
    bool written = metrics_write(log->metrics, kind, step, metrics, count, &reason);
    if (!written && !log->behind)
        fprintf(stderr, "warning: metrics are kept until they can be written: %s\n",
                reason.message);
    log->behind = !written;
}

void run_log_metrics(RunLog *log, const char *kind, int64_t step, const Metric *metrics,
                     int count) {
    Metric known[MAX_METRICS];
    int num_known = 0;
    CHECK(count <= MAX_METRICS, "%d metrics", count);
    for (int i = 0; i < count; i++)
        if (!isnan(metrics[i].value)) known[num_known++] = metrics[i];
    for (int i = 0; log->events && i < num_known; i++) {
        Error reason;
        char tag[128];
        snprintf(tag, sizeof tag, "%s/%s", kind, known[i].name);
        warn_once(log, event_file_scalar(log->events, tag, step, known[i].value, &reason), &reason);
    }
    write_metrics(log, kind, step, known, num_known);
}

void run_log_text(RunLog *log, const char *tag, int64_t step, const char *text) {
    Error reason;
    if (log->events)
        warn_once(log, event_file_text(log->events, tag, step, text, &reason), &reason);
}

void run_log_picture(RunLog *log, const char *tag, int64_t step, const void *png, size_t size) {
    Error reason;
    if (log->events)
        warn_once(log, event_file_image_png(log->events, tag, step, png, size, &reason), &reason);
}
