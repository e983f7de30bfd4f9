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
#include "train/trainer/training_check.h"

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

// ---- data

/// What the first bytes of the image files say.
static void tell_of_images(const Dataset *data) {
    for (int i = 0; i < dataset_part_count(data); i++) {
        const DatasetPart part = dataset_part(data, i);
        char *formats = image_formats_text(part.formats);
        if (strcmp(formats, "none") != 0)
            utf8_print(stderr, "%s: images: %s\n", part.path, formats);
        if (part.skipped_because)
            utf8_print(stderr, "%s: left out %lld sample(s) without their image; the first: %s\n",
                       part.path, (long long)part.skipped, part.skipped_because);
        free(formats);
    }
}

static bool open_data(Trainer *trainer, Error *error) {
    const DataSection *data = &trainer->config->data;
    trainer->data =
        dataset_open_files(data->train.values, data->train.count, data->missing_image, error);
    if (!trainer->data) return false;
    if (trainer->is_first) tell_of_images(trainer->data);
    if (trainer->is_first) trainer->skipped = dataset_skipped(trainer->data);
    if (!data->eval.count) return true;
    trainer->held_out =
        dataset_open_files(data->eval.values, data->eval.count, data->missing_image, error);
    return trainer->held_out != NULL;
}

/// Whether the data suit the configuration.
static bool check_data(const Trainer *trainer, Error *error) {
    const char *key;
    TrainingFacts facts = {.config = trainer->config,
                           .tokenizer = trainer->setup.tokenizer,
                           .num_visual_tokens = trainer->setup.model->num_visual_tokens,
                           .data = trainer->data};
    for (int i = 0; i < TRAINING_CHECKS; i++) {
        facts.data = trainer->data;
        facts.is_held_out = false;
        if (!training_check(i, &facts, &key, error)) return false;
        facts.data = trainer->held_out;
        facts.is_held_out = true;
        if (facts.data && !training_check(i, &facts, &key, error)) return false;
    }
    return true;
}

/// Features of the first `limit` samples (-1: all) of the data set.
static FeatureCache *fill_cache(Trainer *trainer, const Dataset *dataset, int64_t limit,
                                FeatureFolder *folder, Error *error) {
    const DataSection *data = &trainer->config->data;
    FeatureCacheOptions options = {.model = trainer->setup.model,
                                   .dataset = dataset,
                                   .image_aspect = data->image_aspect_ratio,
                                   .image_normalization = data->image_normalization,
                                   .limit = limit,
                                   .damaged_image = data->missing_image,
                                   .group = trainer->group,
                                   .folder = folder};
    FeatureCache *cache =
        feature_cache_new(&options, &trainer->stopping, trainer->is_first ? stderr : NULL, error);
    if (cache && folder && trainer->is_first)
        utf8_print(stderr, "features of %lld of %lld images were read from %s\n",
                   (long long)feature_cache_count_found(cache),
                   (long long)feature_cache_count(cache), data->feature_folder);
    return cache;
}

static bool fill_caches(Trainer *trainer, Error *error) {
    const Config *config = trainer->config;
    bool is_kept = config->data.feature_folder != NULL;
    if (!config->data.cache_features) return true;
    FeatureFolder *folder =
        is_kept ? feature_folder_open(config, trainer->setup.model, error) : NULL;
    bool ok = goes_on(trainer, folder || !is_kept, error);
    if (ok) {
        trainer->cache = fill_cache(trainer, trainer->data, -1, folder, error);
        ok = trainer->cache != NULL;
    }
    if (ok && trainer->held_out) {
        trainer->held_out_cache =
            fill_cache(trainer, trainer->held_out, config->training.eval_samples, folder, error);
        ok = trainer->held_out_cache != NULL;
    }
    feature_folder_close(folder);
    return ok;
}

