// One optimizer step: micro-batches of a global batch add the gradients of their *summed* token losses; the sum is divided by the
// number of supervised tokens of the whole global batch when the optimizer applies it. So how the batch is cut changes nothing.
#include "train/trainer.h"

#include "checkpoints/checkpoint_folder.h"
#include "train/batch_loss.h"
#include "train/metrics.h"
#include "train/model_setup.h"
#include "train/optimizer.h"
#include "train/output_folder.h"
#include "train/schedule.h"
#include "train/training_checkpoint.h"

#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

typedef struct Trainer {
    const Config *config;
    char *config_yaml;
    ModelSetup setup;
    Dataset *data, *held_out;
    FeatureCache *cache, *held_out_cache;
    Loader *loader;
    Optimizer optimizer;
    TrainingPosition position;
    MetricsWriter *metrics;
    Progress *progress;
    int64_t max_steps, warmup_steps, skipped;
    double started;
    int64_t tokens_before, samples, first_step; ///< of this process, for rates
} Trainer;

/// What one optimizer step came to.
typedef struct StepResult {
    double loss, gradient_norm;
    double learning_rate[GROUP_COUNT];
    int64_t supervised, tokens, samples;
} StepResult;

static volatile sig_atomic_t stop_requested;

static void request_stop(int signal_number) {
    (void)signal_number;
    stop_requested = 1;
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static int64_t peak_memory_bytes(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss * 1024;
}

// ---- preparing

static bool open_data(Trainer *trainer, Error *error) {
    const DataSection *data = &trainer->config->data;
    trainer->data = dataset_open(
        &(DatasetOptions){data->train, data->image_folder, (MissingImage)data->missing_image},
        error);
    if (!trainer->data) return false;
    trainer->skipped = dataset_skipped(trainer->data);
    if (!data->eval) return true;
    const char *folder = data->eval_image_folder ? data->eval_image_folder : data->image_folder;
    trainer->held_out = dataset_open(
        &(DatasetOptions){data->eval, folder, (MissingImage)data->missing_image}, error);
    return trainer->held_out != NULL;
}

static bool fill_caches(Trainer *trainer, Error *error) {
    if (!trainer->config->data.cache_features) return true;
    FeatureCacheOptions options = {trainer->setup.model, trainer->data,
                                   (ImageAspect)trainer->config->data.image_aspect_ratio, -1,
                                   (MissingImage)trainer->config->data.missing_image};
    trainer->cache = feature_cache_new(&options, stderr, error);
    if (!trainer->cache) return false;
    if (!trainer->held_out) return true;
    options.dataset = trainer->held_out;
    options.limit = trainer->config->training.eval_samples;
    trainer->held_out_cache = feature_cache_new(&options, stderr, error);
    return trainer->held_out_cache != NULL;
}

static LoaderOptions loader_options(const Trainer *trainer) {
    const Config *config = trainer->config;
    int threads = (int)config->data.dataloader_num_workers;
    return (LoaderOptions){.tokenizer = trainer->setup.tokenizer,
                           .format = trainer->setup.format,
                           .image_aspect = (ImageAspect)config->data.image_aspect_ratio,
                           .image_size = (int)config->data.image_size,
                           .without_images = config->data.cache_features,
                           .damaged_image = (MissingImage)config->data.missing_image,
                           .seed = (uint64_t)config->training.seed,
                           .world_size = 1,
                           .accumulation = 1,
                           .prefetch = (int)config->data.dataloader_prefetch_factor,
                           .threads = threads > 0 ? threads : 1};
}

static bool open_loader(Trainer *trainer, int64_t first_step, int64_t end_step, Error *error) {
    const Config *config = trainer->config;
    LoaderOptions options = loader_options(trainer);
    options.dataset = trainer->data;
    options.shuffle = true;
    options.group_by_modality_length = config->data.group_by_modality_length;
    options.micro_batch = (int)config->training.per_device_train_batch_size;
    options.accumulation = (int)config->training.gradient_accumulation_steps;
    options.first_step = first_step;
    options.end_step = end_step;
    loader_free(trainer->loader);
    trainer->loader = loader_create(&options, error);
    return trainer->loader != NULL;
}

/// Steps of the whole run. A loader is made to be asked how many steps an epoch has.
static bool count_steps(Trainer *trainer, Error *error) {
    const TrainingSection *training = &trainer->config->training;
    if (!open_loader(trainer, 0, 1, error)) return false;
    int64_t per_epoch = loader_steps_per_epoch(trainer->loader);
    trainer->max_steps = training->max_steps >= 0
                             ? training->max_steps
                             : (int64_t)ceil(training->num_train_epochs * (double)per_epoch);
    trainer->warmup_steps = schedule_warmup_steps(training->warmup_ratio, trainer->max_steps);
    return true;
}

// ---- starting anew or going on

static void warn(const char *message, void *context) {
    (void)context;
    fprintf(stderr, "warning: %s\n", message);
}

static bool load_initial_adapters(Trainer *trainer, Error *error) {
    const char *from = trainer->config->model.adapters;
    if (!from) return true;
    char *path = checkpoint_resolve(from, error);
    bool ok = path && training_checkpoint_load_weights(path, &trainer->setup.parameters, false,
                                                       true, error);
    free(path);
    return ok || error_context(error, "model.adapters");
}

static bool load_checkpoint(Trainer *trainer, const char *path, Error *error) {
    if (!training_checkpoint_load(path, &trainer->optimizer, &trainer->position, error))
        return false;
    if (trainer->position.seed != trainer->config->training.seed)
        return config_refuse(trainer->config, "training.seed", error,
                             "%s was trained with seed %lld; the same run has the same seed", path,
                             (long long)trainer->position.seed);
    fprintf(stderr, "going on from %s, step %lld\n", path, (long long)trainer->position.step);
    return true;
}

/// Brings weights, moments and position to where the run stands.
static bool start_or_resume(Trainer *trainer, Error *error) {
    const TrainingSection *training = &trainer->config->training;
    bool automatic = !strcmp(training->resume, "auto"), never = !strcmp(training->resume, "never");
    trainer->optimizer = optimizer_new(&trainer->setup.parameters);
    trainer->position = (TrainingPosition){.seed = training->seed};
    if (!automatic && !never) return load_checkpoint(trainer, training->resume, error);
    char *newest = NULL;
    int64_t step;
    if (!checkpoint_newest(training->output_dir, warn, NULL, &newest, &step, error)) return false;
    bool ok;
    if (newest && never)
        ok = config_refuse(
            trainer->config, "training.resume", error,
            "%s is in the way of a new run; remove it or choose another training.output_dir",
            newest);
    else
        ok = newest ? load_checkpoint(trainer, newest, error)
                    : load_initial_adapters(trainer, error);
    free(newest);
    return ok;
}

static bool prepare(Trainer *trainer, Error *error) {
    const Config *config = trainer->config;
    trainer->started = now();
    if (!output_folder_make(config->training.output_dir, error)) return false;
    if (!model_setup_open(config, (uint64_t)config->training.seed, &trainer->setup, error) ||
        !open_data(trainer, error) || !count_steps(trainer, error) ||
        !start_or_resume(trainer, error))
        return false;
    char *metrics = format_string("%s/metrics.jsonl", config->training.output_dir),
         *resolved = format_string("%s/config.yaml", config->training.output_dir);
    bool fresh = trainer->position.step == 0;
    bool ok = config_save(config, resolved, error);
    if (ok) trainer->metrics = metrics_open(metrics, fresh ? -1 : trainer->position.step, error);
    free(metrics);
    free(resolved);
    if (!trainer->metrics || trainer->position.step >= trainer->max_steps)
        return trainer->metrics != NULL;
    return fill_caches(trainer, error) &&
           open_loader(trainer, trainer->position.step, trainer->max_steps, error);
}

static void clean_up(Trainer *trainer) {
    loader_free(trainer->loader);
    feature_cache_free(trainer->cache);
    feature_cache_free(trainer->held_out_cache);
    dataset_close(trainer->data);
    dataset_close(trainer->held_out);
    metrics_close(trainer->metrics);
    optimizer_free(&trainer->optimizer);
    model_setup_close(&trainer->setup);
    free(trainer->config_yaml);
}

// ---- one step

/// Forward and backward of one micro-batch: adds to the gradients and to the result.
static bool run_micro_batch(Trainer *trainer, const MicroBatch *batch, StepResult *result,
                            Error *error) {
    scope_begin();
    tape_begin();
    DiffLMMLoss loss = batch_loss(trainer->setup.model, trainer->cache, batch, batch->step, true);
    double sum = loss.sum ? tensor_item(loss.sum) : 0;
    if (loss.sum && requires_grad(loss.sum) && isfinite(sum)) backward(loss.sum, NULL);
    tape_end();
    scope_end();
    result->loss += sum;
    result->supervised += loss.num_supervised;
    result->tokens += loss.num_tokens;
    result->samples += batch->count;
    if (batch->skipped) {
        trainer->skipped += batch->skipped;
        progress_print(trainer->progress, "left out %d sample(s): %s", batch->skipped,
                       batch->skipped_because);
    }
    return isfinite(sum) ||
           error_set(
               error,
               "the loss of step %lld is not finite; a lower learning rate or float32 may help",
               (long long)batch->step);
}

static bool update(Trainer *trainer, StepResult *result, Error *error) {
    const TrainingSection *training = &trainer->config->training;
    double factor =
        schedule_factor((ScheduleType)training->lr_scheduler_type, trainer->position.step,
                        trainer->warmup_steps, trainer->max_steps);
    bool has_lora = trainer->config->lora.lora_enable;
    result->learning_rate[GROUP_ADAPTERS] =
        factor * (has_lora ? training->mm_projector_lr : training->learning_rate);
    result->learning_rate[GROUP_LORA] = factor * training->learning_rate;
    if (!result->supervised) {
        progress_print(trainer->progress,
                       "step %lld: no token of the batch is supervised; nothing is learned from it",
                       (long long)trainer->position.step);
        return true;
    }
    OptimizerOptions options = {.beta1 = training->adam_beta1,
                                .beta2 = training->adam_beta2,
                                .epsilon = training->adam_epsilon,
                                .weight_decay = training->weight_decay,
                                .max_grad_norm = training->max_grad_norm,
                                .gradient_scale = 1.0 / (double)result->supervised};
    memcpy(options.learning_rate, result->learning_rate, sizeof options.learning_rate);
    result->loss /= (double)result->supervised;
    result->gradient_norm = optimizer_gradient_norm(&trainer->optimizer, options.gradient_scale);
    if (!isfinite(result->gradient_norm))
        return error_set(
            error,
            "the gradient of step %lld is not finite; a lower learning rate or float32 may help",
            (long long)trainer->position.step);
    optimizer_step(&trainer->optimizer, &options, result->gradient_norm);
    return true;
}

static bool log_step(Trainer *trainer, const StepResult *result, Error *error) {
    double seconds = now() - trainer->started;
    const Metric metrics[] = {
        {"loss", result->loss},
        {"learning_rate", result->learning_rate[GROUP_ADAPTERS]},
        {"learning_rate_lora", result->learning_rate[GROUP_LORA]},
        {"grad_norm", result->gradient_norm},
        {"supervised_tokens", (double)result->supervised},
        {"tokens_per_second",
         (double)(trainer->position.tokens - trainer->tokens_before) / seconds},
        {"samples_per_second", (double)trainer->samples / seconds},
        {"seconds", seconds},
        {"device_peak_bytes", (double)trainer->setup.device->bytes_peak},
        {"peak_memory_bytes", (double)peak_memory_bytes()}};
    progress_update(trainer->progress, trainer->position.step,
                    "loss %.4f  lr %.1e  |g| %.2f  %.0f tokens/s  %.2f GiB", result->loss,
                    result->learning_rate[GROUP_ADAPTERS], result->gradient_norm,
                    (double)(trainer->position.tokens - trainer->tokens_before) / seconds,
                    (double)peak_memory_bytes() / 0x1p30);
    return metrics_write(trainer->metrics, "train", trainer->position.step, metrics,
                         sizeof metrics / sizeof *metrics, error);
}

static bool train_step(Trainer *trainer, Error *error) {
    StepResult result = {0};
    for (int64_t i = 0; i < trainer->config->training.gradient_accumulation_steps; i++) {
        MicroBatch *batch;
        if (!loader_next(trainer->loader, &batch, error)) return false;
        CHECK(batch && batch->step == trainer->position.step, "the loader is not at step %lld",
              (long long)trainer->position.step);
        bool ok = run_micro_batch(trainer, batch, &result, error);
        micro_batch_free(batch);
        if (!ok) return false;
    }
    if (!update(trainer, &result, error)) return false;
    trainer->position.step++;
    trainer->position.position += result.samples;
    trainer->position.tokens += result.tokens;
    trainer->samples += result.samples;
    return log_step(trainer, &result, error);
}

// ---- between steps

/// The loss per supervised token on held-out samples, the same ones with the same noise every time.
static bool evaluate(Trainer *trainer, Error *error) {
    const TrainingSection *training = &trainer->config->training;
    int64_t batch_size = training->per_device_eval_batch_size,
            count = dataset_count(trainer->held_out);
    if (training->eval_samples >= 0 && training->eval_samples < count)
        count = training->eval_samples;
    LoaderOptions options = loader_options(trainer);
    options.dataset = trainer->held_out;
    options.micro_batch = (int)batch_size;
    options.end_step = (count + batch_size - 1) / batch_size;
    Loader *loader = loader_create(&options, error);
    if (!loader) return false;
    double sum = 0;
    int64_t supervised = 0;
    bool ok = true;
    for (int64_t i = 0; ok && i < options.end_step; i++) {
        MicroBatch *batch;
        ok = loader_next(loader, &batch, error);
        if (!ok || !batch) break;
        while (batch->count > 0 && batch->samples[batch->count - 1].index >= count)
            token_sequence_free(&batch->samples[--batch->count].tokens);
        scope_begin();
        DiffLMMLoss loss = batch_loss(trainer->setup.model, trainer->held_out_cache, batch,
                                      EVALUATION_STEP, false);
        if (loss.sum) sum += tensor_item(loss.sum);
        supervised += loss.num_supervised;
        scope_end();
        micro_batch_free(batch);
    }
    loader_free(loader);
    double mean_loss = supervised ? sum / (double)supervised : 0;
    if (ok)
        progress_print(trainer->progress, "step %lld: loss %.4f on held-out data",
                       (long long)trainer->position.step, mean_loss);
    return ok && metrics_write(trainer->metrics, "eval", trainer->position.step,
                               &(Metric){"loss", mean_loss}, 1, error);
}

static bool save(Trainer *trainer, Error *error) {
    const TrainingSection *training = &trainer->config->training;
    char *path = checkpoint_path(training->output_dir, trainer->position.step);
    bool ok = training_checkpoint_save(path, &trainer->optimizer, &trainer->position,
                                       trainer->config_yaml, error) &&
              checkpoint_keep_last(training->output_dir, (int)training->save_total_limit, error);
    free(path);
    return ok;
}

static bool is_due(int64_t step, int64_t every) { return every > 0 && step % every == 0; }

static bool train(Trainer *trainer, Error *error) {
    const TrainingSection *training = &trainer->config->training;
    bool ok = true, saved = false;
    while (ok && trainer->position.step < trainer->max_steps && !(saved && stop_requested)) {
        ok = train_step(trainer, error);
        int64_t step = trainer->position.step;
        bool last = step == trainer->max_steps;
        if (ok && trainer->held_out && (last || is_due(step, training->eval_steps)) &&
            !stop_requested)
            ok = evaluate(trainer, error);
        saved = ok && (last || stop_requested || is_due(step, training->save_steps));
        if (saved) ok = save(trainer, error);
    }
    return ok;
}

bool trainer_run(const Config *config, Error *error) {
    Trainer trainer = {.config = config, .config_yaml = config_to_yaml(config)};
    struct sigaction action = {.sa_handler =
                                   request_stop}; // from here on: while networks are read as well
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    bool ok = prepare(&trainer, error);
    if (ok && trainer.position.step >= trainer.max_steps)
        fprintf(stderr, "%s is trained: step %lld of %lld\n", config->training.output_dir,
                (long long)trainer.position.step, (long long)trainer.max_steps);
    if (ok && trainer.position.step < trainer.max_steps) {
        trainer.tokens_before = trainer.position.tokens;
        trainer.progress = progress_begin(stderr, "training", trainer.position.step,
                                          trainer.max_steps, config->training.logging_steps);
        trainer.started = now();
        ok = train(&trainer, error);
        progress_end(trainer.progress);
        if (trainer.skipped)
            fprintf(stderr, "%lld sample(s) were left out because of missing or damaged images\n",
                    (long long)trainer.skipped);
    }
    clean_up(&trainer);
    return ok;
}
