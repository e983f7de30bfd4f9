/// What a sweep has to run: trainings, questions, judgements, each once however many cells need it.
///
///   trainings/NAME-HASH     what 'difflmm train' leaves
///   answers/NAME-HASH       what 'difflmm eval' leaves that asks, and judges without masks
///   evaluations/NAME-HASH   what 'difflmm eval' leaves that judges those answers: a cell's result
///   jobs/HASH/              config.yaml, log.txt, done.json or failed.json, run.lock: of each
///
/// A job is what it depends on: the settings that decide about its result, the content of the
/// checkpoint, annotations and data, the networks by name and size. The hash is of that, so that
/// a job is found again under whatever name.
#pragma once
#include "train/sweep/sweep_cells.h"

#include <jansson.h>
#include <time.h>

typedef enum SweepJobKind {
    SWEEP_TRAIN,
    SWEEP_ASK,
    SWEEP_JUDGE,
    SWEEP_KINDS,
} SweepJobKind;

typedef enum SweepJobState { SWEEP_PENDING, SWEEP_RUNNING, SWEEP_DONE, SWEEP_FAILED } SweepJobState;

typedef struct SweepJob {
    SweepJobKind kind;
    /// of the first cell that needs it
    char *name;
    /// what it depends on
    json_t *identity;
    char hash[17];
    /// what is left in it, and the sweep's own about it
    char *product, *folder;
    /// as the child is to run it; its folders are those of other jobs
    Config *config;
    /// index of the job that is to be done before, or -1
    int after;
    /// cells that need it
    int cells;
    SweepJobState state;
    /// that it took, of one that is done; 0: not known
    double seconds;
    /// why it has failed, or NULL
    char *failure;
    /// that was the failure of a job before it
    bool failed_before;
} SweepJob;

typedef struct SweepJobs {
    const SweepSection *section;
    const SweepCells *cells;
    SweepJob *list;
    int count;
    /// [cells] index of a cell's judgement, or -1
    int *of_cell;
    /// [cells] why it cannot be run at all, or NULL
    char **refused;
} SweepJobs;

/// Works out what is to be run, and what is done. Reads annotations and checksums, no model. What
/// is wrong with a cell's files is that cell's failure; false is a configuration that none could be
/// run with. Either way sweep_jobs_free() is to be called.
bool sweep_jobs_make(SweepJobs *jobs, const SweepSection *section, const SweepCells *cells,
                     const char *const *settings, int num_settings, Error *error);
void sweep_jobs_free(SweepJobs *jobs);

/// Reads again whether the job is done.
void sweep_job_look(SweepJob *job);
/// Whether the job, whose process ended without a failure, has left its result.
bool sweep_job_has_result(const SweepJob *job, Error *error);
/// Notes that it is done, and in how many seconds; or why it failed.
bool sweep_job_note_done(SweepJob *job, double seconds, Error *error);
void sweep_job_note_failure(SweepJob *job, const char *reason);
/// Whether another process has noted a failure not before `since` (a file's time of change); the
/// job has failed then.
bool sweep_job_failed_elsewhere(SweepJob *job, const struct timespec *since);

/// A kill behind the note that a job is done leaves its lock's file and the note of an older
/// failure: removes both, if nobody has the lock.
void sweep_job_remove_remains(const SweepJob *job);

/// Another configuration with the same keys set to the same.
Config *sweep_copy_config(const Config *config);

/// "training", "asking", "judging".
const char *sweep_job_kind(const SweepJob *job);

// ---- inside

/// Fills in `product` and `folder` of a job whose kind, name and hash are there: a product that is
/// there under another name is found by its hash.
void sweep_job_place(SweepJob *job, const char *output_dir);

/// What has been read for the identities of other jobs. To begin with zeros.
typedef struct SweepKnown {
    /// descriptions of files, by their paths
    json_t *files;
    /// the annotations that were opened last, and the configuration that they were opened for
    Config *config;
    void *data;
    /// a configuration as by default
    Config *defaults;
} SweepKnown;
void sweep_known_free(SweepKnown *known);

/// What a training depends on, `after` being the identity's hash of the one that it goes on from
/// (NULL: model.adapters says). NULL on failure.
json_t *sweep_training_identity(SweepKnown *known, const Config *config, const char *after,
                                Error *error);
/// What answers depend on, but for eval.keep, eval.layers and eval.heads. trained: as `after`.
json_t *sweep_asking_identity(SweepKnown *known, const Config *config, const char *trained,
                              Error *error);
/// What an evaluation of such answers depends on. The caller keeps `asked`.
json_t *sweep_judging_identity(SweepKnown *known, const Config *config, const json_t *asked,
                               Error *error);
/// Of the compact text of an object with its keys sorted: 16 hexadecimal digits and a zero.
void sweep_hash(const json_t *identity, char hash[17]);
