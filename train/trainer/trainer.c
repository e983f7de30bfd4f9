#include "train/trainer/trainer.h"

#include "autograd/stop_request.h"
#include "autograd/text/utf8.h"
#include "train/trainer/trainer_parts.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

static int64_t peak_memory_bytes(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss * 1024;
}

/// "412 GFLOP/s (38% of peak)"; the caller frees it.
static char *describe_rate(double rate, double peak) {
    static const char *const UNITS[] = {"MFLOP/s", "GFLOP/s", "TFLOP/s", "PFLOP/s"};
    int unit = 0;
    double value = rate / 1e6;
    while (value >= 1000 && unit < 3) {
        value /= 1000;
        unit++;
    }
    return format_string("%.3g %s (%.0f%% of peak)", value, UNITS[unit], 100 * rate / peak);
}

static void log_step(Trainer *trainer, const StepResult *result) {
    if (!trainer->is_first) return;
    const Device *device = trainer->setup.device;
    double now = clock_seconds(), seconds = now - trainer->started,
           rate = result->operations / (now - trainer->step_started);
    double tokens_per_second =
        (double)(trainer->position.tokens - trainer->tokens_before) / seconds;
    int64_t memory = device == device_cpu() ? peak_memory_bytes() : device->bytes_peak;
    const Metric metrics[] = {{"loss", result->loss},
                              {"learning_rate", result->learning_rate[GROUP_ADAPTERS]},
                              {"learning_rate_lora", result->learning_rate[GROUP_LORA]},
                              {"grad_norm", result->gradient_norm},
                              {"loss_zscore", result->loss_z},
                              {"grad_norm_zscore", result->norm_z},
                              {"updated", result->updated},
                              {"supervised_tokens", (double)result->supervised},
                              {"tokens_per_second", tokens_per_second},
                              {"samples_per_second", (double)trainer->samples / seconds},
                              {"flops_per_second", rate},
                              {"share_of_peak", rate / trainer->peak_rate},
                              {"seconds", seconds},
                              {"device_peak_bytes", (double)device->bytes_peak},
                              {"peak_memory_bytes", (double)peak_memory_bytes()}};
    char *speed = describe_rate(rate, trainer->peak_rate);
    progress_update(trainer->progress, trainer->position.step,
                    "loss %.4f  lr %.1e  |g| %.2f  %.0f tokens/s  %s  %.2f GiB", result->loss,
                    result->learning_rate[GROUP_ADAPTERS], result->gradient_norm, tokens_per_second,
                    speed, (double)memory / 0x1p30);
    free(speed);
    run_log_metrics(trainer->log, "train", trainer->position.step, metrics,
                    sizeof metrics / sizeof *metrics);
}

// ---- between steps

/// Hands the state over to be written. A write that failed before (a full disk) is a warning:
/// training goes on.
static bool save(Trainer *trainer, Error *error) {
    const TrainingSection *training = &trainer->config->training;
    trainer->position.loss_detector = detector_state(&trainer->loss_detector);
    trainer->position.norm_detector = detector_state(&trainer->norm_detector);
    TrainingSnapshot *snapshot;
    if (!replicas_agree(trainer->group, &trainer->setup.parameters, trainer->position.step,
                        &trainer->agreed_step, error) ||
        !training_snapshot_take(&trainer->optimizer, gradient_buckets_sharded(trainer->buckets),
                                training->save_in_background, &trainer->position,
                                trainer->config_yaml, trainer->group, &snapshot, error))
        return false;
    if (!trainer->is_first) return true;
    CheckpointRetention retention = {.newest = (int)training->save_total_limit,
                                     .every = training->save_keep_steps,
                                     .best_step =
                                         best_is_kept(training) ? trainer->position.best.step : -1};
    checkpoint_writer_submit(trainer->checkpoints, snapshot, trainer->position.step, &retention);
    if (!training->save_in_background) checkpoint_writer_wait(trainer->checkpoints);
    return true;
}

static void warn_of_failed_save(Trainer *trainer) {
    Error error;
    if (trainer->is_first && checkpoint_writer_failed(trainer->checkpoints, false, &error))
        progress_print(trainer->progress,
                       "warning: a checkpoint could not be written, training goes on: %s",
                       error.message);
}

/// The last checkpoint must be there when the run ends.
static bool finish_saving(Trainer *trainer, Error *error) {
    Error reason;
    bool failed =
        trainer->is_first && checkpoint_writer_failed(trainer->checkpoints, true, &reason);
    if (failed) error_set(error, "the last checkpoint was not written: %.1900s", reason.message);
    return process_group_agree(trainer->group, !failed, error);
}

/// Where samples can no longer be read (a file was changed, an image is damaged) the run ends, but
/// what it has learned is kept.
static void save_before_ending(Trainer *trainer) {
    Error error = {0};
    const bool is_saved = save(trainer, &error) && finish_saving(trainer, &error);
    progress_print(trainer->progress, is_saved ? "step %lld is saved" : "step %lld is lost: %s",
                   (long long)trainer->position.step, error.message);
}

