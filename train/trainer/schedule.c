#include "train/trainer/schedule.h"

#include <math.h>

int64_t schedule_global_batch(const Config *config, int64_t processes) {
    const TrainingSection *training = &config->training;
    const int64_t micro_batch =
        config->data.tokens_per_batch ? 1 : training->per_device_train_batch_size;
    return micro_batch * training->gradient_accumulation_steps * processes;
}

bool schedule_total_steps(const Config *config, int64_t steps_per_epoch, int64_t *steps,
                          Error *error) {
    const TrainingSection *training = &config->training;
    double of_epochs = ceil(training->num_train_epochs * (double)steps_per_epoch);
    if (training->max_steps >= 0) {
        *steps = training->max_steps;
        return true;
    }
    if (of_epochs > SCHEDULE_MOST_STEPS)
        return config_refuse(config, "training.num_train_epochs", error,
                             "of %lld steps each are %.4g steps; a run has at most %lld",
                             (long long)steps_per_epoch, of_epochs, (long long)SCHEDULE_MOST_STEPS);
    *steps = (int64_t)of_epochs;
    return true;
}

int64_t schedule_warmup_steps(double warmup_ratio, int64_t max_steps) {
    return (int64_t)ceil(warmup_ratio * (double)max_steps);
}

double schedule_factor(ScheduleType type, int64_t step, int64_t warmup_steps, int64_t max_steps) {
    if (step < warmup_steps) return (double)step / (double)warmup_steps;
    if (type == SCHEDULE_CONSTANT) return 1.0;
    double rest = (double)(max_steps - warmup_steps);
    double progress = rest > 0 ? (double)(step - warmup_steps) / rest : 1.0;
    if (progress > 1.0) progress = 1.0;
    return type == SCHEDULE_COSINE ? 0.5 * (1.0 + cos(M_PI * progress)) : 1.0 - progress;
}
