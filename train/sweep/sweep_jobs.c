// From cells to jobs: trainings, then questions to what they trained, then judgements of the
// answers. Cells that need the same one share it.
#include "train/sweep/sweep_jobs.h"

#include "train/evaluation/described_files.h"
#include "train/evaluation/evaluation_setup.h"
#include "train/saved/trained_weights.h"

#include <stdlib.h>
#include <string.h>

/// A cell on its way to its judgement.
typedef struct CellWork {
    Config *config;
    /// NULL: the cell was refused, or judges eval.answers
    json_t *asking;
    /// the job whose checkpoint it evaluates, or -1
    int training;
} CellWork;

typedef struct Maker {
    SweepJobs *jobs;
    CellWork *work;
    const char *const *settings;
    int num_settings;
    SweepKnown known;
} Maker;

// ---- configurations

static void set(Config *config, const char *key, const char *text, bool is_plain) {
    Error error;
    int field = config_find_key(key);
    const ConfigScalar scalar = {.text = text, .is_plain = is_plain};
    config->origins[field] = (ConfigOrigin){.kind = ORIGIN_COMMAND_LINE};
    CHECK(config_set_scalar(config, &CONFIG_FIELDS[field], &scalar, &error), "%s: %s", key,
          error.message);
}

static bool sets(const Maker *maker, int cell, const char *key) {
    const SweepCells *cells = maker->jobs->cells;
    for (int f = 0; f < cells->num_fields; f++)
        if (cells->fields[f] == config_find_key(key)) return cells->list[cell].values[f] != NULL;
    return false;
}

static Config *config_of(const Maker *maker, int cell, const char *path, bool is_stage,
                         Error *error) {
    const SweepCells *cells = maker->jobs->cells;
    return sweep_cell_config(maker->jobs->section, cells, &cells->list[cell], path, is_stage,
                             maker->settings, maker->num_settings, error);
}

// ---- jobs

/// Index of the job with this identity, which becomes another cell's if it is there already. Takes
/// over all three. `prefix`: in front of the cell's name, may be NULL.
static int add_job(Maker *maker, SweepJobKind kind, int cell, const char *prefix, json_t *identity,
                   Config *config, int after) {
    SweepJobs *jobs = maker->jobs;
    SweepJob job = {
        .kind = kind, .identity = identity, .config = config, .after = after, .cells = 1};
    sweep_hash(identity, job.hash);
    for (int i = 0; i < jobs->count; i++) {
        SweepJob *other = &jobs->list[i];
        if (other->kind != kind || !json_equal(other->identity, identity)) continue;
        other->cells++;
        json_decref(identity);
        config_free(config);
        return i;
    }
    const SweepCombination *of = &jobs->cells->list[cell];
    job.name = format_string("%s%s%s", prefix ? prefix : "", prefix ? "," : "",
                             kind == SWEEP_TRAIN ? of->training_name : of->name);
    sweep_job_place(&job, jobs->section->output_dir);
    set(config, kind == SWEEP_TRAIN ? "training.output_dir" : "eval.output_dir", job.product,
        false);
    jobs->list = checked_realloc(jobs->list, (unsigned long)(jobs->count + 1) * sizeof *jobs->list);
    jobs->list[jobs->count] = job;
    return jobs->count++;
}

/// Adds the trainings of a cell. False with a configuration that cannot be run; what cannot be read
/// refuses the cell.
static bool add_trainings(Maker *maker, int cell, Error *error) {
    const StringList *stages = &maker->jobs->section->train;
    int after = -1;
    for (int s = 0; s < maker->jobs->cells->list[cell].stages; s++) {
        const char *path = stages->values[s];
        Config *config = config_of(maker, cell, path, true, error);
        if (!config) return false;
        if (!config_require_data(config, error) || !config_require_model(config, error)) {
            config_free(config);
            return false;
        }
        if (after >= 0) set(config, "model.adapters", maker->jobs->list[after].product, false);
        Error reason;
        json_t *identity = sweep_training_identity(
            &maker->known, config, after >= 0 ? maker->jobs->list[after].hash : NULL, &reason);
        if (!identity) {
            maker->jobs->refused[cell] = checked_strdup(reason.message);
            config_free(config);
            return true;
        }
        char *prefix = sweep_bare_name(path);
        after = add_job(maker, SWEEP_TRAIN, cell, prefix, identity, config, after);
        free(prefix);
    }
    maker->work[cell].training = after;
    return true;
}

static bool check_evaluation(const Config *config, Error *error) {
    return evaluation_require_files(config, error) &&
           (config->eval.answers || config_require_model(config, error));
}