static bool is_due(int64_t step, int64_t every) { return every > 0 && step % every == 0; }

static bool is_best(const Trainer *trainer) {
    return best_is_kept(&trainer->config->training) &&
           trainer->position.best.step == trainer->position.step;
}

static bool train(Trainer *trainer, Error *error) {
    const TrainingSection *training = &trainer->config->training;
    int64_t saved_step = trainer->position.step;
    bool ok = true, saved = false;
    while (ok && trainer->position.step < trainer->max_steps && !(saved && trainer->stopping)) {
        StepResult result;
        trainer->step_started = clock_seconds();
        ok = trainer_step(trainer, stop_requested(), &result, error);
        if (ok) log_step(trainer, &result);
        bool is_unread = result.is_unread;
        int64_t step = trainer->position.step;
        bool last = step == trainer->max_steps;
        if (ok && trainer_is_evaluated(trainer) && (last || is_due(step, training->eval_steps)) &&
            !trainer->stopping) {
            ok = trainer_evaluate(trainer, error);
            is_unread = !ok && !process_group_is_broken(trainer->group);
        }
        saved = ok && (last || trainer->stopping || is_due(step, training->save_steps) ||
                       is_best(trainer));
        if (saved) ok = save(trainer, error);
        if (saved) saved_step = step;
        if (is_unread && step > saved_step) save_before_ending(trainer);
        warn_of_failed_save(trainer);
    }
    return ok && finish_saving(trainer, error);
}

/// However long a step takes, every op of it tells the others that this rank is at work.
static void sign_of_life(void *group) { process_group_progress(group); }

/// What a user should know of the data when the run is over. False, alike on every rank, if nothing
/// was learned from them: a run that went through all its steps and changed nothing has failed.
static bool conclude(const Trainer *trainer, int64_t first_step, Error *error) {
    const int64_t steps = trainer->position.step - first_step;
    if (trainer->answers_cut_off && trainer->is_first)
        fprintf(stderr,
                "nothing was learned from %lld of %lld samples: data.model_max_length (%lld) cuts "
                "off their whole answer\n",
                (long long)trainer->answers_cut_off, (long long)trainer->samples,
                (long long)trainer->config->data.model_max_length);
    if (trainer->supervised || first_step > 0 || steps == 0) return true;
    return error_set(error,
                     "no token was supervised in any of the %lld steps: nothing was learned. "
                     "'difflmm plan' counts such samples",
                     (long long)steps);
}

/// A stop while the run was being prepared: it has failed at nothing, and lost nothing.
static bool stopped_before_training(const Trainer *trainer) {
    if (!trainer->stopping || process_group_is_broken(trainer->group)) return false;
    char since[64] = "";
    if (trainer->position.step > 0)
        snprintf(since, sizeof since, " since step %lld", (long long)trainer->position.step);
    if (trainer->is_first)
        fprintf(stderr,
                "stopped on request while the run was being prepared: nothing has been trained%s, "
                "and nothing is lost\n",
                since);
    return true;
}

/// From where the run stands to its end, or until it is asked to stop.
static bool run(Trainer *trainer, Error *error) {
    const TrainingSection *training = &trainer->config->training;
    const int64_t first_step = trainer->position.step;
    if (first_step >= trainer->max_steps) {
        if (trainer->is_first)
            utf8_print(stderr, "%s is trained: step %lld of %lld\n", training->output_dir,
                       (long long)first_step, (long long)trainer->max_steps);
        return true;
    }
    trainer->tokens_before = trainer->position.tokens;
    trainer->progress = progress_begin(trainer->is_first ? stderr : NULL, "training", first_step,
                                       trainer->max_steps, training->logging_steps);
    trainer->started = clock_seconds();
    process_group_set_timeout(trainer->group, (double)training->distributed_timeout);
    bool ok = train(trainer, error);
    progress_end(trainer->progress);
    ok = ok && conclude(trainer, first_step, error);
    if (trainer->skipped)
        fprintf(stderr, "%lld sample(s) were left out because of missing or damaged images\n",
                (long long)trainer->skipped);
    return ok;
}

bool trainer_run(const Config *config, ProcessGroup *group, Error *error) {
    Trainer trainer = {.config = config,
                       .config_yaml = config_to_yaml(config),
                       .group = group,
                       .is_first = process_rank(group) == 0,
                       .started = clock_seconds()};
    stop_request_listen();
    tape_on_op(sign_of_life, group);
    bool prepared = trainer_prepare(&trainer, error),
         ok = prepared ? run(&trainer, error) : stopped_before_training(&trainer);
    tape_on_op(NULL, NULL);
    trainer_clean_up(&trainer);
    output_folder_close(&trainer.folder, !ok || !prepared);
    output_folder_close(&trainer.feature_folder, !ok || !prepared);
    return ok;
}
