// One optimizer step: micro-batches of a global batch add the gradients of their *summed* token
// losses, on every rank; the sum over ranks is divided by the number of supervised tokens of the
// whole global batch when the optimizer applies it. So how the batch is cut changes nothing but
// rounding.
//
// Whatever happens on a rank (no sample, no image, a file that cannot be read), it takes part in
// every reduction of the step: a rank that skipped one would leave the others waiting.
#include "ops/finite_check.h"
#include "ops/flop_count.h"
#include "ops/kernels.h"
#include "train/trainer/batch_loss.h"
#include "train/trainer/schedule.h"
#include "train/trainer/trainer_parts.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/// Seconds between two signs of life while every result is looked at on the host.
static const double SEARCH_PATIENCE = 1800;

/// The step that is under way, counted from 1 as progress and checkpoints count those that are
/// done.
static long long step_number(const Trainer *trainer) { return trainer->position.step + 1; }

/// Forward and backward of one micro-batch, without backward if the *sum of its losses is not
/// finite. `listener` (NULL: nobody) is backward's. Fails where kept features cannot be read.
static bool forward_and_backward(Trainer *trainer, const MicroBatch *batch,
                                 const LeafListener *listener, DiffLMMLoss *loss, double *sum,
                                 Error *error) {
    scope_begin();
    tape_begin();
    bool ok =
        batch_loss(trainer->setup.model, trainer->cache, batch, batch->step, true, loss, error);
    *sum = loss->sum ? tensor_item(loss->sum) : 0;
    if (loss->sum && requires_grad(loss->sum) && isfinite(*sum))
        backward(loss->sum, NULL, listener);
    tape_end();
    scope_end();
    return ok;
}

/// Adds to the gradients and to the result.
static bool run_micro_batch(Trainer *trainer, const MicroBatch *batch, const LeafListener *listener,
                            StepResult *result, Error *error) {
    DiffLMMLoss loss;
    double sum;
    if (!forward_and_backward(trainer, batch, listener, &loss, &sum, error)) return false;
    result->loss += sum;
    result->supervised += loss.num_supervised;
    result->tokens += loss.num_tokens;
    result->samples += batch->count;
    for (int i = 0; i < batch->count; i++)
        result->answers_cut_off += batch->samples[i].tokens.answer_is_cut_off;
    if (batch->skipped) {
        trainer->skipped += batch->skipped;
        progress_print(trainer->progress, "left out %d sample(s): %s", batch->skipped,
                       batch->skipped_because);
    }
    return true;
}

/// This rank's share of the step, as far as its loss is finite. The batches stay: looking for
/// values that are not finite needs them again.
static bool run_micro_batches(Trainer *trainer, StepResult *result, Error *error) {
    int64_t accumulation = trainer->config->training.gradient_accumulation_steps;
    for (int64_t i = 0; i < accumulation && isfinite(result->loss); i++) {
        MicroBatch *batch;
        if (!loader_next(trainer->loader, &batch, error)) return false;
        CHECK(batch && batch->step == trainer->position.step, "the loader is not at step %lld",
              (long long)trainer->position.step);
        trainer->batches[trainer->batch_count++] = batch;
        const LeafListener *listener =
            i + 1 == accumulation ? gradient_buckets_begin(trainer->buckets) : NULL;
        if (!run_micro_batch(trainer, batch, listener, result, error)) return false;
        process_group_progress(trainer->group);
    }
    return true;
}

static void free_batches(Trainer *trainer) {
    for (int64_t i = 0; i < trainer->batch_count; i++) micro_batch_free(trainer->batches[i]);
    free(trainer->batches);
    trainer->batches = NULL;
    trainer->batch_count = 0;
}

/// Runs this rank's share once more, looking at every result: random numbers are functions of seed,
/// step and sample, so everything comes out as before. False if something is not finite; then
/// `what` says what was the first. Features that cannot be read once more end the looking.
static bool look_at_every_result(Trainer *trainer, char *what, size_t size) {
    Device *device = trainer->setup.device;
    DiffLMMLoss loss;
    double sum = 0;
    bool ok = true;
    Error unused;
    parameters_clear_grad(&trainer->setup.parameters);
    finite_check_begin(device);
    for (int64_t i = 0; ok && i < trainer->batch_count && isfinite(sum); i++) {
        ok = forward_and_backward(trainer, trainer->batches[i], NULL, &loss, &sum, &unused);
        process_group_progress(trainer->group);
    }
    return finite_check_end(device, what, size);
}

