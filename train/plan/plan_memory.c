// The phases of a run as train/trainer/trainer.c has them, on the device that counts.
#include "train/plan/plan_parts.h"

#include "autograd/tape.h"
#include "train/features/feature_ahead.h"
#include "train/trainer/gradient_buckets.h"

#include <stdlib.h>
#include <string.h>

// ---- what stays: gradients and moments

/// A rank's share of every parameter's moments. Which elements they are does not matter here.
static Optimizer new_optimizer(const Plan *plan, ParameterSet *parameters) {
    int64_t ranks = plan->config->training.shard_optimizer ? plan->options.processes : 1;
    ParameterRange *ranges = checked_calloc((size_t)parameters->count + 1, sizeof(ParameterRange));
    for (int i = 0; i < parameters->count; i++)
        ranges[i] =
            (ParameterRange){i, 0, (tensor_numel(parameters->items[i].value) + ranks - 1) / ranks};
    Optimizer optimizer = optimizer_new(parameters, ranges, parameters->count);
    free(ranges);
    return optimizer;
}

// ---- the phases

static FrozenFeatures encode(const DiffLMM *model, int64_t images) {
    int64_t side = model->options.image_size;
    return difflmm_frozen_features(
        model, tensor_from_host(model->device, FLOAT32, SHAPE(images, side, side, 3), NULL));
}

/// Features as the cache hands them out.
static FrozenFeatures cached(const DiffLMM *model, int64_t images) {
    const FeatureShape shape = feature_shape(model);
    FrozenFeatures features = {
        tensor_new(model->device, shape.dtype, SHAPE(images, shape.tokens, shape.width)), NULL};
    if (shape.channels)
        features.moments = tensor_new(model->device, FLOAT32,
                                      SHAPE(images, shape.side, shape.side, shape.channels));
    return features;
}

static void run_loss(const Plan *plan, const DiffLMM *model, const PlanBatch *batch, bool train) {
    TokenSample *samples = checked_calloc((size_t)batch->count + 1, sizeof *samples);
    uint64_t *passes = checked_calloc((size_t)batch->count + 1, sizeof *passes);
    int images = 0;
    for (int i = 0; i < batch->count; i++) {
        const TokenSequence *sequence = &batch->sequences[i];
        samples[i] = (TokenSample){sequence->ids, sequence->supervised, sequence->count, -1, i};
        if (sequence->image_position >= 0) samples[i].image = images++;
    }
    FrozenFeatures features = {0};
    if (images)
        features =
            plan->config->data.cache_features ? cached(model, images) : encode(model, images);
    DiffusionNoise noise = {.passes = passes};
    DiffLMMBatch whole = {.samples = samples,
                          .num_samples = batch->count,
                          .features = images ? &features : NULL,
                          .noise = images ? &noise : NULL,
                          .train = train};
    DiffLMMLoss loss = difflmm_loss(model, &whole, NULL);
    if (train && loss.sum && requires_grad(loss.sum)) backward(loss.sum, NULL, NULL);
    free(samples);
    free(passes);
}

static void run_features(const DiffLMM *model, int64_t images) {
    scope_begin();
    encode(model, images < FEATURE_BLOCK ? images : FEATURE_BLOCK);
    scope_end();
}

static void run_training(const Plan *plan, const DiffLMM *model, const PlanBatch *batch) {
    scope_begin();
    tape_begin();
    run_loss(plan, model, batch, true);
    tape_end();
    scope_end();
}

static void run_evaluation(const Plan *plan, const DiffLMM *model, const PlanBatch *batch) {
    scope_begin();
    run_loss(plan, model, batch, false);
    scope_end();
}

bool plan_note_peak(PlanMemory *memory, PlanPhase phase, const Device *device) {
    if (device->bytes_peak > memory->peak_of[phase]) memory->peak_of[phase] = device->bytes_peak;
    if (device->bytes_peak <= memory->peak) return false;
    memory->phase = phase;
    memory->peak = device->bytes_peak;
    memcpy(memory->by_kind, device->bytes_by_kind_at_peak, sizeof memory->by_kind);
    return true;
}

static void count_batch(const PlanBatch *batch, PlanMemory *memory) {
    memory->batch_tokens = memory->batch_images = 0;
    for (int i = 0; i < batch->count; i++) {
        memory->batch_tokens += batch->sequences[i].length;
        memory->batch_images += batch->sequences[i].image_position >= 0;
    }
}

/// Samples of a micro-batch, each with so many tokens at least.
static int64_t most_samples(const Config *config, int64_t tokens) {
    const int64_t fitting = config->data.tokens_per_batch / (tokens > 0 ? tokens : 1);
    if (!config->data.tokens_per_batch) return config->training.per_device_train_batch_size;
    return fitting > 0 ? fitting : 1;
}

