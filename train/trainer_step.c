// One optimizer step: micro-batches of a global batch add the gradients of their *summed* token losses, on every rank; the sum over ranks is
// divided by the number of supervised tokens of the whole global batch when the optimizer applies it. So how the batch is cut changes
// nothing but rounding.
//
// Whatever happens on a rank (no sample, no image, a file that cannot be read), it takes part in every reduction of the step: a rank
// that skipped one would leave the others waiting.
#include "ops/finite_check.h"
#include "ops/flop_count.h"
#include "ops/kernels.h"
#include "train/batch_loss.h"
#include "train/schedule.h"
#include "train/trainer_parts.h"

#include <math.h>
#include <string.h>

/// Runs the pass once more, looking at every result, to say which was the first that is not finite.
static bool refuse_not_finite(Trainer *trainer, const MicroBatch *batch, Error *error) {
    char what[512] = "found none the second time";
    Device *device = trainer->setup.device;
    finite_check_begin(device);
    scope_begin();
    tape_begin();
    DiffLMMLoss loss = batch_loss(trainer->setup.model, trainer->cache, batch, batch->step, true);
    if (loss.sum && requires_grad(loss.sum)) backward(loss.sum, NULL);
    tape_end();
    scope_end();
    finite_check_end(device, what, sizeof what);
    return error_set(error,
                     "the loss or a gradient of step %lld is not finite. The first such values: "
                     "%s. Lower learning_rate, set model.dtype: float32, or look at the weights",
                     (long long)batch->step, what);
}

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
    return isfinite(sum) || refuse_not_finite(trainer, batch, error);
}

/// This rank's share of the step.
static bool run_micro_batches(Trainer *trainer, StepResult *result, Error *error) {
    int64_t accumulation = trainer->config->training.gradient_accumulation_steps;
    for (int64_t i = 0; i < accumulation; i++) {
        MicroBatch *batch;
        if (!loader_next(trainer->loader, &batch, error)) return false;
        CHECK(batch && batch->step == trainer->position.step, "the loader is not at step %lld",
              (long long)trainer->position.step);
        if (i + 1 == accumulation) gradient_buckets_begin(trainer->buckets);
        bool ok = run_micro_batch(trainer, batch, result, error);
        micro_batch_free(batch);
        if (!ok) return false;
    }
    return true;
}

/// Sums the step over ranks. Fails on every rank if it failed on one.
static bool combine(Trainer *trainer, bool ok, bool stop, StepResult *result, Error *error) {
    enum { LOSS, SUPERVISED, TOKENS, SAMPLES, OPERATIONS, FAILED, STOP, COUNT };
    double totals[COUNT] = {result->loss,
                            (double)result->supervised,
                            (double)result->tokens,
                            (double)result->samples,
                            result->operations,
                            !ok,
                            stop};
    if (!process_group_sum(trainer->group, totals, COUNT, error)) return false;
    if (totals[FAILED] > 0) return process_group_agree(trainer->group, ok, error);
    result->supervised = (int64_t)totals[SUPERVISED];
    result->loss = result->supervised ? totals[LOSS] / totals[SUPERVISED] : 0;
    result->tokens = (int64_t)totals[TOKENS];
    result->samples = (int64_t)totals[SAMPLES];
    result->operations = totals[OPERATIONS];
    trainer->stopping = trainer->stopping || totals[STOP] > 0;
    return true;
}

static void learning_rates(const Trainer *trainer, StepResult *result) {
    const TrainingSection *training = &trainer->config->training;
    double factor =
        schedule_factor((ScheduleType)training->lr_scheduler_type, trainer->position.step,
                        trainer->warmup_steps, trainer->max_steps);
    bool has_lora = trainer->config->lora.lora_enable;
    result->learning_rate[GROUP_ADAPTERS] =
        factor * (has_lora ? training->mm_projector_lr : training->learning_rate);
    result->learning_rate[GROUP_LORA] = factor * training->learning_rate;
}

