// How a run begins: networks and data are read on every rank, all ranks make sure that they are
// about to do the same, and the newest checkpoint, if there is one, says where the run stands.
#include "autograd/text/utf8.h"
#include "checkpoints/checkpoint_folder.h"
#include "ops/flop_count.h"
#include "ops/kernels.h"
#include "train/log/run_record.h"
#include "train/saved/resume_check.h"
#include "train/trainer/schedule.h"
#include "train/trainer/trainer_parts.h"

#include "autograd/output/output_file.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/// Between two pieces of work: whether each rank has done its own (`ok`) and none was asked to
/// stop.
static bool goes_on(Trainer *trainer, bool ok, Error *error) {
    return ranks_go_on(trainer->group, ok, &trainer->stopping, error);
}

// ---- starting anew or going on

static bool load_initial_adapters(Trainer *trainer, Error *error) {
    const char *from = trainer->config->adapters;
    return !from || model_setup_load_weights(trainer->config, "model.adapters", from, false,
                                             &trainer->setup, error);
}

/// Before anything is loaded: a changed setting explains why something does not fit.
static bool is_same_run(Trainer *trainer, const char *path, Error *error) {
    TrainingPosition then;
    char *written = training_checkpoint_config(path, error);
    bool same = written && training_checkpoint_position(path, &then, error) &&
                resume_check(trainer->config, written, path, &trainer->position, &then,
                             trainer->is_first ? stderr : NULL, error);
    free(written);
    return same;
}

static bool load_checkpoint(Trainer *trainer, const char *path, Error *error) {
    TrainingPosition *position = &trainer->position, now = *position;
    if (!is_same_run(trainer, path, error) ||
        !training_checkpoint_load(path, &trainer->optimizer, position, error))
        return false;
    position->global_batch = now.global_batch;
    position->train = now.train;
    position->eval = now.eval;
    position->best = best_go_on(&now.best, &position->best, trainer->is_first ? stderr : NULL);
    if (trainer->is_first)
        utf8_print(stderr, "going on from %s, step %lld\n", path, (long long)position->step);
    return detector_restore(&trainer->loss_detector, &position->loss_detector, error) &&
           detector_restore(&trainer->norm_detector, &position->norm_detector, error);
}

/// The newest intact checkpoint as rank 0 finds it, "" if there is none: one rank decides for all.
static bool find_newest(Trainer *trainer, char *path, size_t size, Error *error) {
    bool ok = true;
    memset(path, 0, size);
    if (trainer->is_first) {
        char *newest = NULL;
        int64_t step;
        ok = checkpoint_newest(trainer->config->training.output_dir, checkpoint_warn, NULL, &newest,
                               &step, error);
        if (newest) snprintf(path, size, "%s", newest);
        free(newest);
    }
    return goes_on(trainer, ok, error) &&
           process_group_broadcast(trainer->group, 0, path, size, error);
}

static DataIdentity identify(const Dataset *dataset) {
    if (!dataset) return (DataIdentity){0};
    return (DataIdentity){dataset_count(dataset), dataset_checksum(dataset)};
}

static void new_position(Trainer *trainer) {
    double threshold = trainer->config->training.outlier_zscore;
    trainer->loss_detector = trainer->norm_detector =
        detector_new(DETECTOR_WINDOW, threshold > 0 ? threshold : INFINITY);
    const TrainingSection *training = &trainer->config->training;
    trainer->position = (TrainingPosition){
        .seed = training->seed,
        .global_batch = schedule_global_batch(trainer->config, process_count(trainer->group)),
        .best = best_begin(trainer->config, trainer->tasks),
        .train = identify(trainer->data),
        .eval = identify(trainer->held_out)};
}

static bool lies_in(const char *path, const char *folder) {
    char *above = checked_strdup(path), *slash = strrchr(above, '/');
    if (slash) slash[slash == above] = 0;
    struct stat one, other;
    bool same = stat(slash ? above : ".", &one) == 0 && stat(folder, &other) == 0 &&
                one.st_dev == other.st_dev && one.st_ino == other.st_ino;
    free(above);
    return same;
}

