// What is measured between two steps: the loss on held-out data, the tasks of eval.tasks, and what
// the model says about a few pictures. Nothing of it changes what is learned.
#include "train/trainer/batch_loss.h"
#include "train/trainer/run_samples.h"
#include "train/trainer/trainer_parts.h"

#include "autograd/text/byte_buffer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/// Seconds that ranks wait for another to ask the model or to judge what it said, unless the time
/// limit is longer.
static const double ANSWER_PATIENCE = 300;

static void wait_patiently(Trainer *trainer, bool patiently) {
    double limit = (double)trainer->config->training.distributed_timeout;
    process_group_set_timeout(trainer->group, patiently ? fmax(ANSWER_PATIENCE, limit) : limit);
}

/// What a request to stop cuts short counts for nothing. Returns whether that is what happened.
static bool is_cut_short(Trainer *trainer, const char *what) {
    if (!trainer->stopping) return false;
    progress_print(trainer->progress, "step %lld: %s left out: stopped on request",
                   (long long)trainer->position.step, what);
    return true;
}

/// Takes note of what has been measured, on every rank alike.
static void note(Trainer *trainer, const char *figure, double value) {
    BestSoFar *best = &trainer->position.best;
    if (!strcmp(best->figure, figure)) best_update(best, value, trainer->position.step);
}

// ---- the loss

/// Adds this rank's next micro-batch of held-out samples to totals.
static bool add_held_out_batch(Trainer *trainer, Loader *loader, int64_t count, double totals[2],
                               Error *error) {
    MicroBatch *batch;
    if (!loader_next(loader, &batch, error)) return false;
    while (batch->count > 0 && batch->samples[batch->count - 1].index >= count)
        token_sequence_free(&batch->samples[--batch->count].tokens);
    scope_begin();
    DiffLMMLoss loss;
    const bool ok = batch_loss(trainer->setup.model, trainer->held_out_cache, batch,
                               EVALUATION_STEP, false, &loss, error);
    if (loss.sum) totals[0] += tensor_item(loss.sum);
    totals[1] += (double)loss.num_supervised;
    scope_end();
    micro_batch_free(batch);
    return ok;
}

/// Sum and number of the held-out samples' losses, of all ranks. False on failure, or when the run
/// is to stop.
static bool sum_held_out_losses(Trainer *trainer, const LoaderOptions *options, int64_t count,
                                double totals[2], Error *error) {
    ProcessGroup *group = trainer->group;
    bool *stopping = &trainer->stopping;
    Loader *loader = loader_create(options, error);
    bool ok = ranks_go_on(group, loader != NULL, stopping, error);
    for (int64_t i = 0; ok && i < options->end_step; i++)
        ok = ranks_go_on(group, add_held_out_batch(trainer, loader, count, totals, error), stopping,
                         error);
    loader_free(loader);
    return ok && process_group_sum(group, totals, 2, error);
}

/// Asked by the loader's threads; samples beyond those that are measured have no features.
static bool expect_features(const void *cache, int64_t index) {
    if (feature_cache_has(cache, index)) feature_cache_expect(cache, index);
    return true;
}

/// The loss per supervised token on held-out samples, the same ones with the same noise every time,
/// shared out over the ranks.
static bool measure_loss(Trainer *trainer, Error *error) {
    const TrainingSection *training = &trainer->config->training;
    const long long step = trainer->position.step;
    if (!trainer->held_out) return true;
    int64_t count = dataset_count(trainer->held_out);
    if (training->eval_samples >= 0 && training->eval_samples < count)
        count = training->eval_samples;
    LoaderOptions options = trainer_loader_options(trainer);
    int64_t global_batch = training->per_device_eval_batch_size * options.world_size;
    options.dataset = trainer->held_out;
    options.has_features = trainer->held_out_cache ? expect_features : NULL;
    options.features = trainer->held_out_cache;
    options.micro_batch = (int)training->per_device_eval_batch_size;
    options.end_step = (count + global_batch - 1) / global_batch;
    double totals[2] = {0};
    if (!sum_held_out_losses(trainer, &options, count, totals, error))
        return is_cut_short(trainer, "the loss on held-out data is");
    if (totals[1] == 0) {
        progress_print(trainer->progress,
                       "warning: step %lld: no token of the held-out data is supervised: there is "
                       "no loss on them",
                       step);
        return true;
    }
    double loss = totals[0] / totals[1];
    note(trainer, "loss", loss);
    progress_print(trainer->progress, "step %lld: loss %.4f on held-out data", step, loss);
    if (trainer->is_first) run_log_metrics(trainer->log, "eval", step, &(Metric){"loss", loss}, 1);
    return true;
}