/// The first parameter whose gathered gradient is not finite.
static const char *first_not_finite(const Trainer *trainer) {
    const ParameterSet *parameters = &trainer->setup.parameters;
    for (int i = 0; i < parameters->count; i++) {
        Tensor *gradient = grad(parameters->items[i].value);
        if (gradient && !isfinite(kernels(gradient)->sum_squares(1, &gradient)))
            return parameters->items[i].name;
    }
    return "all together";
}

/// The norm of the mean gradient over all ranks.
static bool gradient_norm(Trainer *trainer, StepResult *result, Error *error) {
    double sum = optimizer_sum_squares(&trainer->optimizer);
    if (gradient_buckets_sharded(trainer->buckets) &&
        !process_group_sum(trainer->group, &sum, 1, error))
        return false;
    result->gradient_norm = sqrt(sum) / (double)result->supervised;
    return isfinite(result->gradient_norm) ||
           error_set(error,
                     "the gradient of '%s' in step %lld is not finite although the loss is %.4g. "
                     "Lower learning_rate, or set model.dtype: float32",
                     first_not_finite(trainer), (long long)trainer->position.step, result->loss);
}

/// Judges loss and gradient norm; true if the step is to be applied. Every rank judges the same numbers.
static bool is_in_line(Trainer *trainer, StepResult *result) {
    const TrainingSection *training = &trainer->config->training;
    result->loss_z = result->norm_z = NAN;
    if (training->outlier_zscore <= 0) return true;
    result->loss_z = detector_update(&trainer->loss_detector, result->loss);
    result->norm_z = detector_update(&trainer->norm_detector, result->gradient_norm);
    bool loss_out = result->loss_z > training->outlier_zscore,
         norm_out = result->norm_z > training->outlier_zscore;
    if (!loss_out && !norm_out) return true;
    static const char *const consequences[] = {"", "; it is left out", "; the run stops here"};
    progress_print(trainer->progress,
                   "warning: step %lld is out of line: %s %.4g, %.1f standard deviations above the "
                   "last ones%s",
                   (long long)trainer->position.step, loss_out ? "loss" : "gradient norm",
                   loss_out ? result->loss : result->gradient_norm,
                   loss_out ? result->loss_z : result->norm_z,
                   consequences[training->outlier_action]);
    if (training->outlier_action == OUTLIER_STOP) trainer->stopping = true;
    return training->outlier_action == OUTLIER_WARN;
}

static bool update(Trainer *trainer, StepResult *result, Error *error) {
    const TrainingSection *training = &trainer->config->training;
    learning_rates(trainer, result);
    if (!result->supervised) {
        progress_print(trainer->progress,
                       "step %lld: no token of the batch is supervised; nothing is learned from it",
                       (long long)trainer->position.step);
        parameters_clear_grad(&trainer->setup.parameters);
        return true;
    }
    if (!gradient_norm(trainer, result, error)) return false;
    if (!is_in_line(trainer, result)) {
        parameters_clear_grad(&trainer->setup.parameters);
        return true;
    }
    OptimizerOptions options = {
        .beta1 = training->adam_beta1,
        .beta2 = training->adam_beta2,
        .epsilon = training->adam_epsilon,
        .weight_decay = training->weight_decay,
        .gradient_scale = optimizer_clip_factor(result->gradient_norm, training->max_grad_norm) /
                          (double)result->supervised};
    memcpy(options.learning_rate, result->learning_rate, sizeof options.learning_rate);
    optimizer_step(&trainer->optimizer, &options);
    result->updated = true;
    return gradient_buckets_gather_values(trainer->buckets, error);
}

bool trainer_step(Trainer *trainer, bool stop, StepResult *result, Error *error) {
    *result = (StepResult){.loss_z = NAN, .norm_z = NAN};
    flop_count_begin(trainer->setup.device);
    bool ok = run_micro_batches(trainer, result, error);
    result->operations = flop_count();
    Error waiting = {0};
    if (!gradient_buckets_finish(trainer->buckets, trainer->position.step, ok ? error : &waiting) ||
        !combine(trainer, ok, stop, result, error) || !update(trainer, result, error))
        return false;
    trainer->position.step++;
    trainer->position.position += result->samples;
    trainer->position.tokens += result->tokens;
    trainer->samples += result->samples;
    return true;
}