/// A run that goes on from a checkpoint of the user's choice leaves those behind that it does not
/// come from: the newest is looked for when it is resumed.
static bool leave_other_checkpoints(const Trainer *trainer, Error *error) {
    const TrainingSection *training = &trainer->config->training;
    if (!strcmp(training->resume, "auto") || !strcmp(training->resume, "never")) return true;
    bool own = lies_in(training->resume, training->output_dir);
    char *where;
    int count;
    bool ok = checkpoint_set_aside(training->output_dir, own ? trainer->position.step : -1, &where,
                                   &count, error);
    if (count)
        utf8_print(stderr, "%d checkpoint(s) in %s %s %s and are set aside in %s\n", count,
                   training->output_dir, own ? "are later than" : "do not come from",
                   training->resume, where);
    free(where);
    return ok;
}

/// Brings weights, moments and position to where the run stands.
static bool start_or_resume(Trainer *trainer, Error *error) {
    const TrainingSection *training = &trainer->config->training;
    bool automatic = !strcmp(training->resume, "auto"), never = !strcmp(training->resume, "never");
    char newest[4096];
    if (!automatic && !never) return load_checkpoint(trainer, training->resume, error);
    if (!find_newest(trainer, newest, sizeof newest, error)) return false;
    if (newest[0] && never)
        return config_refuse(
            trainer->config, "training.resume", error,
            "%s is in the way of a new run; remove it or choose another training.output_dir",
            newest);
    return newest[0] ? load_checkpoint(trainer, newest, error)
                     : load_initial_adapters(trainer, error);
}

// ---- the whole

/// What kills of earlier parts of the run left half-written.
static bool remove_remains(const char *folder, Error *error) {
    static const char *const names[] = {"config.yaml", "command.sh", "metrics.jsonl"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char *path = format_string("%s/%s", folder, names[i]);
        output_remove_remains(path);
        free(path);
    }
    return checkpoint_clean(folder, error);
}

static bool open_outputs(Trainer *trainer, Error *error) {
    const char *folder = trainer->config->training.output_dir;
    if (!trainer->is_first) return true;
    int64_t step = trainer->position.step;
    char *resolved = format_string("%s/config.yaml", folder);
    if (leave_other_checkpoints(trainer, error) && remove_remains(folder, error) &&
        config_save(trainer->config, resolved, error) &&
        run_record_write(folder, trainer->group, trainer->setup.device, step, error))
        trainer->log = run_log_open(folder, step > 0 ? step : -1,
                                    trainer->config->training.tensorboard, error);
    free(resolved);
    trainer->checkpoints = checkpoint_writer_new(folder, trainer->group);
    return trainer->log != NULL;
}

/// Each rank its own GPU, before anything large is read.
static bool open_device(Trainer *trainer, Error *error) {
    char bus_id[GPU_BUS_ID_BYTES];
    bool ok = model_setup_open_device(trainer->config, trainer->group, &trainer->setup, error);
    if (!process_group_agree(trainer->group, ok, error)) return false;
    ops_cuda_bus_id(trainer->setup.device, bus_id);
    return process_group_distinct_gpus(trainer->group, bus_id, error);
}

/// The folder, for this run alone, and that of features, before anything large is read.
static bool take_folder(Trainer *trainer, Error *error) {
    const char *folder = trainer->config->training.output_dir;
    if (!feature_folder_make(trainer->config, &trainer->feature_folder, error)) return false;
    if (!trainer->is_first) return true;
    if (output_folder_make(&trainer->folder, folder, error))
        trainer->lock = run_lock_take(folder, error);
    return trainer->lock != NULL;
}

