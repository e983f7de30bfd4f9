#include "train/saved/checkpoint_writer.h"

#include "autograd/clock.h"

#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

/// Seconds after which a write is taken to hang, and between two times that the others are told
/// that it does not.
static const double LONGEST_WRITE = 600, TOLD_EVERY = 0.2;

struct CheckpointWriter {
    char *folder;
    ProcessGroup *group;
    /// These two are its owner's: its thread has been started and has yet to be joined.
    bool has_thread;
    pthread_t thread;
    /// These are the thread's while there is one.
    TrainingSnapshot *snapshot;
    int64_t step;
    CheckpointRetention retention;
    /// Over what follows: how it went.
    pthread_mutex_t lock;
    /// The last job; any since the question was asked.
    bool last_failed, unreported;
    Error error;
};

CheckpointWriter *checkpoint_writer_new(const char *folder, ProcessGroup *group) {
    CheckpointWriter *writer = checked_calloc(1, sizeof *writer);
    writer->folder = checked_strdup(folder);
    writer->group = group;
    pthread_mutex_init(&writer->lock, NULL);
    return writer;
}

static void *write_job(void *context) {
    CheckpointWriter *writer = context;
    Error error = {0};
    char *path = checkpoint_path(writer->folder, writer->step);
    bool ok = training_snapshot_write(writer->snapshot, path, &error) &&
              checkpoint_retain(writer->folder, writer->step, &writer->retention, &error);
    free(path);
    training_snapshot_free(writer->snapshot);
    writer->snapshot = NULL;
    pthread_mutex_lock(&writer->lock);
    writer->last_failed = !ok;
    if (!ok) {
        writer->unreported = true;
        writer->error = error;
    }
    pthread_mutex_unlock(&writer->lock);
    return NULL;
}

void checkpoint_writer_wait(CheckpointWriter *writer) {
    if (!writer->has_thread) return;
    double began = clock_seconds();
    int waiting = ETIMEDOUT;
    while (waiting == ETIMEDOUT) {
        double next = clock_seconds() + TOLD_EVERY;
        struct timespec until = {.tv_sec = (time_t)next,
                                 .tv_nsec = (long)(1e9 * (next - floor(next)))};
        waiting = pthread_clockjoin_np(writer->thread, NULL, CLOCK_MONOTONIC, &until);
        if (writer->group && clock_seconds() - began < LONGEST_WRITE)
            process_group_progress(writer->group);
    }
    writer->has_thread = false;
}

void checkpoint_writer_submit(CheckpointWriter *writer, TrainingSnapshot *snapshot, int64_t step,
                              const CheckpointRetention *retention) {
    checkpoint_writer_wait(writer);
    writer->snapshot = snapshot;
    writer->step = step;
    writer->retention = *retention;
    writer->has_thread = pthread_create(&writer->thread, NULL, write_job, writer) == 0;
    if (!writer->has_thread) write_job(writer); // none to be had: now, then
}

bool checkpoint_writer_failed(CheckpointWriter *writer, bool wait, Error *error) {
    if (wait) checkpoint_writer_wait(writer);
    pthread_mutex_lock(&writer->lock);
    bool failed = wait ? writer->last_failed : writer->unreported;
    if (failed && error) *error = writer->error;
    writer->unreported = false;
    pthread_mutex_unlock(&writer->lock);
    return failed;
}

void checkpoint_writer_free(CheckpointWriter *writer) {
    if (!writer) return;
    checkpoint_writer_wait(writer);
    pthread_mutex_destroy(&writer->lock);
    free(writer->folder);
    free(writer);
}