LoaderOptions trainer_loader_options(const Trainer *trainer) {
    const Config *config = trainer->config;
    int threads = (int)config->data.dataloader_num_workers;
    return (LoaderOptions){.tokenizer = trainer->setup.tokenizer,
                           .format = trainer->setup.format,
                           .image_aspect = config->data.image_aspect_ratio,
                           .image_normalization = config->data.image_normalization,
                           .image_size = (int)config->data.image_size,
                           .without_images = config->data.cache_features,
                           .damaged_image = config->data.missing_image,
                           .seed = (uint64_t)config->training.seed,
                           .rank = process_rank(trainer->group),
                           .world_size = process_count(trainer->group),
                           .accumulation = 1,
                           .prefetch = (int)config->data.dataloader_prefetch_factor,
                           .threads = threads > 0 ? threads : 1};
}

static bool has_features(const void *cache, int64_t index) {
    return feature_cache_has(cache, index);
}

static LoaderOptions training_options(const Trainer *trainer) {
    const Config *config = trainer->config;
    LoaderOptions options = trainer_loader_options(trainer);
    options.dataset = trainer->data;
    options.shuffle = true;
    options.group_by_modality_length = config->data.group_by_modality_length;
    options.micro_batch = (int)config->training.per_device_train_batch_size;
    options.accumulation = (int)config->training.gradient_accumulation_steps;
    return options;
}

static bool open_loader(Trainer *trainer, Error *error) {
    LoaderOptions options = training_options(trainer);
    options.has_features = trainer->cache ? has_features : NULL;
    options.features = trainer->cache;
    options.first_step = trainer->position.step;
    options.end_step = trainer->max_steps;
    trainer->loader = loader_create(&options, error);
    return trainer->loader != NULL;
}

/// Steps of the whole run.
static bool count_steps(Trainer *trainer, Error *error) {
    LoaderOptions options = training_options(trainer);
    int64_t steps_per_epoch = loader_steps_per_epoch(&options, error);
    if (steps_per_epoch < 0 ||
        !schedule_total_steps(trainer->config, steps_per_epoch, &trainer->max_steps, error))
        return false;
    trainer->warmup_steps =
        schedule_warmup_steps(trainer->config->training.warmup_ratio, trainer->max_steps);
    return true;
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
    trainer->position = (TrainingPosition){.seed = training->seed,
                                           .global_batch = training->per_device_train_batch_size *
                                                           training->gradient_accumulation_steps *
                                                           process_count(trainer->group),
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

static bool read_everything(Trainer *trainer, Error *error) {
    const Config *config = trainer->config;
    return training_tasks_open(config, &trainer->tasks, error) &&
           model_setup_read(config, (uint64_t)config->training.seed, &trainer->setup, error) &&
           open_data(trainer, error) && check_data(trainer, error) && count_steps(trainer, error) &&
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

/// Settings and data must be the same on every rank; what is about this machine alone may differ.
static bool is_one_job(Trainer *trainer, Error *error) {
    const TrainingPosition *position = &trainer->position;
    return process_group_same(trainer->group, "the configuration", trainer->config_yaml,
                              strlen(trainer->config_yaml), error) &&
           process_group_same(trainer->group, "the training data (data.train)", &position->train,
                              sizeof position->train, error) &&
           process_group_same(trainer->group, "the held-out data (data.eval)", &position->eval,
                              sizeof position->eval, error) &&
           have_same_tasks(trainer, error);
}

bool trainer_prepare(Trainer *trainer, Error *error) {
    ProcessGroup *group = trainer->group;
    if (!open_device(trainer, error) || !goes_on(trainer, take_folder(trainer, error), error) ||
        !goes_on(trainer, read_everything(trainer, error), error))
        return false;
    new_position(trainer);
    if (!is_one_job(trainer, error) ||
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
           goes_on(trainer, fill_caches(trainer, error) && open_loader(trainer, error), error);
}

void trainer_clean_up(Trainer *trainer) {
    checkpoint_writer_free(trainer->checkpoints);
    loader_free(trainer->loader);
    feature_cache_free(trainer->cache);
    feature_cache_free(trainer->held_out_cache);
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