static bool read_networks(Trainer *trainer, Error *error) {
    const Config *config = trainer->config;
    return training_tasks_open(config, &trainer->tasks, error) &&
           model_setup_read(config, (uint64_t)config->training.seed, &trainer->setup, error);
}

static bool read_data(Trainer *trainer, Error *error) {
    const Config *config = trainer->config;
    return trainer_open_data(trainer, error) && trainer_check_data(trainer, error) &&
           (!trainer->tasks || training_tasks_use(trainer->tasks, &trainer->setup, error)) &&
           best_check(config, trainer->tasks, error);
}

static bool have_same_tasks(Trainer *trainer, Error *error) {
    char *basis = training_tasks_describe(trainer->tasks, NULL);
    bool same =
        process_group_same(trainer->group, "what eval.tasks measures", basis, strlen(basis), error);
    free(basis);
    return same;
}

/// What is about this machine alone may differ.
static bool have_same_settings(Trainer *trainer, Error *error) {
    return process_group_same(trainer->group, "the configuration", trainer->config_yaml,
                              strlen(trainer->config_yaml), error);
}

static bool have_same_data(Trainer *trainer, Error *error) {
    const TrainingPosition *position = &trainer->position;
    return process_group_same(trainer->group, TRAINING_DATA, &position->train,
                              sizeof position->train, error) &&
           process_group_same(trainer->group, HELD_OUT_DATA, &position->eval, sizeof position->eval,
                              error) &&
           have_same_tasks(trainer, error);
}

bool trainer_prepare(Trainer *trainer, Error *error) {
    ProcessGroup *group = trainer->group;
    if (!open_device(trainer, error) || !goes_on(trainer, take_folder(trainer, error), error) ||
        !goes_on(trainer, read_networks(trainer, error), error) ||
        !have_same_settings(trainer, error) || !goes_on(trainer, read_data(trainer, error), error))
        return false;
    new_position(trainer);
    if (!have_same_data(trainer, error) || !trainer_count_tokens(trainer, error) ||
        !goes_on(trainer, trainer_count_steps(trainer, error), error) ||
        !replicas_compare_kernels(group, trainer->setup.device, error) ||
        !process_group_use_device(group, trainer->setup.device, error))
        return false;
    trainer->buckets =
        gradient_buckets_new(&trainer->setup.parameters, group, GRADIENT_BUCKET_BYTES,
                             trainer->config->training.shard_optimizer);
    int count;
    const ParameterRange *ranges = gradient_buckets_ranges(trainer->buckets, &count);
    trainer->optimizer = optimizer_new(&trainer->setup.parameters, ranges, count);
    if (!goes_on(trainer, start_or_resume(trainer, error), error) ||
        !replicas_agree(group, &trainer->setup.parameters, trainer->position.step,
                        &trainer->agreed_step, error) ||
        !goes_on(trainer, open_outputs(trainer, error), error))
        return false;
    if (trainer->position.step >= trainer->max_steps) return true;
    flop_count_begin(trainer->setup.device);
    trainer->peak_rate =
        flop_rate_of_products(trainer->setup.device, trainer->setup.model->options.dtype);
    return process_group_sum(group, &trainer->peak_rate, 1, error) &&
           goes_on(trainer,
                   trainer_fill_caches(trainer, error) && trainer_open_loader(trainer, error),
                   error);
}

void trainer_clean_up(Trainer *trainer) {
    checkpoint_writer_free(trainer->checkpoints);
    loader_free(trainer->loader);
    feature_cache_free(trainer->cache);
    feature_cache_free(trainer->held_out_cache);
    free(trainer->token_lengths);
    dataset_close(trainer->data);
    dataset_close(trainer->held_out);
    training_tasks_close(trainer->tasks);
    run_log_close(trainer->log);
    optimizer_free(&trainer->optimizer);
    model_setup_close(&trainer->setup);
    gradient_buckets_free(trainer->buckets);
    free(trainer->config_yaml);
    run_lock_release(trainer->lock);
}