/// Where there is no data: sequences with an image, as long as they may be, supervised but for the
/// image.
static PlanBatch longest_batch(const Plan *plan, const DiffLMM *model) {
    int64_t count = most_samples(plan->config, plan->config->data.model_max_length);
    int length = (int)plan->config->data.model_max_length - model->num_visual_tokens + 1;
    PlanBatch batch = {.sequences = checked_calloc((size_t)count, sizeof *batch.sequences),
                       .count = (int)count};
    if (length < 2) length = 2;
    for (int64_t i = 0; i < count; i++) {
        TokenSequence *sequence = &batch.sequences[i];
        *sequence = (TokenSequence){.count = length,
                                    .ids = checked_calloc((size_t)length, sizeof *sequence->ids),
                                    .supervised = checked_calloc((size_t)length, 1),
                                    .supervised_count = length - 1,
                                    .length = (int)plan->config->data.model_max_length};
        memset(sequence->supervised + 1, 1, (size_t)length - 1);
        sequence->ids[0] = IMAGE_TOKEN;
    }
    return batch;
}

static void run_phases(Plan *plan, const DiffLMM *model, const PlanBatches *batches) {
    PlanMemory *memory = &plan->memory;
    Device *device = model->device;
    PlanBatch assumed = {0};
    int count = batches->training_count;
    const PlanBatch *training = batches->training;
    memory->assumed_longest = count == 0;
    if (memory->assumed_longest) {
        assumed = longest_batch(plan, model);
        training = &assumed;
        count = 1;
    }
    if (plan->config->data.cache_features && batches->cached_images) {
        run_features(model, batches->cached_images);
        plan_note_peak(memory, PHASE_FEATURES, device);
    }
    for (int i = 0; i < count; i++) {
        device_reset_peak(device);
        run_training(plan, model, &training[i]);
        if (plan_note_peak(memory, PHASE_TRAINING, device)) count_batch(&training[i], memory);
    }
    if (batches->evaluation.count) {
        device_reset_peak(device);
        run_evaluation(plan, model, &batches->evaluation);
        if (plan_note_peak(memory, PHASE_EVALUATION, device))
            count_batch(&batches->evaluation, memory);
    }
    plan_batch_free(&assumed);
}

// ---- beside the device

static void count_host(Plan *plan, const DiffLMM *model, const ParameterSet *parameters,
                       const PlanBatches *batches) {
    const Config *config = plan->config;
    PlanMemory *memory = &plan->memory;
    int64_t side = config->data.image_size;
    int64_t image = 3 * side * side * (int64_t)sizeof(float);
    const FeatureShape shape = feature_shape(model);
    const int64_t features = batches->cached_images *
                             (int64_t)(feature_clip_bytes(&shape) + feature_moments_bytes(&shape));
    if (config->data.feature_folder) // those that were read ahead
        memory->feature_cache = features < FEATURE_AHEAD_BYTES ? features : FEATURE_AHEAD_BYTES;
    else if (config->data.cache_features)
        memory->feature_cache = features;
    else // those that are ready, and those of the step
        memory->loader = (config->data.dataloader_prefetch_factor +
                          config->training.gradient_accumulation_steps) *
                         most_samples(config, model->num_visual_tokens) * image;
    // Weights and both moments, copied to be written.
    bool copied = config->training.save_in_background || memory->cuda ||
                  (config->training.shard_optimizer && plan->options.processes > 1);
    if (copied)
        memory->snapshot = 3 * parameters_count_elements(parameters) * (int64_t)sizeof(float);
    memory->data_index =
        DATASET_BYTES_PER_SAMPLE * (plan->data.samples + plan->data.held_out_samples);
}

/// What a batch that does not fit is due to, and what helps.
typedef struct BatchAdvice {
    const char *key, *text;
} BatchAdvice;

static const BatchAdvice OF_SAMPLES = {
    "training.per_device_train_batch_size",
    "a smaller training.per_device_train_batch_size with as much more "
    "training.gradient_accumulation_steps, model.recompute: all, model.dtype: bfloat16 or "
    "model.frozen_dtype: fp8 help"};
static const BatchAdvice OF_TOKENS = {
    "data.tokens_per_batch",
    "a smaller data.tokens_per_batch with as much more training.gradient_accumulation_steps, "
    "model.recompute: all, model.dtype: bfloat16 or "
    "model.frozen_dtype: fp8 help"};

void plan_memory(Plan *plan, PlanModel *model, const PlanBatches *batches) {
    PlanMemory *memory = &plan->memory;
    plan_machine(plan);
    if (!model->model) return;
    ProcessGroup *alone = process_group_alone();
    GradientBuckets *buckets =
        gradient_buckets_new(&model->parameters, alone, GRADIENT_BUCKET_BYTES, false);
    Optimizer optimizer = new_optimizer(plan, &model->parameters);
    run_phases(plan, model->model, batches);
    count_host(plan, model->model, &model->parameters, batches);
    plan_sum_memory(plan, model->device);
    const BatchAdvice *of = plan->config->data.tokens_per_batch ? &OF_TOKENS : &OF_SAMPLES;
    bool cached = memory->feature_cache > memory->host / 2;
    plan_check_fit(plan, of->key, cached ? "data.cache_features" : of->key, of->text);
    optimizer_free(&optimizer);
    gradient_buckets_free(buckets);
    process_group_close(alone);
}