// ---- tasks

/// A task's figures: a line for people, one of the kind "eval", and one of the kind
/// "eval_interval" with the ends of their intervals.
static void log_task(Trainer *trainer, const char *task, const json_t *figures) {
    const int64_t step = trainer->position.step;
    const json_t *intervals = json_object_get(figures, "intervals");
    size_t count = json_object_size(intervals), used = 0;
    Metric *values = checked_calloc(count + 1, sizeof *values),
           *ends = checked_calloc(2 * count + 1, sizeof *ends);
    ByteBuffer line = {0};
    const char *figure;
    json_t *interval;
    json_object_foreach((json_t *)intervals, figure, interval) {
        const json_t *value = json_object_get(figures, figure);
        char *name = format_string("%s.%s", task, figure);
        values[used] = (Metric){name, json_is_number(value) ? json_number_value(value) : NAN};
        for (size_t end = 0; end < 2; end++) {
            const json_t *of = json_array_get(interval, end);
            ends[2 * used + end] = (Metric){format_string("%s.%s", name, end ? "high" : "low"),
                                            json_is_number(of) ? json_number_value(of) : NAN};
        }
        if (json_is_number(value))
            byte_buffer_print(&line, "%s%s %.4f", line.size ? ", " : "", figure,
                              values[used].value);
        used++;
    }
    progress_print(trainer->progress, "step %lld: %s: %s", (long long)step, task,
                   line.size ? line.data : "there is nothing to measure in its answers");
    run_log_metrics(trainer->log, "eval", step, values, (int)count);
    run_log_metrics(trainer->log, "eval_interval", step, ends, 2 * (int)count);
    for (size_t i = 0; i < count; i++) free((char *)values[i].name);
    for (size_t i = 0; i < 2 * count; i++) free((char *)ends[i].name);
    free(values);
    free(ends);
    byte_buffer_free(&line);
}

static bool measure_tasks(Trainer *trainer, Error *error) {
    if (!trainer->tasks || trainer->stopping) return true;
    wait_patiently(trainer, true);
    json_t *measured =
        training_tasks_measure(trainer->tasks, trainer->group, &trainer->stopping, error);
    wait_patiently(trainer, false);
    if (!measured) return is_cut_short(trainer, "the figures of eval.tasks are");
    const char *figure = trainer->position.best.figure, *task;
    note(trainer, figure, training_tasks_figure(measured, figure));
    json_t *figures;
    json_object_foreach(measured, task, figures) {
        if (trainer->is_first) log_task(trainer, task, figures);
    }
    json_decref(measured);
    return true;
}

// ---- samples

/// Rank 0 asks the model about a few pictures; the others wait patiently.
static bool log_samples(Trainer *trainer, Error *error) {
    const TrainingSection *training = &trainer->config->training;
    if (!training->tensorboard || training->log_samples <= 0 || !trainer->held_out ||
        trainer->stopping)
        return true;
    wait_patiently(trainer, true);
    if (trainer->is_first)
        run_samples_log(trainer->config, &trainer->setup, trainer->held_out, trainer->position.step,
                        trainer->log, trainer->group);
    bool ok = ranks_go_on(trainer->group, true, &trainer->stopping, error) || trainer->stopping;
    wait_patiently(trainer, false);
    return ok;
}

bool trainer_is_evaluated(const Trainer *trainer) { return trainer->held_out || trainer->tasks; }

bool trainer_evaluate(Trainer *trainer, Error *error) {
    return measure_loss(trainer, error) && measure_tasks(trainer, error) &&
           log_samples(trainer, error);
}