/// What is asked, of a cell whose checkpoint is known.
static void describe_asking(Maker *maker, int cell) {
    CellWork *work = &maker->work[cell];
    SweepJobs *jobs = maker->jobs;
    Error reason;
    const char *trained = work->training >= 0 ? jobs->list[work->training].hash : NULL;
    bool ok =
        work->config->eval.answers || trained || trained_weights_settle(work->config, &reason);
    if (ok && !work->config->eval.answers) {
        work->asking = sweep_asking_identity(&maker->known, work->config, trained, &reason);
        ok = work->asking != NULL;
    }
    if (!ok) jobs->refused[cell] = checked_strdup(reason.message);
}

/// An earlier stage may have trained none, or another.
static void take_lora(Config *config, const Config *trained) {
    Error error;
    for (int f = 0; f < NUM_CONFIG_FIELDS; f++) {
        const ConfigField *field = &CONFIG_FIELDS[f];
        if (strcmp(field->section, "lora")) continue;
        char *value = config_format_value(trained, field);
        config->origins[f] = (ConfigOrigin){.kind = ORIGIN_COMMAND_LINE};
        CHECK(config_read_value(config, field, value, &error), "lora.%s: %s", field->name,
              error.message);
        free(value);
    }
}

static bool begin_cell(Maker *maker, int cell, Error *error) {
    SweepJobs *jobs = maker->jobs;
    CellWork *work = &maker->work[cell];
    const bool is_trained = jobs->section->train.count && !sets(maker, cell, "eval.checkpoint");
    work->training = -1;
    work->config = config_of(maker, cell, jobs->section->path, false, error);
    if (!work->config || !check_evaluation(work->config, error)) return false;
    if (is_trained && work->config->eval.checkpoint)
        return error_set(error,
                         "%s: eval.checkpoint and sweep.train exclude each other: what is trained "
                         "is evaluated. Leave one out, or set the key in a variant",
                         jobs->section->path);
    if (is_trained && !add_trainings(maker, cell, error)) return false;
    if (work->training >= 0) {
        set(work->config, "eval.checkpoint", jobs->list[work->training].product, false);
        if (jobs->section->each_stage) take_lora(work->config, jobs->list[work->training].config);
    }
    if (!jobs->refused[cell]) describe_asking(maker, cell);
    return true;
}

// ---- what is asked at once

static bool same_value(const Config *a, const Config *b, const char *key) {
    const ConfigField *field = &CONFIG_FIELDS[config_find_key(key)];
    char *of_a = config_format_value(a, field), *of_b = config_format_value(b, field);
    bool same = !strcmp(of_a, of_b);
    free(of_a);
    free(of_b);
    return same;
}

/// Images from the first on; -1, all, is most.
static int64_t more_samples(int64_t a, int64_t b) { return a < 0 || b < 0 ? -1 : a > b ? a : b; }

/// What is to be kept of the answers so that every cell that asks the same can be judged.
static void find_common(const Maker *maker, int first, KeptMaps *keep, int64_t *samples) {
    const CellWork *work = &maker->work[first];
    *keep = work->config->eval.keep;
    *samples = work->config->eval.samples;
    for (int c = first + 1; c < maker->jobs->cells->count; c++) {
        const CellWork *other = &maker->work[c];
        if (!other->asking || !json_equal(other->asking, work->asking)) continue;
        KeptMaps least = !same_value(work->config, other->config, "eval.heads")    ? KEEP_HEADS
                         : !same_value(work->config, other->config, "eval.layers") ? KEEP_LAYERS
                                                                                   : KEEP_MEAN;
        if (other->config->eval.keep > least) least = other->config->eval.keep;
        if (least > *keep) *keep = least;
        *samples = more_samples(*samples, other->config->eval.samples);
    }
}

static void put_value(json_t *identity, const Config *config, const char *key) {
    char *value = config_format_value(config, &CONFIG_FIELDS[config_find_key(key)]);
    json_object_set_new(identity, key, json_string(value));
    free(value);
}

static int first_that_asks_so(const Maker *maker, int cell) {
    int first = 0;
    while (!maker->work[first].asking ||
           !json_equal(maker->work[first].asking, maker->work[cell].asking))
        first++;
    return first;
}