/// Every rank looks at its own share. `symptom`: what was noticed.
static bool refuse_not_finite(Trainer *trainer, const char *symptom, Error *error) {
    static const char ADVICE[] =
        "Lower learning_rate, set model.dtype: float32, or look at the weights";
    char what[512];
    process_group_set_timeout(trainer->group, SEARCH_PATIENCE);
    bool finite = look_at_every_result(trainer, what, sizeof what);
    if (!finite)
        error_set(error, "in step %lld %s. The first such values: %s. %s", step_number(trainer),
                  symptom, what, ADVICE);
    if (!process_group_agree(trainer->group, finite, error)) return false;
    return error_set(error,
                     "in step %lld %s; every value that leads to it is finite on every rank, only "
                     "the sum of all is too large. %s",
                     step_number(trainer), symptom, ADVICE);
}

/// Sums the step over ranks. Fails on every rank if it failed on one.
static bool combine(Trainer *trainer, bool ok, bool stop, StepResult *result, Error *error) {
    enum { LOSS, SUPERVISED, TOKENS, SAMPLES, CUT_OFF, OPERATIONS, FAILED, STOP, COUNT };
    double totals[COUNT] = {result->loss,
                            (double)result->supervised,
                            (double)result->tokens,
                            (double)result->samples,
                            (double)result->answers_cut_off,
                            result->operations,
                            !ok,
                            stop};
    if (!process_group_sum(trainer->group, totals, COUNT, error)) return false;
    result->is_unread = totals[FAILED] > 0;
    if (result->is_unread) return process_group_agree(trainer->group, ok, error);
    if (!isfinite(totals[LOSS])) return refuse_not_finite(trainer, "the loss is not finite", error);
    result->supervised = (int64_t)totals[SUPERVISED];
    result->loss = result->supervised ? totals[LOSS] / totals[SUPERVISED] : 0;
    result->tokens = (int64_t)totals[TOKENS];
    result->samples = (int64_t)totals[SAMPLES];
    result->answers_cut_off = (int64_t)totals[CUT_OFF];
    result->operations = totals[OPERATIONS];
    trainer->stopping = trainer->stopping || totals[STOP] > 0;
    return true;
}

static void learning_rates(const Trainer *trainer, StepResult *result) {
    const TrainingSection *training = &trainer->config->training;
    double factor = schedule_factor(training->lr_scheduler_type, trainer->position.step,
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
        if (!gradient) continue;
        double sum;
        kernels(gradient)->sum_squares(1, &gradient, &sum);
        if (!isfinite(sum)) return parameters->items[i].name;
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
    if (isfinite(result->gradient_norm)) return true;
    char symptom[256];
    snprintf(symptom, sizeof symptom,
             "the gradient of '%s' is not finite although the loss is %.4g",
             first_not_finite(trainer), result->loss);
    return refuse_not_finite(trainer, symptom, error);
}

/// Judges loss and gradient norm; true if the step is to be applied. Every rank judges the same
/// numbers.
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
                   step_number(trainer), loss_out ? "loss" : "gradient norm",
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
                       step_number(trainer));
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

static bool run_step(Trainer *trainer, bool stop, StepResult *result, Error *error) {
    flop_count_begin(trainer->setup.device);
    bool ok = run_micro_batches(trainer, result, error);
    result->operations = flop_count();
    Error waiting = {0};
    return gradient_buckets_finish(trainer->buckets, step_number(trainer), ok ? error : &waiting) &&
           combine(trainer, ok, stop, result, error) && update(trainer, result, error);
}

bool trainer_step(Trainer *trainer, bool stop, StepResult *result, Error *error) {
    *result = (StepResult){.loss_z = NAN, .norm_z = NAN};
    size_t accumulation = (size_t)trainer->config->training.gradient_accumulation_steps;
    trainer->batches = checked_calloc(accumulation, sizeof *trainer->batches);
    bool ok = run_step(trainer, stop, result, error);
    free_batches(trainer);
    if (!ok) return false;
    trainer->position.step++;
    trainer->position.position += result->samples;
    trainer->position.tokens += result->tokens;
    trainer->samples += result->samples;
    trainer->supervised += result->supervised;
    trainer->answers_cut_off += result->answers_cut_off;
    return true;
}
