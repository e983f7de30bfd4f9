// Real steps on real data: the trainer's own, without its folder. Samples are taken in the data
// set's order, so that only their features need to be computed where features are cached.
#include "train/plan/plan_parts.h"

#include "train/trainer/trainer_parts.h"

#include <math.h>
#include <stdlib.h>

enum { WARM_UP_STEPS = 1 };

static bool fill_cache(Plan *plan, Trainer *trainer, int64_t samples, Error *error) {
    const DataSection *data = &trainer->config->data;
    if (!data->cache_features) return true;
    double start = clock_seconds();
    trainer->cache =
        feature_cache_new(&(FeatureCacheOptions){.model = trainer->setup.model,
                                                 .dataset = trainer->data,
                                                 .image_aspect = data->image_aspect_ratio,
                                                 .image_normalization = data->image_normalization,
                                                 .limit = samples,
                                                 .damaged_image = MISSING_IMAGE_SKIP,
                                                 .group = trainer->group},
                          &trainer->stopping, NULL, error);
    double share = (double)(samples < plan->data.samples ? samples : plan->data.samples) /
                   (double)(plan->data.samples + plan->data.held_out_samples);
    plan->time.features_seconds = (clock_seconds() - start) / share;
    return trainer->cache != NULL;
}

static LoaderOptions loader_options(const Trainer *trainer, int64_t steps) {
    const TrainingSection *training = &trainer->config->training;
    LoaderOptions options = trainer_loader_options(trainer);
    options.dataset = trainer->data;
    options.micro_batch = (int)training->per_device_train_batch_size;
    options.accumulation = (int)training->gradient_accumulation_steps;
    options.token_lengths = trainer->token_lengths;
    options.tokens_per_batch = trainer->config->data.tokens_per_batch;
    options.damaged_image = MISSING_IMAGE_SKIP;
    options.end_step = steps;
    return options;
}

/// Samples of these steps, -1 on failure.
static int64_t count_samples(const LoaderOptions *options, Error *error) {
    Sampler *sampler = loader_sampler(options, error);
    if (!sampler) return -1;
    int64_t samples = 0;
    for (int64_t i = 0; i < options->end_step * options->accumulation; i++) {
        int64_t count;
        sampler_chunk(sampler, i / options->accumulation, i % options->accumulation, &count);
        samples += count;
    }
    sampler_free(sampler);
    return samples;
}

static bool open_loader(Trainer *trainer, int64_t steps, Error *error) {
    const LoaderOptions options = loader_options(trainer, steps);
    trainer->loader = loader_create(&options, error);
    return trainer->loader != NULL;
}

/// Without weights: the first samples are the data set's first, whose features are at hand.
static Dataset *open_in_order(const DatasetFiles *files, Error *error) {
    DatasetFile *once = checked_malloc((size_t)files->count * sizeof *once);
    for (int i = 0; i < files->count; i++) {
        once[i] = files->values[i];
        once[i].weight = 1;
    }
    Dataset *data = dataset_open_files(once, files->count, MISSING_IMAGE_SKIP, error);
    free(once);
    return data;
}

static bool prepare(Plan *plan, Trainer *trainer, int64_t steps, Error *error) {
    const Config *config = trainer->config;
    if (!model_setup_open(config, (uint64_t)config->training.seed, trainer->group, &trainer->setup,
                          error))
        return false;
    trainer->data = open_in_order(&config->data.train, error);
    if (!trainer->data || !trainer_count_tokens(trainer, error)) return false;
    const LoaderOptions options = loader_options(trainer, steps);
    const int64_t samples = count_samples(&options, error);
    if (samples < 0 || !fill_cache(plan, trainer, samples, error)) return false;
    trainer->buckets = gradient_buckets_new(&trainer->setup.parameters, trainer->group,
                                            GRADIENT_BUCKET_BYTES, false);
    trainer->optimizer = optimizer_new(&trainer->setup.parameters, NULL, 0);
    trainer->max_steps = steps;
    return open_loader(trainer, steps, error);
}

/// Runs the steps; the first ones are not counted.
static bool run(Plan *plan, Trainer *trainer, int64_t steps, Error *error) {
    StepResult result;
    int64_t tokens = 0;
    double start = clock_seconds();
    for (int64_t i = 0; i < steps; i++) {
        if (i == WARM_UP_STEPS) {
            trainer->setup.device->synchronize(trainer->setup.device);
            start = clock_seconds();
            tokens = 0;
        }
        if (!trainer_step(trainer, false, &result, error)) return false;
        tokens += result.tokens;
    }
    trainer->setup.device->synchronize(trainer->setup.device);
    double seconds = clock_seconds() - start;
    plan->time.known = seconds > 0 && tokens > 0;
    plan->time.steps = plan->options.timed_steps;
    plan->time.seconds_per_step = seconds / (double)(steps - WARM_UP_STEPS);
    plan->time.tokens_per_second = (double)tokens / seconds;
    return true;
}

/// By the tokens of what is left: the timed samples may be longer or shorter than the others.
static void predict(Plan *plan) {
    PlanTime *time = &plan->time;
    const PlanSchedule *schedule = &plan->schedule;
    if (!time->known || schedule->total_steps <= 0) return;
    double left =
        (double)(schedule->total_steps - schedule->first_step) / (double)schedule->total_steps;
    if (left < 0) left = 0;
    double rate = time->tokens_per_second * (double)plan->options.processes;
    time->seconds = left * plan->data.tokens / rate;
    if (left > 0) time->seconds += time->features_seconds / (double)plan->options.processes;
}

void plan_time(Plan *plan) {
    Config timed = *plan->config;
    timed.training.outlier_zscore = 0;
    Error error = {0};
    Trainer trainer = {.config = &timed, .group = process_group_alone(), .is_first = true};
    int64_t steps = WARM_UP_STEPS + plan->options.timed_steps;
    bool ok = prepare(plan, &trainer, steps, &error) && run(plan, &trainer, steps, &error);
    if (ok)
        predict(plan);
    else
        plan_refuse(plan, "data.train", "timing a few steps failed: %s", error.message);
    trainer_clean_up(&trainer);
    process_group_close(trainer.group);
}
