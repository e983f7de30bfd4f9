#include "train/schedule.h"

#include <math.h>

int64_t schedule_total_steps(int64_t max_steps, double epochs, int64_t steps_per_epoch) {
    return max_steps >= 0 ? max_steps : (int64_t)ceil(epochs * (double)steps_per_epoch);
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