/// Judged is only what costs nothing: the cells' own judgements follow.
static int add_asking(Maker *maker, int cell) {
    const int first = first_that_asks_so(maker, cell);
    const CellWork *work = &maker->work[first];
    KeptMaps keep;
    int64_t samples;
    find_common(maker, first, &keep, &samples);
    Config *config = sweep_copy_config(work->config);
    static const char *const NAMES[] = {"mean", "layers", "heads"};
    char number[32];
    snprintf(number, sizeof number, "%lld", (long long)samples);
    set(config, "eval.keep", NAMES[keep], true);
    set(config, "eval.samples", number, true);
    set(config, "eval.pictures", "0", true);
    set(config, "eval.segmenter", "none", true);
    set(config, "eval.meteor", "null", true);
    set(config, "eval.bert", "null", true);
    set(config, "eval.phrases", "null", true);
    json_t *identity = json_deep_copy(work->asking);
    put_value(identity, config, "eval.keep");
    if (keep == KEEP_MEAN) put_value(identity, config, "eval.layers");
    if (keep != KEEP_HEADS) put_value(identity, config, "eval.heads");
    return add_job(maker, SWEEP_ASK, first, NULL, identity, config, work->training);
}

/// Answers that are there already, by the name and size of their folder.
static json_t *stored_answers(const Config *config, Error *error) {
    json_t *network = describe_network(config->eval.answers, error);
    return network ? json_pack("{s:o}", "eval.answers", network) : NULL;
}

static void finish_cell(Maker *maker, int cell) {
    SweepJobs *jobs = maker->jobs;
    CellWork *work = &maker->work[cell];
    Error reason;
    int asking = work->asking ? add_asking(maker, cell) : -1;
    json_t *asked =
        work->asking ? json_incref(work->asking) : stored_answers(work->config, &reason);
    json_t *identity =
        asked ? sweep_judging_identity(&maker->known, work->config, asked, &reason) : NULL;
    json_decref(asked);
    if (!identity) {
        jobs->refused[cell] = checked_strdup(reason.message);
        return;
    }
    Config *config = sweep_copy_config(work->config);
    if (asking >= 0) {
        char *answers = format_string("%s/answers", jobs->list[asking].product);
        set(config, "eval.answers", answers, false);
        free(answers);
    }
    jobs->of_cell[cell] = add_job(maker, SWEEP_JUDGE, cell, NULL, identity, config, asking);
}

// ---- the whole

/// Jobs that nothing needs which is not done are as good as done: answers may have been removed
/// when they were judged.
static void find_needed(SweepJobs *jobs) {
    bool *is_needed = checked_calloc((unsigned long)jobs->count + 1, sizeof *is_needed);
    for (int i = jobs->count - 1; i >= 0; i--) {
        SweepJob *job = &jobs->list[i];
        if (job->state == SWEEP_DONE) continue;
        if (job->kind == SWEEP_JUDGE || is_needed[i]) {
            if (job->after >= 0) is_needed[job->after] = true;
        } else {
            job->state = SWEEP_DONE;
        }
    }
    free(is_needed);
}

bool sweep_jobs_make(SweepJobs *jobs, const SweepSection *section, const SweepCells *cells,
                     const char *const *settings, int num_settings, Error *error) {
    *jobs = (SweepJobs){.section = section, .cells = cells};
    jobs->of_cell = checked_calloc((unsigned long)cells->count, sizeof *jobs->of_cell);
    jobs->refused = checked_calloc((unsigned long)cells->count, sizeof *jobs->refused);
    Maker maker = {.jobs = jobs,
                   .work = checked_calloc((unsigned long)cells->count, sizeof *maker.work),
                   .settings = settings,
                   .num_settings = num_settings};
    bool ok = true;
    for (int c = 0; ok && c < cells->count; c++) {
        jobs->of_cell[c] = -1;
        ok = begin_cell(&maker, c, error) || error_context(error, "cell '%s'", cells->list[c].name);
    }
    for (int c = 0; ok && c < cells->count; c++)
        if (!jobs->refused[c]) finish_cell(&maker, c);
    for (int c = 0; c < cells->count; c++) {
        config_free(maker.work[c].config);
        json_decref(maker.work[c].asking);
    }
    free(maker.work);
    sweep_known_free(&maker.known);
    for (int i = 0; i < jobs->count; i++) sweep_job_look(&jobs->list[i]);
    find_needed(jobs);
    if (!ok) error->is_configuration = true;
    return ok;
}

void sweep_jobs_free(SweepJobs *jobs) {
    for (int i = 0; i < jobs->count; i++) {
        SweepJob *job = &jobs->list[i];
        json_decref(job->identity);
        config_free(job->config);
        free(job->name);
        free(job->product);
        free(job->folder);
        free(job->failure);
    }
    for (int c = 0; jobs->cells && c < jobs->cells->count; c++) free(jobs->refused[c]);
    free(jobs->list);
    free(jobs->of_cell);
    free(jobs->refused);
}
